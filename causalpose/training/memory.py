"""One allocator setting that training and prediction on a CPU profit from."""

import ctypes
import sys

# Parameter numbers of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_large_blocks() -> bool:
    """Ask glibc to keep freed memory instead of returning it to the kernel; returns whether it was done.

    A training step, or a forward pass, allocates and frees the same large temporaries again and again. By default glibc maps each anew,
    so the kernel clears its pages every time; with these thresholds the blocks are reused. Linux with glibc only, elsewhere nothing
    happens. The price is that the process keeps its peak memory until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: (1 << 31) - 1, _TOP_PAD: 256 << 20}
    done = [mallopt(ctypes.c_int(key), ctypes.c_int(value)) for key, value in wanted.items()]
    return all(done)
