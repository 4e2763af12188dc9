"""A seeded procedural driving world with a nuScenes-like sensor rig: images, LiDAR sweeps and dense semantic truth."""

from .drive import GENERATOR_VERSION, ObjectBox, SyntheticDrive, SyntheticFrame
from .rig import RIGS, Camera, Lidar, Rig, nuscenes_rig, van_rig
from .root import Recording, write_nuscenes_root
from .sensing import Sweep

__all__ = [
    "GENERATOR_VERSION",
    "RIGS",
    "Camera",
    "Lidar",
    "ObjectBox",
    "Recording",
    "Rig",
    "Sweep",
    "SyntheticDrive",
    "SyntheticFrame",
    "nuscenes_rig",
    "van_rig",
    "write_nuscenes_root",
]
