"""Has a client read its file of certificate authorities once, and not again for each connection.

All connections of a client share one TLS context, but urllib3 loads the whole file into it for each of them
(https://github.com/urllib3/urllib3/issues/3623). botocore's file has 126 certificates, and OpenSSL 3.0 takes 18
milliseconds of CPU to load them. An upload with 20 parts in flight makes 20 connections.
"""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


class _LoadOnce:
    """A TLS context's ``load_verify_locations`` that does nothing if the context has these authorities already.

    A file that has changed is loaded again. Connections are made side by side: the others wait while one loads it.
    """

    def __init__(self, load: Callable[[Any, Any, Any], None]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._loaded: object = None

    def __call__(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        with self._lock:
            found = cafile, capath, cadata, Path(cafile).stat().st_mtime_ns if cafile else None
            if found != self._loaded:
                self._load(cafile, capath, cadata)
                self._loaded = found


def load_once(client: Any) -> None:
    """Have ``client`` load the file once. Connections through a proxy still load it each time.

    botocore has no public way to its TLS context. If a version keeps it elsewhere, the client stays as it is.
    """
    with contextlib.suppress(AttributeError, KeyError):
        context = client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]
        context.load_verify_locations = _LoadOnce(context.load_verify_locations)
