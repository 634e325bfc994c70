"""Gives the memory of a long upload back to the system, where the C library would keep it.

glibc keeps freed blocks of up to 32 MiB for later use, and returns them only from the end of its heap. A part's memory,
and the ``bytes`` objects that a part has kept of its producer's, seldom end there. So after an upload of 800 MiB a
process may hold 130 MiB that it does not use. ``malloc_trim`` returns them. Other C libraries have no such function,
and return large blocks by themselves.

https://man7.org/linux/man-pages/man3/malloc_trim.3.html
"""

import contextlib
import functools
from collections.abc import Callable

from s3writer._upload.jobs import Job
from s3writer._upload.plan import MIB

#: After a shorter upload there is little to give back.
_LONG_BYTES = 24 * MIB


def _find_malloc_trim() -> Callable[[int], object] | None:
    """The function of the C library; None if there is none."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes

        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
        return found
    return None


#: Found here, and not by the thread that calls it: if the process forks while a thread imports ctypes, the child can
#: never import it.
_malloc_trim = _find_malloc_trim()


def give_back_after(size: int) -> None:
    """Give memory back after an upload of ``size`` bytes, in another thread: it takes up to 20 milliseconds."""
    if size >= _LONG_BYTES and _malloc_trim is not None:
        Job(functools.partial(_malloc_trim, 0), "s3writer-memory").start(elsewhere=True)
