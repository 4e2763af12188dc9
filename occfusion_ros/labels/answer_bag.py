"""Labels as the messages that the node would publish, in an MCAP file for each slice."""

import tempfile
from pathlib import Path

from ..core.frames import OccupancyGrid
from ..ros.conversions.occupancy_grid import occupancy_bytes
from ..ros.conversions.occupied_voxels import OccupiedVoxels
from ..ros.tools.nuscenes_to_bag import BAG_VERSION

TOPIC, TYPE = "/occfusion/occupancy", "occfusion_msgs/msg/OccupancyGrid3D"


def answer_bag(grids: list[tuple[int, bytes]]) -> bytes:
    """An MCAP file with messages at their stamps, nanoseconds, made by `serialized`."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with tempfile.TemporaryDirectory(prefix="labels-") as folder:
        path = Path(folder, "answers")
        with Writer(path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection(TOPIC, TYPE, typestore=_typestore())
            for stamp, content in grids:
                writer.write(connection, stamp, content)
        return (path / "answers.mcap").read_bytes()


def serialized(grid: OccupancyGrid) -> bytes:
    """The message of a grid."""
    return occupancy_bytes(grid, OccupiedVoxels.of(grid.labels, grid.spec))


def _typestore():  # -> rosbags.typesys.store.Typestore
    """With the definition that is installed."""
    from ament_index_python.packages import get_package_share_directory
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    definition = Path(get_package_share_directory("occfusion_msgs"), "msg/OccupancyGrid3D.msg").read_text()
    store = get_typestore(Stores.ROS2_KILTED)
    store.register(get_types_from_msg(definition, TYPE))
    return store
