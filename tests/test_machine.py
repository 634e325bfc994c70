"""A machine that does whatever a program may do to a writer, and looks into the bucket after each ending."""

import contextlib
import gc
import io
import warnings
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from s3writer import AbortedError, AccessDeniedError, MultipartUploadWriter, NotCommittedError
from tests.conftest import Running, join_aborts
from tests.helpers import MIB, Boom, content, data, uploads
from tests.stores import BUCKET, Store
from tests.wire import Wire, refuse


class Lifecycle(RuleBasedStateMachine):
    """One key, one writer at a time, and a model of what the key must hold."""

    store: Store

    @initialize()
    def begin(self) -> None:
        self.client = self.store.client()
        self.wire = Wire(self.client)
        self.key = uuid4().hex
        self.published: bytes | None = None
        self.writer: MultipartUploadWriter | None = None
        self.written = b""
        self.is_broken = False

    def stream(self) -> MultipartUploadWriter:
        assert self.writer is not None
        return self.writer

    @precondition(lambda self: self.writer is None)
    @rule(concurrency=st.integers(1, 3))
    def open(self, concurrency: int) -> None:
        self.writer = MultipartUploadWriter(BUCKET, self.key, client=self.client, max_concurrency=concurrency)
        self.written = b""
        self.is_broken = False

    @precondition(lambda self: self.writer is not None)
    @rule(size=st.sampled_from([0, 1, 1000, 5 * MIB - 1, 5 * MIB, 11 * MIB]), seed=st.integers(0, 9))
    def write(self, size: int, seed: int) -> None:
        chunk = data(size, seed)
        try:
            taken = self.stream().write(chunk)
        except NotCommittedError:
            assert self.is_broken
        else:
            assert taken == size
            self.written += chunk

    @precondition(lambda self: self.writer is not None)
    @rule(operation=st.sampled_from(["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"]))
    def break_the_store(self, operation: str) -> None:
        self.wire.on(operation, refuse(403, "AccessDenied"))
        self.is_broken = True

    @precondition(lambda self: self.writer is not None)
    @rule(by=st.sampled_from(["close", "commit", "with", "text"]))
    def publish(self, by: str) -> None:
        stream = self.stream()
        try:
            if by == "commit":
                stream.commit()
            elif by == "with":
                with stream:
                    pass
            elif by == "text":
                io.TextIOWrapper(stream).close()
            else:
                stream.close()
        except (AccessDeniedError, AbortedError):
            assert self.is_broken
        else:
            self.published = self.written
        self.end()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def fail(self) -> None:
        with pytest.raises(Boom), self.stream():
            raise Boom
        self.end()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def abort(self) -> None:
        self.stream().abort()
        self.end()

    @precondition(lambda self: self.writer is not None)
    @rule(in_wrapper=st.booleans())
    def collect(self, in_wrapper: bool) -> None:
        holder: list[Any] = [io.TextIOWrapper(self.stream()) if in_wrapper else self.stream()]
        holder.append(holder)
        self.writer = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del holder
            gc.collect()
        join_aborts()
        self.end()

    def end(self) -> None:
        if self.writer is not None:
            stream = self.writer
            assert stream.closed
            for again in (stream.close, stream.abort):
                again()
            with contextlib.suppress(ValueError):
                stream.write(b"late")
                raise AssertionError("a closed writer took bytes")
        self.writer = None
        self.wire._faults.clear()
        assert uploads(self.client, self.key) == []

    @invariant()
    def the_key_holds_what_was_published_last(self) -> None:
        if self.writer is None:
            assert content(self.client, self.key) == self.published

    def teardown(self) -> None:
        if getattr(self, "writer", None) is not None:
            self.stream().abort()


def test_whatever_a_program_does_the_key_holds_the_last_whole_object(running: Running) -> None:
    machine = type("Machine", (Lifecycle,), {"store": running["seaweedfs"]})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None))
