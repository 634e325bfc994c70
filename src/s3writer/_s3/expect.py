"""When to ask S3 before a body is sent: the header ``Expect: 100-continue``."""

from typing import Any

from s3writer._s3.body import Body, unwrapped
from s3writer._s3.operations import PART, PUT

#: Smaller bodies are sent without asking: an answer would take longer than they do. AWS's SDKs for Go and Kotlin take
#: the same size (their setting ``ContinueHeaderThresholdBytes``).
_ASKS_FROM_BYTES = 2 * 1024 * 1024


class Expect:
    """Takes the header from the requests of a client that are better sent at once.

    With the header, botocore asks S3 before it sends a body, and waits for the answer, but not longer than a second
    (RFC 9110, 10.1.1). That costs a round trip for each part. S3 has accepted the beginning of a part's upload, so it
    seldom refuses the part. If it does, it may close the connection while the part is being sent, and its reason is
    lost. So bytes that are sent again keep the header. From then on all parts of the client keep it, until S3 takes one
    at the first attempt: otherwise the retries of many refused parts could use up botocore's quota.
    """

    def __init__(self, client: Any) -> None:
        self._is_wary = False
        events = client.meta.events
        events.register(f"request-created.s3.{PUT.name}", self._send_object_at_once)
        events.register(f"request-created.s3.{PART.name}", self._send_part_at_once)
        events.register(f"after-call.s3.{PART.name}", self._part_was_answered)

    def _send_object_at_once(self, request: Any, **_: Any) -> None:
        body = unwrapped(request.data)
        if isinstance(body, Body) and _attempt(request.context) == 1 and len(body) < _ASKS_FROM_BYTES:
            del request.headers["Expect"]

    def _send_part_at_once(self, request: Any, **_: Any) -> None:
        body = unwrapped(request.data)
        if not isinstance(body, Body):
            return
        if _attempt(request.context) > 1:
            self._is_wary = True
        elif len(body) < _ASKS_FROM_BYTES or not self._is_wary:
            del request.headers["Expect"]

    def _part_was_answered(self, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if "Error" not in parsed and _attempt(context) == 1:
            self._is_wary = False


def _attempt(context: dict[str, Any]) -> int:
    """Which attempt of its call a request is, from 1."""
    return int(context.get("retries", {}).get("attempt", 1))
