"""What runs inside of a server: a WSGI application, Celery tasks, and what they do."""

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from s3writer import AbortedError, MultipartUploadWriter
from s3writer._s3.client import default_client

BUCKET = "test-bucket"
PIECE = hashlib.sha256(b"a piece").digest() * 32_000  # a MiB, about
PIECES = 12


def write(key: str, pieces: int = PIECES) -> str:
    """Write an object, and give another one up in the midst. Returns the object's ETag."""
    with MultipartUploadWriter(BUCKET, key) as stream:
        for _ in range(pieces):
            stream.write(PIECE)
    given_up = MultipartUploadWriter(BUCKET, f"{key}/never")
    for _ in range(pieces):
        given_up.write(PIECE)
    given_up.abort()
    try:
        given_up.write(PIECE)
    except (AbortedError, ValueError):
        return str(stream.result.etag)
    raise AssertionError("an aborted writer takes bytes")


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Writes an object of the path's name."""
    etag = write(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{etag} {os.getpid()}".encode()]


if os.environ.get("PRELOADED"):
    write("preloaded")  # in the master, before it forks: its threads and connections are not the workers'
    default_client()
