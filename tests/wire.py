"""Faults on the way between a client and a real store, and a record of what was sent.

They are put in at botocore's ``before-send`` event, which sees each attempt of each call just before it goes out.
"""

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

Action = Callable[[AWSPreparedRequest], AWSResponse | None]


class Wire:
    """What goes over the wire of one client; ``on`` puts a fault into it."""

    def __init__(self, client: Any) -> None:
        self.sent: list[str] = []
        self.requests: list[AWSPreparedRequest] = []
        self._client = client
        self._faults: dict[tuple[str, int | None], Action] = {}
        self._lock = threading.Lock()
        client.meta.events.register("before-send.s3", self._before_send)

    def on(self, operation: str, action: Action, nth: int | None = None) -> None:
        """Do ``action`` at the ``nth`` attempt of ``operation`` (from 1), or at each."""
        self._faults[operation, nth] = action

    def remove(self) -> None:
        """Leave the client as it was."""
        self._client.meta.events.unregister("before-send.s3", self._before_send)

    def lose_answer(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """The store acts, and its answer gets lost."""
        self._client._endpoint.http_session.send(request)
        raise ConnectionClosedError(endpoint_url=request.url)

    def act_then_interrupt(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """The store acts, and then comes Ctrl-C."""
        try:
            return self.lose_answer(request)
        except ConnectionClosedError:
            raise KeyboardInterrupt from None

    def act_then_fail(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """The store acts, and says that it has failed."""
        try:
            return self.lose_answer(request)
        except ConnectionClosedError:
            return refuse(500, "InternalError")(request)

    def _before_send(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        with self._lock:
            self.sent.append(operation)
            self.requests.append(request)
            count = self.sent.count(operation)
        action = self._faults.get((operation, count)) or self._faults.get((operation, None))
        return action(request) if action else None


def answer(status: int, body: bytes, **headers: str) -> Action:
    """The store answers this, and does nothing."""

    def action(request: AWSPreparedRequest) -> AWSResponse | None:
        return AWSResponse(request.url, status, {"content-type": "application/xml", **headers}, Raw(body))

    return action


def refuse(status: int, code: str, message: str = "refused by the test") -> Action:
    """The store's answer is no, and it did nothing."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return answer(status, body.encode())


def cut(request: AWSPreparedRequest) -> AWSResponse | None:
    """The connection breaks before anything was sent."""
    raise ConnectionClosedError(endpoint_url=request.url)


def cut_after_sending(request: AWSPreparedRequest) -> AWSResponse | None:
    """The body goes out into a connection that breaks before the store has it."""
    while request.body.read(1024**2):
        pass
    raise ConnectionClosedError(endpoint_url=request.url)


def interrupt(request: AWSPreparedRequest) -> AWSResponse | None:
    """Ctrl-C."""
    raise KeyboardInterrupt


class Slow:
    """A body goes out byte by byte for some seconds. If nothing stops that, the connection breaks then."""

    def __init__(self) -> None:
        self.is_sending = threading.Event()
        self.has_sent_all = False

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        self.is_sending.set()
        for _ in range(1000):
            request.body.seek(0)
            request.body.read(1)
            time.sleep(0.005)
        self.has_sent_all = True
        return cut(request)


def unreachable(request: AWSPreparedRequest) -> AWSResponse | None:
    """Nobody listens there."""
    raise EndpointConnectionError(endpoint_url=request.url)


def delay(seconds: float) -> Action:
    """The store takes its time."""

    def action(_: AWSPreparedRequest) -> AWSResponse | None:
        time.sleep(seconds)
        return None

    return action


class Raw(io.BytesIO):
    """An answer's body, as urllib3 hands it to botocore."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        while piece := self.read(8192):
            yield piece
