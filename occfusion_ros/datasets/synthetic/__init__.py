"""A seeded procedural driving world with a nuScenes-like sensor rig: images, LiDAR sweeps and dense semantic truth."""

from .drive import ObjectBox, SyntheticDrive, SyntheticFrame
from .rig import Camera, Lidar, Rig, nuscenes_rig

__all__ = ["Camera", "Lidar", "ObjectBox", "Rig", "SyntheticDrive", "SyntheticFrame", "nuscenes_rig"]
