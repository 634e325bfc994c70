"""A client of botocore whose requests are answered in memory."""

import contextlib
import functools
import itertools
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import boto3
import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from s3writer._fork import in_each_child
from s3writer._log import counted
from s3writer._s3 import client as _client
from s3writer.testing.messages import RefusedError, read
from s3writer.testing.rules import Memory

#: In a request's context, and then in its headers: what no form of endpoint can hide.
_ADDRESS = "x-s3writer-address"

Act = Callable[[Callable[[], AWSResponse]], AWSResponse]


@dataclass
class _Fault:
    """``act`` is called, with what would do the request, in the place of each call, or of the ``nth``."""

    act: Act
    nth: int | None
    calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def is_due(self) -> bool:
        return next(self.calls) == self.nth or self.nth is None


#: The stores of this process. A forked child gives them new locks.
_all: "weakref.WeakSet[MemoryS3]" = weakref.WeakSet()
#: The stores of which the ``with`` blocks run; the last one is that of all writers. Blocks may overlap.
_entered: "list[MemoryS3]" = []
_entering = threading.Lock()
#: A session of boto3 may be used by one thread at a time.
_making = threading.Lock()
_default_client = _client.default_client


def _after_fork() -> None:
    """Have new locks: no thread of the child releases those that a thread of its parent has held."""
    global _entering, _making
    _entering, _making = threading.Lock(), threading.Lock()
    for store in _all:
        store._lock = threading.Lock()
        store._memory.renew_lock()


in_each_child(_after_fork)


def _entered_client(endpoint_url: str | None = None) -> Any:
    """The client of the store that was entered last, in place of `default_client`."""
    with _entering:
        return _entered[-1].client if _entered else _default_client(endpoint_url)


class MemoryS3:
    """S3 in memory, with these ``buckets``. Its objects live as long as it does.

    Within its ``with`` block, all writers that are given no ``client`` write to it.

    Attributes:
        client: a boto3 S3 client that talks to it, and tries each call once.
        calls: the names of all calls so far, such as "PutObject", in the order in which they came.

    """

    def __init__(self, *buckets: str) -> None:
        self.calls: list[str] = []
        self._memory = Memory(set(buckets))
        self._faults: dict[str, list[_Fault]] = {}
        self._lock = threading.Lock()
        self.client = _make_client()
        self.attach(self.client)
        _all.add(self)

    def __enter__(self) -> Self:
        with _entering:
            _entered.append(self)
            _client.default_client = _entered_client
        return self

    def __exit__(self, *_: object) -> None:
        with _entering:
            _entered.remove(self)
            if not _entered:
                _client.default_client = _default_client

    def __repr__(self) -> str:
        counts = {"object": len(self.objects), "unfinished upload": len(self.unfinished), "call": len(self.calls)}
        told = ", ".join(counted(count, noun) for noun, count in counts.items())
        return f"<MemoryS3 {' '.join(sorted(self._memory.buckets)) or 'without buckets'}: {told}>"

    def attach(self, client: Any) -> None:
        """Let ``client``, a boto3 S3 client of the code under test, talk to this store from now on, and to no other."""
        handlers = {
            "before-parameter-build.s3": _note_address,
            "request-created.s3": _tell_address,
            "before-send.s3": self._before_send,
        }
        for event, handler in handlers.items():
            unique_id = f"s3writer-memory.{event}"
            client.meta.events.unregister(event, unique_id=unique_id)
            client.meta.events.register(event, handler, unique_id=unique_id)

    @property
    def objects(self) -> dict[str, bytes]:
        """The bytes of each published object, by its URL ``s3://bucket/key``."""
        return self._memory.objects

    @property
    def unfinished(self) -> list[str]:
        """The URLs of uploads that were neither completed nor aborted."""
        return self._memory.unfinished

    def refuse(self, call: str, code: str, *, nth: int | None = None) -> None:
        """Answer ``call``, such as "UploadPart", with S3's error ``code``, such as "SlowDown", and don't act.

        ``nth`` says which call is refused: 1 is the next one. None: each is refused.
        """

        def act(_: Callable[[], AWSResponse]) -> AWSResponse:
            raise RefusedError(code, "refused on demand")

        self._add(call, act, nth)

    def cut(self, call: str, *, nth: int | None = None) -> None:
        """Break the connection before ``call`` has been sent; ``nth`` as in `refuse`."""

        def act(_: Callable[[], AWSResponse]) -> AWSResponse:
            raise ConnectionClosedError(endpoint_url=self.client.meta.endpoint_url)

        self._add(call, act, nth)

    def lose_answer(self, call: str, *, nth: int | None = None) -> None:
        """Do what ``call`` asks for, and break the connection before the answer comes; ``nth`` as in `refuse`."""

        def act(go_on: Callable[[], AWSResponse]) -> AWSResponse:
            with contextlib.suppress(RefusedError):
                go_on()
            raise ConnectionClosedError(endpoint_url=self.client.meta.endpoint_url)

        self._add(call, act, nth)

    def _add(self, call: str, act: Act, nth: int | None) -> None:
        if call not in self.client.meta.service_model.operation_names:
            raise ValueError(f"call={call!r} is not one of S3's, such as UploadPart or CompleteMultipartUpload")
        if nth is not None and nth < 1:
            raise ValueError(f"nth={nth} is not counted from 1")
        self._faults.setdefault(call, []).append(_Fault(act, nth))

    def _before_send(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        call = event_name.rpartition(".")[2]
        with self._lock:
            self.calls.append(call)
            due = [fault for fault in self._faults.get(call, []) if fault.is_due()]

        def go_on() -> AWSResponse:
            return self._memory.answer(call, read(request, *json.loads(request.headers[_ADDRESS]))).to(request)

        try:
            return due[0].act(go_on) if due else go_on()
        except RefusedError as refusal:
            return refusal.answer(request.method).to(request)


def _note_address(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Called by botocore with the arguments of a call."""
    context[_ADDRESS] = json.dumps([params.get("Bucket", ""), params.get("Key", "")])


def _tell_address(request: AWSRequest, **_: Any) -> None:
    """Called by botocore with the request that it has made of them."""
    request.headers[_ADDRESS] = request.context[_ADDRESS]


@functools.cache
def _session() -> Any:
    """One for all stores, because each new session reads the model of S3 again. It heeds neither the environment nor
    files, which may name a profile that is not there.
    """
    nothing: dict[str, Any] = {"profile": (None, [], None, None), "config_file": (None, [], os.devnull, None)}
    core = botocore.session.Session(session_vars=nothing)
    return boto3.session.Session("nobody", "nothing", region_name="us-east-1", botocore_session=core)


def _make_client() -> Any:
    once = Config(
        retries={"mode": "standard", "total_max_attempts": 1}, s3={**_client.CONFIG["s3"], "addressing_style": "path"}
    )
    config = Config(**_client.CONFIG).merge(once)
    with _making:
        return _session().client("s3", endpoint_url="https://s3.in-memory.invalid", config=config)
