"""What is logged: one logger, and with each record the facts that it is about.

A handler that raises has no part in an outcome: what it raises is shown, as ``logging`` shows what its own handlers
raise, and goes no further.
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
    """A record's ``extra``: each fact behind ``s3_``, since a record has attributes of its own."""
    named = {"bucket": bucket, "key": key, "upload_id": upload_id, **others}
    return {f"s3_{name}": value for name, value in named.items()}


def log(level: int, message: str, *arguments: Any, extra: Mapping[str, Any], exc_info: bool = False) -> None:
    """Log it; raises nothing but interrupts."""
    try:
        logger.log(level, message, *arguments, extra=extra, exc_info=exc_info)
    except Exception:
        with contextlib.suppress(Exception):
            if logging.raiseExceptions and sys.stderr:
                traceback.print_exc()


def warn(message: str, extra: Mapping[str, Any]) -> None:
    """Log what somebody should know."""
    log(logging.WARNING, "%s", message, extra=extra)


def log_end(outcome: str, bucket: str, key: str, upload_id: str | None, *, size: int, parts: int, began: float) -> None:
    """The line at INFO that says how an upload ended. ``began`` is a time of ``time.monotonic``."""
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
