"""Settings that let megabyte messages through: without them Fast DDS loses most camera frames."""

import os

from ...core.shipped import shipped
from .allocator import keep_memory_together

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")  # of Fast DDS 3 and 2
FAST_DDS_2 = ("humble", "iron", "jazzy")  # distributions; the later ones warn about the old variable


def profile_environment() -> dict[str, str]:
    """The variable that gives Fast DDS a shared-memory segment for big messages; nothing if the user set a profile."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    return {PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") in FAST_DDS_2]: str(shipped("config/fastdds_shm.xml"))}


def use_shared_memory_profile() -> None:
    """Make this process ready for big messages; call once, before ``rclpy.init``."""
    keep_memory_together()
    os.environ.update(profile_environment())
