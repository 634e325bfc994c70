"""The package's logger. Each record carries facts, such as bucket and key, as attributes.

A logging handler that raises does not change how an upload ends. Its traceback is printed, as ``logging`` does for its
own handlers, and the exception goes no further.
"""

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("s3writer")


def facts(bucket: str, key: str, upload_id: str | None, **others: Any) -> dict[str, Any]:
    """The ``extra`` of a log record. The prefix ``s3_`` keeps the facts apart from the record's own attributes."""
    named = {"bucket": bucket, "key": key, "upload_id": upload_id, **others}
    return {f"s3_{name}": value for name, value in named.items()}


def log(level: int, message: str, *arguments: Any, extra: Mapping[str, Any], exc_info: bool = False) -> None:
    """Log a message. An ``Exception`` of a handler is printed; only interrupts are raised."""
    try:
        logger.log(level, message, *arguments, extra=extra, exc_info=exc_info)
    except Exception:
        with contextlib.suppress(Exception):
            if logging.raiseExceptions and sys.stderr:
                traceback.print_exc()


def warn(message: str, extra: Mapping[str, Any]) -> None:
    """Log ``message`` at level WARNING."""
    log(logging.WARNING, "%s", message, extra=extra)


def counted(number: int, noun: str) -> str:
    """``number`` with its noun: 1 upload, 2 uploads."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def log_end(outcome: str, bucket: str, key: str, upload_id: str | None, *, size: int, parts: int, began: float) -> None:
    """The line at INFO that says how an upload ended. ``began`` is a time of ``time.monotonic``."""
    if not logger.isEnabledFor(logging.INFO):
        return
    seconds = round(time.monotonic() - began, 3)
    log(
        logging.INFO,
        "s3://%s/%s %s: %d bytes, %d parts, %.3f seconds",
        bucket,
        key,
        outcome,
        size,
        parts,
        seconds,
        extra=facts(bucket, key, upload_id, outcome=outcome, size=size, parts=parts, seconds=seconds),
    )
