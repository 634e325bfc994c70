"""What a writer changes on a client that it uses. The event handlers leave the calls of others alone."""

import weakref
from typing import Any

from s3writer._s3 import attempts, body
from s3writer._s3.certificates import load_once
from s3writer._s3.operations import COMPLETE, CREATE, PART, PUT

_HANDLERS: dict[str, tuple[Any, ...]] = {
    "before-call": (body.add_no_checksum, PUT, PART),
    "before-send": (body.begin_sending, PUT, PART),
    "needs-retry": (attempts.add, PUT, CREATE, COMPLETE),
}

#: The clients that have them.
_watched: "weakref.WeakSet[Any]" = weakref.WeakSet()


def watch(client: Any) -> None:
    """Have ``client`` tell a `Body` when it goes out, and add no checksums of its own to it. Have it tell
    `attempts_of_call` how each attempt ends. This adds seven event handlers, which stay on the client. And have it load
    its file of certificate authorities once.

    botocore caches the handlers of an event. If another thread emits the event for the first time while this thread
    registers a handler, the handler may never be called. `Body.may_have_arrived` and `attempts_of_call` allow for that.
    """
    if client not in _watched:
        for moment, (handler, *operations) in _HANDLERS.items():
            for operation in operations:
                event = f"{moment}.s3.{operation.name}"
                client.meta.events.register_first(event, handler, unique_id=f"s3writer.{event}")
        load_once(client)
        _watched.add(client)
