"""A request that fails: what is raised, once and then again, and that nothing is doubled, published or left."""

import datetime as dt
import gc
import io
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials

from s3writer import (
    AbortedError,
    AccessDeniedError,
    ChecksumMismatchError,
    NotCommittedError,
    ObjectTooLargeError,
    S3WriterError,
    ThrottledError,
)
from s3writer._upload import at_exit, cleanup
from s3writer._upload.jobs import Stopped
from s3writer._upload.plan import MAX_PARTS
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, join_threads, logged, uploads, writer
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Slow, Wire, answer, cut, cut_after_sending, delay, interrupt, refuse

DENIED = refuse(403, "AccessDenied")


def write_until_it_fails(stream: Any) -> BaseException:
    for number in range(20):
        try:
            stream.write(data(6 * MIB, seed=number))
        except Exception as error:
            return error
    raise AssertionError("no write failed")


def test_a_failed_part_then_close_then_close_again_then_collection(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", DENIED, nth=2)
    stream = writer(client, key, max_concurrency=1)
    first = write_until_it_fails(stream)
    assert isinstance(first, AccessDeniedError)
    assert not stream.closed
    assert uploads(client, key) == []
    with pytest.raises(AbortedError) as again:
        stream.close()
    assert again.value.__cause__ is first
    assert stream.closed
    stream.close()
    del stream
    gc.collect()
    assert content(client, key) is None
    assert "CompleteMultipartUpload" not in wire.sent


def test_a_failed_write_repeated_by_the_caller_is_an_error_and_never_doubles_bytes(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=2)
    stream = writer(client, key, max_concurrency=1)
    write_until_it_fails(stream)
    for chunk in (data(6 * MIB), b"small", "text", b""):
        with pytest.raises(AbortedError):
            stream.write(chunk)
    with pytest.raises(AbortedError):
        stream.commit()
    assert content(client, key) is None


def test_a_failed_write_inside_with_raises_its_own_error(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=1)
    with pytest.raises(AccessDeniedError, match="uploading part"), writer(client, key) as stream:
        for _ in range(20):
            stream.write(data(6 * MIB))
    assert uploads(client, key) == []


def test_a_failed_write_that_the_caller_swallowed_is_raised_by_with(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=1)
    with pytest.raises(AbortedError) as caught, writer(client, key, max_concurrency=1) as stream:
        first = write_until_it_fails(stream)
    assert caught.value.__cause__ is first
    assert content(client, key) is None


def test_the_last_part_refused_in_close(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=2)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    with pytest.raises(AccessDeniedError):
        stream.close()
    stream.close()
    assert stream.closed
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "CompleteMultipartUpload"])
def test_create_or_complete_refused_for_good_then_collection(client: Any, key: str, operation: str) -> None:
    wire = Wire(client)
    wire.on(operation, DENIED)
    stream = writer(client, key)
    with pytest.raises(AccessDeniedError) as caught:
        stream.write(data(6 * MIB))
        stream.close()
    assert caught.value.upload_id is None
    if not stream.closed:
        with pytest.raises(AbortedError):
            stream.close()
    del stream
    gc.collect()
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_single_request_refused(client: Any, key: str) -> None:
    Wire(client).on("PutObject", DENIED)
    stream = writer(client, key)
    stream.write(b"small")
    with pytest.raises(AccessDeniedError, match="publishing"):
        stream.close()
    stream.close()
    assert content(client, key) is None


def test_what_could_not_be_aborted_is_in_the_first_error(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", refuse(503, "SlowDown"), nth=2)
    wire.on("AbortMultipartUpload", DENIED)
    stream = writer(client, key, max_concurrency=1)
    first = write_until_it_fails(stream)
    assert isinstance(first, ThrottledError)
    assert [first.upload_id] == uploads(client, key)
    assert any(str(first.upload_id) in note for note in first.__notes__)
    again = pickle.loads(pickle.dumps(first))
    assert (again.upload_id, again.__notes__) == (first.upload_id, first.__notes__)
    with pytest.raises(AbortedError) as later:
        stream.write(b"more")
    assert later.value.upload_id == first.upload_id
    with pytest.raises(AbortedError):
        stream.close()
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=first.bucket, Key=key, UploadId=first.upload_id)


