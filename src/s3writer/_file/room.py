"""How many bytes the fast path of `write` may take, or why it may take none."""

import sys
from collections.abc import Callable
from enum import IntEnum
from types import FunctionType, MethodType

#: Only CPython switches threads at few places, and only with the GIL. It has this function since 3.13.
_IS_CPYTHON = sys.implementation.name == "cpython"
_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: _IS_CPYTHON)
#: Py_TPFLAGS_HEAPTYPE of Python's C interface.
_HEAP_TYPE = 1 << 9


class NoRoom(IntEnum):
    """Why the fast path takes no bytes now. ``_room`` holds it instead of a number of bytes."""

    CLOSED = -1
    FAILED = -2
    #: Another call of the writer is running.
    BUSY = -3
    #: A part has failed, or a dying wrapper has written.
    NEWS = -4
    #: This process is a forked child, and the writer belongs to its parent.
    FORKED = -5
    #: Another thread could run in the midst of the fast path.
    UNSAFE = -6


def room_for_fast(room: int) -> int:
    """``room``, or none where another thread could run in the midst of the fast path: in a Python without the GIL of
    CPython, and where this thread has a tracer or profiler that is written in Python. One that comes later, or runs in
    another thread only, is not seen before the room is used up.
    """
    is_watched = _is_of_python(sys.gettrace()) or _is_of_python(sys.getprofile())
    return NoRoom.UNSAFE if is_watched or not _has_gil() else room


def _is_of_python(watcher: object) -> bool:
    """Whether it is a function of Python, or an object of a class that was made by Python."""
    return isinstance(watcher, (FunctionType, MethodType)) or bool(type(watcher).__flags__ & _HEAP_TYPE)
