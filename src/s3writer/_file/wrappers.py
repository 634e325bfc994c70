"""Finds a wrapper around a file that holds bytes back, or has not written its end.

A file does not know its wrappers. But Python's garbage collector knows which objects refer to the file. To ask it takes
some 20 to 40 nanoseconds for each object of the process.
"""

import contextlib
import gc
from collections.abc import Callable
from typing import Any

#: The standard library's wrappers, and their attribute that is the wrapped file.
_ATTRIBUTES = {
    "_io.BufferedWriter": "raw",
    "_io.TextIOWrapper": "buffer",
    "bz2.BZ2File": "_fp",
    "compression.zstd._zstdfile.ZstdFile": "_fp",
    "gzip.GzipFile": "fileobj",
    "lzma.LZMAFile": "_fp",
    "tarfile.TarFile": "fileobj",
    "tarfile._Stream": "fileobj",
    "zipfile.ZipFile": "fp",
    "zipfile._Tellable": "fp",
}
#: They hand over all that they hold when they are flushed. All others must be closed.
_FLUSHED = {"_io.BufferedWriter", "_io.TextIOWrapper"}
#: What a BufferedWriter says that is just being closed. It has been flushed then.
_IN_ITS_OWN_CLOSE = "reentrant call inside"
#: They belong to another wrapper, which says whether it is closed.
_INNER = {"tarfile._Stream", "zipfile._Tellable"}


def unfinished(file: object, taken: Callable[[], int]) -> Any:
    """A wrapper around ``file``, or around one of its wrappers, that has not handed over all its bytes; None if there
    is none. ``taken`` tells how many bytes have arrived. Wrappers that can be flushed are flushed.
    """
    for wrapper, name in _wrappers(file):
        if (outer := unfinished(wrapper, taken)) is not None:
            return outer
        if name in _FLUSHED:
            before = taken()
            try:
                wrapper.flush()
            except RuntimeError as error:
                if not str(error).startswith(_IN_ITS_OWN_CLOSE):
                    raise
            if taken() != before:
                return wrapper
        elif name not in _INNER and not getattr(wrapper, "closed", False):
            return wrapper
    return None


def _wrappers(file: object) -> list[tuple[Any, str]]:
    """The open wrappers of the standard library whose file is ``file``, with their types' names."""
    referrers = gc.get_referrers(file)
    # CPython may keep an object's attributes in a dict. A module's variables are not worth a search.
    attributes = [each for each in referrers if type(each) is dict and "__builtins__" not in each]
    owners = gc.get_referrers(*attributes) if attributes else []
    found: list[tuple[Any, str]] = []
    for each in (*referrers, *owners):
        names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(each).__mro__)
        name = next((name for name in names if name in _ATTRIBUTES), "")
        is_known = any(each is known for known, _ in found)
        with contextlib.suppress(ValueError):  # it was detached
            if name and not is_known and getattr(each, _ATTRIBUTES[name], None) is file:
                found.append((each, name))
    return found
