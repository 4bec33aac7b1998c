"""Keep the memory that a training step frees, for the next step."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Tell glibc to give freed memory back to the process, not to the system; elsewhere than with glibc, do nothing.

    A step frees and takes the same large tensors again and again; glibc maps each anew, and the system clears every
    page. Keeping them made a stage-2 step 6 % faster (1.61 -> 1.52 s). Memory once used stays until the process ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**28)
