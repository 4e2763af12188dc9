"""How this process' memory is managed by the C library, where that is glibc; elsewhere nothing happens."""

import ctypes

# From malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT, _LARGEST = 256 << 20, 32 << 20  # bytes

_libc = ctypes.CDLL(None)


def keep_memory_together() -> None:
    """Serve all threads from one heap, and keep what is freed for the next frame.

    By default each thread has a heap of its own that grows by itself, and freed megabytes go back to the system only
    to be fetched again, page by page, for the next image. Call this before there are other threads; it may be called
    again.
    """
    if hasattr(_libc, "mallopt"):
        for option, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGEST)):
            _libc.mallopt(option, value)


def give_memory_back() -> None:
    """Give what is free to the system."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))
