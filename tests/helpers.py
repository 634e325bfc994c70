"""What many tests need: bytes, a look into the bucket, and the endings that a writer may meet."""

import hashlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from botocore.exceptions import ClientError

from s3writer import MultipartUploadWriter
from tests.stores import BUCKET

MIB = 1024**2


class Boom(Exception):
    """An exception of the user's own."""


def data(size: int, seed: int = 0) -> bytes:
    """Bytes that repeat nowhere near a part's boundary, the same for the same arguments."""
    block = b"".join(hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(1024))
    block += b"odd"
    return (block * (size // len(block) + 1))[:size]


def writer(client: Any, key: str, **options: Any) -> MultipartUploadWriter:
    """A writer to the test bucket."""
    return MultipartUploadWriter(BUCKET, key, client=client, **options)


def content(client: Any, key: str) -> bytes | None:
    """The object's bytes, None if there is no such object."""
    try:
        return bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise


def uploads(client: Any, key: str) -> list[str]:
    """The ids of the key's unfinished uploads."""
    return [upload["UploadId"] for upload in unfinished(client) if upload["Key"] == key]


def unfinished(client: Any) -> list[dict[str, Any]]:
    """All unfinished uploads of the bucket. rclone says NoSuchUpload of a bucket that never had any."""
    try:
        answer = client.list_multipart_uploads(Bucket=BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchUpload":
            return []
        raise
    return list(answer.get("Uploads", []))


def join_threads() -> None:
    """Wait until nothing is sent or aborted any more."""
    for thread in threading.enumerate():
        if thread.name.startswith("s3writer"):
            thread.join(30)
            assert not thread.is_alive()


def main_thread_is_in(function: Callable[..., Any]) -> bool:
    """Whether the main thread runs ``function`` just now."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    return frame is not None


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged meanwhile, instead of showing it."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, keep = logging.getLogger("s3writer"), Keep()
    logger.addHandler(keep)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.propagate = True
        logger.removeHandler(keep)
