"""Settings that let megabyte messages through: without them Fast DDS loses most camera frames."""

import ctypes
import os

from ..core.shipped import shipped

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")  # of Fast DDS 3 and 2
FAST_DDS_2 = ("humble", "iron", "jazzy")  # distributions; the later ones warn about the old variable


def profile_environment() -> dict[str, str]:
    """The variable that gives Fast DDS a shared-memory segment for big messages; nothing if the user set a profile."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    return {PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") in FAST_DDS_2]: str(shipped("config/fastdds_shm.xml"))}


def use_shared_memory_profile() -> None:
    """Make this process ready for big messages; call once, before ``rclpy.init``."""
    _keep_freed_buffers()
    os.environ.update(profile_environment())


def _keep_freed_buffers() -> None:
    """Stop glibc from handing big freed buffers back: the page faults of getting them again cost more than the copy."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 1 << 26)  # M_TOP_PAD
