"""A seeded procedural driving world with a nuScenes-like sensor rig: images, LiDAR sweeps and dense semantic truth."""

from .drive import ObjectBox, SyntheticDrive, SyntheticFrame
from .rig import Camera, Lidar, Rig, nuscenes_rig
from .root import Recording, write_nuscenes_root

__all__ = [
    "Camera",
    "Lidar",
    "ObjectBox",
    "Recording",
    "Rig",
    "SyntheticDrive",
    "SyntheticFrame",
    "nuscenes_rig",
    "write_nuscenes_root",
]
