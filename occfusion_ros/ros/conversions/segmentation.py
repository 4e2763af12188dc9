"""PointCloud2 of the occupied voxels as Autoware's PointXYZCPE: position, class id, probability, entropy."""

import numpy as np
from std_msgs.msg import Header

from ...core.confidence import class_entropy
from ...core.frames import OccupancyGrid
from ...core.labels import Label
from .occupied_voxels import OccupiedVoxels, at_voxels
from .voxel_cloud import PLACE, serialized_cloud

# Values of autoware::point_types::PointCloudClassification; 0 to 7 are clustered to objects.
CAR, TRUCK, BUS, MOTORCYCLE, BICYCLE, PEDESTRIAN, HAZARD = 0, 1, 2, 3, 4, 5, 7
FLAT_SURFACE, STRUCTURE, VEGETATION, INVALID = 8, 9, 10, 255

CLASS_IDS = {
    Label.BARRIER: STRUCTURE,
    Label.BICYCLE: BICYCLE,
    Label.BUS: BUS,
    Label.CAR: CAR,
    Label.CONSTRUCTION_VEHICLE: TRUCK,
    Label.MOTORCYCLE: MOTORCYCLE,
    Label.PEDESTRIAN: PEDESTRIAN,
    Label.TRAFFIC_CONE: HAZARD,
    Label.TRAILER: TRUCK,
    Label.TRUCK: TRUCK,
    Label.DRIVEABLE_SURFACE: FLAT_SURFACE,
    Label.OTHER_FLAT: FLAT_SURFACE,
    Label.SIDEWALK: FLAT_SURFACE,
    Label.TERRAIN: FLAT_SURFACE,
    Label.MANMADE: STRUCTURE,
    Label.VEGETATION: VEGETATION,
}
_ID_OF_LABEL = np.full(256, INVALID, np.uint8)
_ID_OF_LABEL[list(CLASS_IDS)] = list(CLASS_IDS.values())

# Aligned as in C++: three bytes between class_id and probability.
_POINT = np.dtype([*PLACE.descr, ("class_id", "u1"), ("probability", "<f4"), ("entropy", "<f4")], align=True)


def segmentation_bytes(header: Header, voxels: OccupiedVoxels, grid: OccupancyGrid) -> bytes:
    """Serialized PointCloud2, a point for each occupied voxel, 24 bytes each; labels beyond `CLASS_IDS` are INVALID.

    The probability is that of the label; the entropy, nats, that of the classes. Both are NaN where the grid does not
    say how sure it is: throughout, or where a label is only remembered.
    """
    points = np.zeros(len(voxels.flat), _POINT)
    points["x"], points["y"], points["z"] = voxels.centers().T
    points["class_id"] = _ID_OF_LABEL[voxels.labels]
    points["probability"] = points["entropy"] = np.nan
    if grid.occupancy is not None and grid.class_confidence is not None:
        occupied, best = at_voxels(grid.occupancy, voxels), at_voxels(grid.class_confidence, voxels)
        known = occupied > 0
        points["probability"][known] = occupied[known] / np.float32(255) * (best[known] / np.float32(255))
        points["entropy"][known] = class_entropy(best[known])
    return serialized_cloud(header, points)