def test_what_could_not_be_aborted_can_be_tried_again(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", refuse(503, "SlowDown"))
    wire.on("AbortMultipartUpload", DENIED)
    stream = writer(client, key, max_concurrency=1)
    first = write_until_it_fails(stream)
    tried = wire.sent.count("AbortMultipartUpload")
    wire.on("AbortMultipartUpload", lambda request: None)
    assert len(uploads(client, key)) == 1
    stream.abort()
    assert uploads(client, key) == []
    assert wire.sent.count("AbortMultipartUpload") == tried + 1
    assert isinstance(first, ThrottledError)


def test_closing_from_within_a_commit_is_refused_whatever_is_in_flight(client: Any, key: str) -> None:
    def progress(_: int) -> None:
        try:
            raise Boom
        except Boom:
            stream.close()

    stream = writer(client, key, progress=progress)
    stream.write(data(6 * MIB))
    with pytest.raises(RuntimeError, match="from within its own call"):
        stream.close()
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_wrapper_that_dies_has_nothing_sent(client: Any, key: str) -> None:
    wire = Wire(client)
    wrapper = io.BufferedWriter(writer(client, key))
    wrapper.raw.write(data(5 * MIB))
    wrapper.write(b"one byte more than a part")
    with pytest.warns(ResourceWarning, match="never closed"):
        del wrapper
    assert wire.sent == []
    assert content(client, key) is None


def test_an_abort_waits_for_parts_in_flight_and_none_lands_after_it(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", delay(0.5))
    stream = writer(client, key)
    stream.write(data(21 * MIB))
    while "UploadPart" not in wire.sent:
        time.sleep(0.01)
    stream.abort()
    assert [name for name in wire.sent if name != "UploadPart"] == [
        "CreateMultipartUpload",
        "AbortMultipartUpload",
        "ListParts",
    ]
    assert wire.sent.index("AbortMultipartUpload") > max(
        index for index, name in enumerate(wire.sent) if name == "UploadPart"
    )
    assert stream._upload.pipeline.jobs.running == 0
    assert uploads(client, key) == []


def test_a_part_that_shows_after_the_abort_is_aborted_again(client: Any, key: str) -> None:
    shown = b"<ListPartsResult><Part><PartNumber>1</PartNumber><Size>5</Size></Part></ListPartsResult>"
    wire = Wire(client)
    wire.on("ListParts", answer(200, shown), nth=1)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    stream.abort()
    assert wire.sent[-4:] == ["AbortMultipartUpload", "ListParts", "AbortMultipartUpload", "ListParts"]


@pytest.mark.parametrize("nth", [1, 2], ids=["the failure itself", "another part"])
def test_a_part_that_may_arrive_late_is_looked_for_again_and_told(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr("s3writer._upload.cleanup.LATE_SECONDS", 0.1)
    wire = Wire(client)

    def refuse_later(request: Any) -> Any:
        time.sleep(0.5)
        return refuse(403, "AccessDenied")(request)

    wire.on("UploadPart", cut_after_sending, nth=nth)
    wire.on("UploadPart", refuse_later, nth=3 - nth)
    stream = writer(client, key)
    with logged() as log, pytest.raises(NotCommittedError), stream:
        stream.write(data(21 * MIB))
        stream.close()
    assert wire.sent[-4:] == ["AbortMultipartUpload", "ListParts", "AbortMultipartUpload", "ListParts"]
    assert str(stream._upload.pipeline.upload_id) in next(line for line in log if "answer to a part was lost" in line)


def test_an_abort_on_demand_looks_for_a_late_part_again_though_a_failure_would_have_kept_the_upload(
    store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer._upload.cleanup.LATE_SECONDS", 0.1)
    client = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(client)
    wire.on("UploadPart", cut_after_sending, nth=1)
    stream = writer(client, key, on_error="keep")
    stream.write(data(6 * MIB))
    stream._upload.pipeline.collect(0)
    with logged() as log:
        stream.abort()
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert any("answer to a part was lost" in line for line in log)


def test_a_part_that_was_answered_with_a_wrong_checksum_does_not_arrive_late(client: Any, key: str) -> None:
    def alter(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumCRC64NVME"] = parsed["ChecksumCRC32"] = "AAAAAAAAAAE="

    client.meta.events.register("after-call.s3.UploadPart", alter)
    wire = Wire(client)
    with logged() as log, pytest.raises(ChecksumMismatchError), writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert wire.sent.count("AbortMultipartUpload") == 1
    assert not [line for line in log if "answer to a part was lost" in line]


def test_an_abort_while_a_part_hangs_is_repeated_once_that_has_ended(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_: Any) -> None:
        hanging.append(threading.current_thread())
        hangs.set()
        goes_on.wait(60)

    def let_the_part_go_on(_: Any) -> None:
        goes_on.set()
        hanging[0].join(30)

    monkeypatch.setattr("s3writer._upload.cleanup.STOP_SECONDS", 0.0)
    hanging: list[threading.Thread] = []
    hangs, goes_on = threading.Event(), threading.Event()
    wire = Wire(client)
    wire.on("UploadPart", hang)
    wire.on("AbortMultipartUpload", let_the_part_go_on, nth=1)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    hangs.wait(30)
    stream.abort()
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert uploads(client, key) == []


def test_a_part_whose_answer_was_lost_has_time_to_arrive_before_the_second_abort(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note_how_long_it_was_waited(_: Any) -> None:
        waited.append(sum(pauses))

    pauses: list[float] = []
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    wire = Wire(client)
    wire.on("UploadPart", cut_after_sending)
    wire.on("AbortMultipartUpload", note_how_long_it_was_waited)
    with pytest.raises(NotCommittedError), writer(client, key) as stream:
        stream.write(data(6 * MIB))
    first, second = waited
    assert second > first


def test_an_abort_stops_a_part_in_the_midst_of_its_bytes(client: Any, key: str) -> None:
    slow = Slow()
    Wire(client).on("UploadPart", slow)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    slow.is_sending.wait(30)
    stream.abort()
    assert not slow.has_sent_all
    assert uploads(client, key) == []


def test_an_abort_that_was_acknowledged_and_not_done_is_done_again(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", refuse(403, "AccessDenied"))
    wire.on("AbortMultipartUpload", answer(204, b""), nth=1)
    with pytest.raises(AccessDeniedError), writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert uploads(client, key) == []


def test_parts_that_keep_arriving_are_told(client: Any, key: str) -> None:
    shown = b"<ListPartsResult><Part><PartNumber>1</PartNumber><Size>5</Size></Part></ListPartsResult>"
    wire = Wire(client)
    wire.on("ListParts", answer(200, shown))
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    with pytest.raises(NotCommittedError, match="S3 shows it even now") as caught:
        stream.abort()
    assert caught.value.upload_id is not None


def test_ctrl_c_in_a_write_that_waits_kills_the_writer(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", interrupt, nth=1)
    stream = writer(client, key, max_concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(5):
            stream.write(data(6 * MIB))
    with pytest.raises(AbortedError):
        stream.write(b"again")
    with pytest.raises(AbortedError):
        stream.close()
    assert uploads(client, key) == []


def test_a_part_that_the_store_has_otherwise_is_an_error(client: Any, key: str) -> None:
    def alter(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumCRC32"] = "AAAAAA=="

    client.meta.events.register("after-call.s3.UploadPart", alter)
    with pytest.raises(ChecksumMismatchError, match="ChecksumCRC32"), writer(client, key, checksum="CRC32") as stream:
        stream.write(data(6 * MIB))
    assert uploads(client, key) == []


def test_part_10001_is_refused_with_what_to_set(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3writer._upload.ledger.MAX_PARTS", 2)
    stream = writer(client, key)
    stream.write(data(10 * MIB))
    with pytest.raises(ObjectTooLargeError, match=r"expected_size.*max_memory.*part_size") as caught:
        stream.write(b"one more")
    assert f"{MAX_PARTS:,} parts" in str(caught.value)
    with pytest.raises(NotCommittedError):
        stream.close()
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_an_object_of_exactly_all_parts_is_published(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3writer._upload.ledger.MAX_PARTS", 2)
    with writer(client, key) as stream:
        stream.write(data(10 * MIB))
    assert content(client, key) == data(10 * MIB)


def test_no_connection_is_told_and_leaves_nothing_to_clean(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CreateMultipartUpload", cut)
    with pytest.raises(ConnectionError) as caught, writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert isinstance(caught.value, S3WriterError)
    assert wire.sent == ["CreateMultipartUpload"]


def test_an_abort_that_fails_once_is_tried_again(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(500, "InternalError"), nth=1)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    stream.abort()
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert uploads(client, key) == []


def test_ctrl_c_while_aborting_names_what_may_be_left(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", interrupt)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.abort()
    (upload_id,) = uploads(client, key)
    assert upload_id in caught.value.__notes__[0]
    assert stream.closed
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_an_upload_whose_abort_was_interrupted_is_not_called_aborted(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", interrupt)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    with logged() as log, pytest.raises(KeyboardInterrupt):
        stream.abort()
    (upload_id,) = uploads(client, key)
    assert any("could not be aborted" in line and upload_id in line for line in log)
    assert " kept, " in repr(stream)
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_running_out_of_memory_while_copying_kills_the_writer(client: Any, key: str) -> None:
    def run_out(_: object) -> int:
        raise MemoryError

    stream = writer(client, key)
    stream._put = run_out
    with pytest.raises(MemoryError):
        stream.write(b"small")
    with pytest.raises(AbortedError):
        stream.write(b"small")
    with pytest.raises(AbortedError):
        stream.close()


def test_a_finaliser_that_can_not_abort_says_so_in_the_log(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", DENIED)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    with pytest.warns(ResourceWarning, match="never closed"):
        del stream
        gc.collect()
    join_aborts()
    (upload_id,) = uploads(client, key)
    assert [record for record in caplog.records if upload_id in record.getMessage()]
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_buffer_that_somebody_still_holds_is_not_used_again(client: Any, key: str) -> None:
    held: list[memoryview] = []

    def hold(params: dict[str, Any], **_: Any) -> None:
        held.extend(piece[:] for piece in params["Body"]._pieces)

    client.meta.events.register("provide-client-params.s3.UploadPart", hold)
    with writer(client, key, max_concurrency=1, max_memory=10 * MIB) as stream:
        stream.write(data(26 * MIB))
    assert b"".join(held) == content(client, key) == data(26 * MIB)


def test_abort_after_a_failed_write_has_nothing_left_to_do(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", DENIED, nth=1)
    stream = writer(client, key, max_concurrency=1)
    write_until_it_fails(stream)
    sent = len(wire.sent)
    stream.abort()
    assert stream.closed
    assert len(wire.sent) == sent


def test_after_an_upload_was_removed_no_later_error_names_it(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=1)
    stream = writer(client, key, max_concurrency=1)
    write_until_it_fails(stream)
    assert uploads(client, key) == []
    for act in (lambda: stream.write(b"more"), stream.close):
        with pytest.raises(AbortedError) as caught:
            act()
        assert caught.value.upload_id is None


def test_an_upload_that_begins_while_a_finaliser_aborts_is_removed_again(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CreateMultipartUpload", delay(0.5))
    stream = writer(client, key)
    wrapper = io.BufferedWriter(stream)
    wrapper.write(data(6 * MIB))
    with pytest.warns(ResourceWarning, match="never closed"):
        del wrapper
    with pytest.raises(ValueError, match="closed"):
        stream.write(b"x")
    join_aborts()
    assert "AbortMultipartUpload" in wire.sent
    assert uploads(client, key) == []


def test_a_write_that_waits_while_a_dying_wrapper_gives_the_upload_up_is_told_so(client: Any, key: str) -> None:
    slow = Slow()
    Wire(client).on("UploadPart", slow)
    stream = writer(client, key, max_concurrency=1)
    wrapper = io.BufferedWriter(stream)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(stream.write, data(18 * MIB))
        assert slow.is_sending.wait(30)
        with pytest.warns(ResourceWarning, match="never closed"):
            del wrapper
    assert type(written.exception()) is AbortedError
    assert not slow.has_sent_all
    assert uploads(client, key) == []


def test_a_write_during_which_a_dying_wrapper_gives_the_upload_up_is_told_so(client: Any, key: str) -> None:
    stream, encode = writer(client, key), iter([b"one", b"two"])

    def give_up_at_the_second(_: str) -> bytes:
        piece = next(encode)
        if piece == b"two":
            with pytest.warns(ResourceWarning, match="never closed"):
                stream._abandon("it was never closed")
        return piece

    stream._encode = give_up_at_the_second
    with pytest.raises(AbortedError):
        stream.write("x" * 500_000)
    assert content(client, key) is None


def test_an_abort_at_exit_that_takes_too_long_names_the_upload(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, goes_on = writer(client, key), threading.Event()
    stream.write(data(6 * MIB))
    assert stream._upload.pipeline.beginning.wait(30)
    monkeypatch.setattr("s3writer._upload.cleanup.ABORT_SECONDS", 0.01)
    monkeypatch.setattr(stream._upload._cleanup, "give_up_quietly", lambda: goes_on.wait(30))
    with logged() as log:
        stream._upload.end_at_exit(has_time=True)
    goes_on.set()
    join_threads()
    (upload_id,) = uploads(client, key)
    assert [line for line in log if upload_id in line and "it took more than" in line]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_write_whose_part_was_stopped_is_told_of_an_abort(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise Stopped

    stream = writer(client, key)
    with monkeypatch.context() as patch, pytest.raises(AbortedError):
        patch.setattr(stream._upload.pipeline, "poll", stop)
        stream.write(data(6 * MIB))
    assert content(client, key) is None


def test_a_finaliser_names_the_upload_whose_beginning_it_could_not_wait_for(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(request: Any) -> Any:
        hangs.set()
        goes_on.wait(30)
        return cut(request)

    monkeypatch.setattr("s3writer._upload.cleanup.STOP_SECONDS", 0.0)
    hangs, goes_on = threading.Event(), threading.Event()
    Wire(client).on("CreateMultipartUpload", hang)
    stream = writer(client, key)
    wrapper = io.BufferedWriter(stream)
    stream.write(data(6 * MIB))
    with logged() as messages:
        assert hangs.wait(30)
        with pytest.warns(ResourceWarning, match="never closed"):
            del wrapper
        join_aborts()
        assert [f"an upload to {stream.name} may have begun" in message for message in messages].count(True) == 1
        goes_on.set()
    assert uploads(client, key) == []


def test_an_exception_of_a_handler_that_has_no_text_is_named_by_its_type(client: Any, key: str) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fail(_: Any) -> Any:
        raise Mute

    Wire(client).on("PutObject", fail)
    stream = writer(client, key)
    with pytest.raises(NotCommittedError, match="failed: Mute"):
        stream.commit()
    assert content(client, key) is None


def test_a_finaliser_that_finds_no_thread_leaves_the_upload_to_the_exit(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stream = writer(client, key)
    stream.write(data(6 * MIB))
    join_threads()
    with monkeypatch.context() as patch, pytest.warns(ResourceWarning, match="never closed"):
        patch.setattr(threading.Thread, "start", start)
        del stream
        gc.collect()
    assert len(uploads(client, key)) == 1
    at_exit._end_all()
    assert uploads(client, key) == []


def test_a_finaliser_starts_no_thread_while_the_interpreter_ends(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    upload = stream._upload
    assert upload.pipeline.beginning.wait(30)
    monkeypatch.setattr("sys.is_finalizing", lambda: True)
    before = set(threading.enumerate())
    with pytest.warns(ResourceWarning, match="never closed"):
        del stream
        gc.collect()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "s3writer-abort"]
    monkeypatch.undo()
    assert len(uploads(client, key)) == 1
    upload.end_at_exit(has_time=True)
    assert uploads(client, key) == []


def test_a_wrapper_that_dies_after_the_writer_failed_has_nothing_to_warn_of(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", DENIED, nth=1)
    stream = writer(client, key, max_concurrency=1)
    wrapper = io.TextIOWrapper(stream)
    write_until_it_fails(stream)
    del wrapper
    assert stream.closed
    assert content(client, key) is None


@pytest.mark.parametrize("fault", [cut, cut_after_sending, refuse(503, "SlowDown")])
def test_a_part_of_kept_and_copied_pieces_is_sent_again_as_it_was(store: Store, key: str, fault: Any) -> None:
    client = store.client(retries={"mode": "standard", "total_max_attempts": 3})
    wire = Wire(client)
    wire.on("UploadPart", fault, nth=1)
    wire.on("UploadPart", fault, nth=3)
    pieces = [piece for seed in range(12) for piece in (b"head %d" % seed, data(MIB, seed))]
    with writer(client, key) as stream:
        for piece in pieces:
            stream.write(piece)
        assert stream._intake._part.size > stream._intake._part.copied
    assert wire.sent.count("UploadPart") == stream.result.parts + 2
    assert content(client, key) == b"".join(pieces)


def test_progress_is_told_by_the_next_larger_write_and_not_by_the_next_part_alone(client: Any, key: str) -> None:
    told: list[int] = []
    with writer(client, key, progress=told.append) as stream:
        stream.write(data(5 * MIB))
        stream.write(b"the first part goes out")
        join_threads()
        stream.write(data(MIB))
        assert told == [5 * MIB]
    assert sum(told) == stream.result.size


def test_a_failed_part_makes_the_very_next_write_raise_however_small(client: Any, key: str) -> None:
    def refuse_later(request: Any) -> Any:
        goes_out.wait(60)
        return DENIED(request)

    goes_out = threading.Event()
    Wire(client).on("UploadPart", refuse_later)
    stream = writer(client, key)
    stream.write(data(5 * MIB))
    stream.write(b"the first part goes out")
    goes_out.set()
    join_threads()
    with pytest.raises(AccessDeniedError, match="uploading part 1"):
        stream.write(b"x")
    with pytest.raises(AbortedError):
        stream.write(b"x")
    assert uploads(client, key) == []


def test_what_is_changed_during_its_write_is_published_as_it_was_copied(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_and_digest(buffer: Any, piece: Any) -> None:
        payload[-1] ^= 255
        digest(buffer, piece)

    payload = bytearray(data(MIB))
    with writer(client, key) as stream:
        stream.write(data(5 * MIB))
        digest = stream._upload.pipeline.update_digest
        monkeypatch.setattr(stream._upload.pipeline, "update_digest", change_and_digest)
        stream.write(payload)
    assert payload != data(MIB)
    assert content(client, key) == data(5 * MIB) + data(MIB)


def test_a_part_that_fails_during_a_write_makes_the_next_one_raise(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_later(request: Any) -> Any:
        goes_out.wait(60)
        return DENIED(request)

    def digest_late(buffer: Any, piece: Any) -> None:
        goes_out.set()
        join_threads()
        digest(buffer, piece)

    goes_out = threading.Event()
    Wire(client).on("UploadPart", refuse_later)
    stream = writer(client, key)
    stream.write(data(5 * MIB))
    stream.write(b"the first part goes out")
    digest = stream._upload.pipeline.update_digest
    monkeypatch.setattr(stream._upload.pipeline, "update_digest", digest_late)
    assert stream.write(data(MIB)) == MIB
    with pytest.raises(AccessDeniedError, match="uploading part 1"):
        stream.write(b"x")
    assert uploads(client, key) == []


@pytest.mark.parametrize("wrap", [lambda given: given, memoryview], ids=["bytearray", "memoryview"])
def test_a_failed_write_lets_go_of_the_callers_buffer(client: Any, key: str, wrap: Any) -> None:
    Wire(client).on("UploadPart", DENIED)
    given = bytearray(30 * MIB)
    with pytest.raises(AccessDeniedError) as caught, writer(client, key, max_concurrency=1) as stream:
        stream.write(wrap(given))
    if wrap is memoryview:
        for entry in caught.traceback:
            for kept in entry.frame.f_locals.values():
                if isinstance(kept, memoryview):
                    kept.release()
    given.extend(b"a buffer that nobody looks at can grow")
    del caught


def test_a_failed_part_wakes_a_write_that_waits_for_a_slot(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", refuse(403, "AccessDenied"), nth=1)
    wire.on("UploadPart", delay(2), nth=2)
    stream = writer(client, key, max_concurrency=2, equal_parts=True)
    with pytest.raises(AccessDeniedError):
        stream.write(data(30 * MIB))
    assert wire.sent.count("UploadPart") <= 3
    assert uploads(client, key) == []


def test_a_server_that_hangs_while_aborting_is_not_waited_for(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer._upload.cleanup.ABORT_SECONDS", 0.5)
    wire = Wire(client)
    wire.on("UploadPart", refuse(403, "AccessDenied"))
    wire.on("AbortMultipartUpload", delay(2))
    with pytest.raises(AccessDeniedError) as caught, writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert "it took more than" in caught.value.__notes__[0]
    assert uploads(client, key) == [caught.value.upload_id]
    join_threads()
    assert uploads(client, key) == []


def test_a_second_ctrl_c_leaves_at_once_and_names_what_may_be_left(client: Any, key: str) -> None:
    began = threading.Event()

    def hang(_: Any) -> None:
        began.set()
        time.sleep(3)

    Wire(client).on("AbortMultipartUpload", hang)
    stream = writer(client, key)
    stream.write(data(6 * MIB))

    presser = press_ctrl_c(began)
    with pytest.raises(KeyboardInterrupt) as caught:
        try:
            raise KeyboardInterrupt
        finally:
            stream.close()
    presser.join()
    left = [note for note in caught.value.__notes__ if "could not be aborted" in note]
    (upload_id,) = uploads(client, key)
    assert upload_id in left[0]
    assert stream.closed
    join_threads()
    assert uploads(client, key) == []


def test_an_interrupt_that_comes_when_the_upload_is_just_removed_names_nothing(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed_and_interrupted(*removal: Any) -> bool:
        wait_for_removal(*removal)
        raise KeyboardInterrupt

    stream = writer(client, key)
    stream.write(data(6 * MIB))
    wait_for_removal = cleanup._wait_for
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(cleanup, "_wait_for", removed_and_interrupted)
        stream.abort()
    assert not hasattr(caught.value, "__notes__")
    assert (stream.closed, "aborted" in repr(stream)) == (True, True)
    assert content(client, key) is None


def press_ctrl_c(once: threading.Event) -> threading.Thread:
    """A thread that does, in the main thread."""

    def press() -> None:
        assert once.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    return presser


def test_ctrl_c_stops_a_small_object_in_the_midst_of_its_bytes(client: Any, key: str) -> None:
    slow = Slow()
    Wire(client).on("PutObject", slow)
    stream = writer(client, key)
    stream.write(data(1 * MIB))
    presser = press_ctrl_c(slow.is_sending)
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    presser.join()
    assert not slow.has_sent_all
    assert content(client, key) is None


def test_after_ctrl_c_a_commit_that_hangs_is_not_waited_for(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(request: Any) -> Any:
        hangs.set()
        was_left.append(goes_on.wait(20))
        return cut(request)

    monkeypatch.setattr("s3writer._upload.commit._PATIENCE_SECONDS", 0.1)
    hangs, goes_on = threading.Event(), threading.Event()
    was_left: list[bool] = []
    Wire(client).on("CompleteMultipartUpload", hang)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    presser = press_ctrl_c(hangs)
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    goes_on.set()
    presser.join()
    join_threads()
    assert was_left == [True]
    assert uploads(client, key) == []


def test_credentials_that_expire_midway_are_renewed_and_parts_go_on(store: Store, key: str) -> None:
    renewed: list[int] = []

    def renew() -> dict[str, Any]:
        renewed.append(1)
        soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=30)
        return {"access_key": KEY_ID, "secret_key": SECRET, "token": None, "expiry_time": soon.isoformat()}

    core = botocore.session.Session()
    core._credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "test")
    session = boto3.Session(botocore_session=core, region_name=REGION)
    client = session.client("s3", endpoint_url=store.endpoint, config=Config(s3={"addressing_style": "path"}))
    with writer(client, key, equal_parts=True) as stream:
        stream.write(data(6 * MIB))
        before = len(renewed)
        stream.write(data(14 * MIB))
    assert len(renewed) > before
    assert content(client, key) == data(6 * MIB) + data(14 * MIB)
