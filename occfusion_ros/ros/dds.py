"""Settings that let megabyte messages through: without them Fast DDS loses most camera frames."""

import ctypes
import logging
import os

from ..core.shipped import shipped

logger = logging.getLogger(__name__)

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")  # Fast DDS 3 and 2


def use_shared_memory_profile() -> None:
    """Give Fast DDS a shared-memory segment for big messages; call once, before ``rclpy.init``.

    A profile that the user chose by environment variable is left alone.
    """
    _keep_freed_buffers()
    if not any(os.environ.get(name) for name in PROFILE_VARIABLES):
        profile = str(shipped("config/fastdds_shm.xml"))
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, profile))
        logger.debug("Fast DDS profile: %s", profile)


def _keep_freed_buffers() -> None:
    """Stop glibc from handing big freed buffers back: the page faults of getting them again cost more than the copy."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 1 << 26)  # M_TOP_PAD
