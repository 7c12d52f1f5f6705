"""trim: give back what a start has used and nobody needs any more.

Importing leaves about 1 MB of freed memory in each program that the C library would keep (malloc_trim(3)); the children of a
daemon would each have a share of it as their own.
"""
from __future__ import annotations

import ctypes
import gc


def trim() -> None:
    """Call once, when everything is imported, before the first fork.  Does nothing where the C library cannot."""
    gc.collect()
    gc.freeze()                                         # children share these pages: the collector writes on what it looks at
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass                                            # not glibc
