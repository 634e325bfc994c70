"""Has a client load its file of certificate authorities once, and not again for each connection.

All connections of a client share one TLS context, but urllib3 loads the whole file into it for each of them
(https://github.com/urllib3/urllib3/issues/3623). For botocore's file of some 130 certificates, OpenSSL 3.0 takes 18
milliseconds of CPU. An upload with 20 parts in flight makes 20 connections.
"""

import contextlib
import os
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

#: A connection waits so long for another that loads the file. Then it loads the file itself, for the other may never
#: end: it may be in a thread that a forked child does not have, or in a call that was interrupted by a signal handler,
#: which waits for this connection.
_MOST_SECONDS = 1.0


class _LoadOnce:
    """A TLS context's ``load_verify_locations`` that does nothing if it would load the same as the last time.

    A file that was changed or replaced is loaded again. While one connection loads it, others wait that need it too.
    """

    def __init__(self, context: Any) -> None:
        self._load = type(context).load_verify_locations
        self._context = weakref.ref(context)  # the context refers to this object, and should die as soon as its client
        self._lock = threading.Lock()
        self._loaded: object = None

    def __call__(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        found = _identity(cafile), capath, cadata
        if found == self._loaded:
            return
        is_mine = self._lock.acquire(timeout=_MOST_SECONDS)
        try:
            if found != self._loaded:
                self._load(self._context(), cafile, capath, cadata)
                self._loaded = found
        finally:
            if is_mine:
                self._lock.release()


def _identity(file: Any) -> tuple[int, ...] | None:
    """What tells a file from all others, and from itself before it was changed; None for None."""
    if file is None:
        return None
    found = Path(os.fsdecode(file)).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def load_once(client: Any) -> None:
    """Have ``client`` load the file once for each of its contexts: one for the store, and one for each proxy.

    botocore has no public way to them. If a version keeps them elsewhere, the client stays as it is.
    """
    with contextlib.suppress(AttributeError, KeyError):
        session = client._endpoint.http_session
        for manager in (session._manager, *session._proxy_managers.values()):
            _prepared(manager.connection_pool_kw["ssl_context"])
        usual = partial(type(session)._get_ssl_context, weakref.proxy(session))
        make = session.__dict__.get("_get_ssl_context", usual)
        session._get_ssl_context = lambda: _prepared(make())  # called when the first connection through a proxy is made


def _prepared(context: Any) -> Any:
    """``context`` itself. If somebody has given it a ``load_verify_locations``, or nobody can, it stays as it is."""
    with contextlib.suppress(AttributeError):
        context.__dict__.setdefault("load_verify_locations", _LoadOnce(context))
    return context
