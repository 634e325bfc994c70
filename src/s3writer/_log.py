"""What is logged: one logger, and with each record the facts that it is about."""

import logging
import time
from typing import Any

logger = logging.getLogger("s3writer")


def facts(bucket: str, key: str, upload_id: str | None, **others: Any) -> dict[str, Any]:
    """A record's ``extra``: each fact behind ``s3_``, since a record has attributes of its own."""
    named = {"bucket": bucket, "key": key, "upload_id": upload_id, **others}
    return {f"s3_{name}": value for name, value in named.items()}


def log_end(outcome: str, bucket: str, key: str, upload_id: str | None, *, size: int, parts: int, began: float) -> None:
    """The one line that each upload gets at INFO: how it ended. ``began`` is a time of ``time.monotonic``."""
    seconds = round(time.monotonic() - began, 3)
    logger.info(
        "s3://%s/%s %s: %d bytes, %d parts, %.3f seconds",
        bucket,
        key,
        outcome,
        size,
        parts,
        seconds,
        extra=facts(bucket, key, upload_id, outcome=outcome, size=size, parts=parts, seconds=seconds),
    )
