"""Has a client load its file of certificate authorities once, and not again for each connection.

All connections of a client share one TLS context, but urllib3 loads the whole file into it for each of them
(https://github.com/urllib3/urllib3/issues/3623). For botocore's file of some 130 certificates, OpenSSL 3.0 takes 18
milliseconds of CPU. An upload with 20 parts in flight makes 20 connections.
"""

import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

from s3writer._fork import in_each_child

#: Connections are made side by side. While one loads a file, the others wait that need it too.
_lock = threading.Lock()


class _LoadOnce:
    """A TLS context's ``load_verify_locations`` that does nothing if it would load the same as the last time. A file
    that was changed or replaced is loaded again.
    """

    def __init__(self, context: Any) -> None:
        self._load = type(context).load_verify_locations
        self._context = weakref.ref(context)  # the context refers to this object, and should die as soon as its client
        self._loaded: object = None

    def __call__(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        found = _identity(cafile), capath, cadata
        if found == self._loaded:
            return
        with _lock:
            if found != self._loaded:
                self._load(self._context(), cafile, capath, cadata)
                self._loaded = found


def _identity(file: Any) -> tuple[int, ...] | None:
    """What tells a file from all others, and from itself before it was changed; None for None."""
    if file is None:
        return None
    found = Path(os.fsdecode(file)).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def load_once(client: Any) -> None:
    """Have ``client`` load the file once for each of its contexts: one for the store, and one for each proxy.

    botocore has no public way to them. If a version keeps them elsewhere, the client stays as it is.
    """
    with contextlib.suppress(AttributeError, KeyError):
        session = client._endpoint.http_session
        _prepared(session._manager.connection_pool_kw["ssl_context"])
        make, of = type(session)._get_ssl_context, weakref.ref(session)
        session._get_ssl_context = lambda: _prepared(make(of()))  # when the first connection through a proxy is made


def _prepared(context: Any) -> Any:
    context.load_verify_locations = _LoadOnce(context)
    return context


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # a thread of the parent may have held it


in_each_child(_after_fork)
