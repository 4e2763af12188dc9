"""A seeded procedural driving world with a nuScenes-like sensor rig: images, LiDAR sweeps and dense semantic truth."""

from .drive import GENERATOR_VERSION, ObjectBox, SyntheticDrive, SyntheticFrame
from .recording.root import Recording, write_nuscenes_root
from .sensors.fleet import FLEETS, rig_of
from .sensors.rig import RIGS, Camera, Lidar, Rig, nuscenes_rig, van_rig
from .sensors.sensing import Sweep

__all__ = [
    "FLEETS",
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
    "rig_of",
    "van_rig",
    "write_nuscenes_root",
]
