"""An upload begins while its writer goes on: what S3's answer, or its lack, means for the writer and for the upload."""

import threading
import time
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from s3writer import AbortedError, AccessDeniedError, ConnectionFailedError
from s3writer._upload.jobs import Job
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, logged, uploads, writer
from tests.stores import BUCKET, Store
from tests.wire import Action, Wire, delay, refuse

PAYLOAD = data(21 * MIB)
MAY_HAVE_BEGUN = "may have begun whose id was lost"


@pytest.fixture
def retrying(store: Store) -> Any:
    """A client that sends each call up to twice."""
    return store.client(retries={"mode": "standard", "total_max_attempts": 2})


def once_written(action: Action) -> tuple[threading.Event, Action]:
    """An event, and an action that is done when it is set."""
    is_written = threading.Event()

    def wait(request: AWSPreparedRequest) -> AWSResponse | None:
        assert is_written.wait(30)
        return action(request)

    return is_written, wait


def remove_lost(client: Any, key: str) -> int:
    """Remove the uploads that are left, and count them."""
    left = uploads(client, key)
    for upload_id in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    return len(left)


def test_a_writer_takes_bytes_while_the_upload_begins(client: Any, key: str) -> None:
    wire = Wire(client)
    is_written, begin = once_written(lambda _: None)
    wire.on("CreateMultipartUpload", begin)
    with writer(client, key) as stream:
        stream.write(PAYLOAD)
        while not wire.sent:
            time.sleep(0.01)
        assert wire.sent == ["CreateMultipartUpload"]
        is_written.set()
    assert content(client, key) == PAYLOAD


def test_a_writer_fills_as_many_parts_as_may_be_in_flight_while_the_upload_begins(client: Any, key: str) -> None:
    payload = data(50 * MIB + 1)
    is_written, begin = once_written(lambda _: None)
    Wire(client).on("CreateMultipartUpload", begin)
    with writer(client, key, max_concurrency=10, max_memory=55 * MIB) as stream:
        stream.write(payload)
        assert stream.parts_in_flight == 10
        is_written.set()
    assert content(client, key) == payload


def test_a_refusal_is_told_although_a_part_sees_it_before_the_owner_can(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Job._finish

    def finish_late(job: Job[Any], error: BaseException | None) -> None:
        if isinstance(error, AccessDeniedError):
            job.error = error
            time.sleep(0.5)
        finish(job, error)

    monkeypatch.setattr(Job, "_finish", finish_late)
    Wire(client).on("CreateMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError), writer(client, key) as stream:
        stream.write(PAYLOAD)


def test_what_refused_the_upload_is_raised_by_a_later_write(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CreateMultipartUpload", refuse(403, "AccessDenied"))
    stream = writer(client, key, max_concurrency=1)
    with pytest.raises(AccessDeniedError, match=r"beginning the upload to .* failed") as caught:
        for _ in range(3):
            stream.write(PAYLOAD)
    assert caught.value.upload_id is None
    assert set(wire.sent) == {"CreateMultipartUpload"}
    with pytest.raises(AccessDeniedError, match="not published"):
        stream.close()


def test_what_refused_the_upload_is_raised_when_the_writer_is_closed(client: Any, key: str) -> None:
    is_written, begin = once_written(refuse(403, "AccessDenied"))
    Wire(client).on("CreateMultipartUpload", begin)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    is_written.set()
    with pytest.raises(AccessDeniedError, match=r"beginning the upload to .* failed"):
        stream.close()
    assert stream.closed


def test_a_second_upload_that_may_have_begun_is_warned_of_once(retrying: Any, key: str) -> None:
    wire = Wire(retrying)
    wire.on("CreateMultipartUpload", wire.lose_answer, nth=1)
    with logged() as messages, writer(retrying, key) as stream:
        stream.write(PAYLOAD)
    assert [MAY_HAVE_BEGUN in message for message in messages].count(True) == 1
    assert content(retrying, key) == PAYLOAD
    assert remove_lost(retrying, key) == 1


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_an_exception_tells_of_a_second_upload_that_nobody_has_told_of(retrying: Any, key: str, on_error: str) -> None:
    wire = Wire(retrying)
    wire.on("CreateMultipartUpload", wire.lose_answer, nth=1)
    with logged(), pytest.raises(Boom) as caught, writer(retrying, key, on_error=on_error) as stream:
        stream.write(data(6 * MIB))
        raise Boom
    assert [MAY_HAVE_BEGUN in note for note in caught.value.__notes__].count(True) == 1
    assert remove_lost(retrying, key) == (1 if on_error == "abort" else 2)


def test_an_exception_tells_of_an_upload_whose_answer_was_lost_meanwhile(client: Any, key: str) -> None:
    wire = Wire(client)
    is_written, begin = once_written(wire.lose_answer)
    wire.on("CreateMultipartUpload", begin)
    with logged(), pytest.raises(Boom) as caught, writer(client, key) as stream:
        stream.write(data(6 * MIB))
        is_written.set()
        raise Boom
    assert [MAY_HAVE_BEGUN in note for note in caught.value.__notes__].count(True) == 1
    assert remove_lost(client, key) == 1


def test_an_abort_on_demand_warns_of_an_upload_whose_answer_was_lost_meanwhile(client: Any, key: str) -> None:
    wire = Wire(client)
    is_written, begin = once_written(wire.lose_answer)
    wire.on("CreateMultipartUpload", begin)
    with logged() as messages:
        stream = writer(client, key)
        stream.write(data(6 * MIB))
        is_written.set()
        stream.abort()
    assert [MAY_HAVE_BEGUN in message for message in messages].count(True) == 1
    assert remove_lost(client, key) == 1


def test_an_exception_says_nothing_of_an_upload_that_s3_has_refused_meanwhile(client: Any, key: str) -> None:
    is_written, begin = once_written(refuse(403, "AccessDenied"))
    Wire(client).on("CreateMultipartUpload", begin)
    with logged(), pytest.raises(Boom) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(data(6 * MIB))
        is_written.set()
        raise Boom
    assert [note for note in caught.value.__notes__ if "upload" in note] == []


def test_an_upload_that_begins_late_is_kept_where_failed_ones_are(client: Any, key: str) -> None:
    Wire(client).on("CreateMultipartUpload", delay(0.3))
    with logged(), pytest.raises(Boom) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(data(6 * MIB))
        raise Boom
    (upload_id,) = uploads(client, key)
    assert any(upload_id in note for note in caught.value.__notes__)
    assert remove_lost(client, key) == 1


def test_an_upload_that_begins_late_is_removed(client: Any, key: str) -> None:
    def begin_late(_: Any) -> None:
        while stream._upload.is_open:
            time.sleep(0.01)
        time.sleep(0.5)  # so long the part's thread may take to notice

    wire, stream = Wire(client), writer(client, key)
    wire.on("CreateMultipartUpload", begin_late)
    with logged(), pytest.raises(Boom), stream:
        stream.write(data(6 * MIB))
        raise Boom
    assert wire.sent[0] == "CreateMultipartUpload"
    assert wire.sent.count("UploadPart") == 0
    assert uploads(client, key) == []


def test_what_lost_the_upload_is_raised_and_tells_of_it_once(client: Any, key: str) -> None:
    wire = Wire(client)
    is_written, begin = once_written(wire.lose_answer)
    wire.on("CreateMultipartUpload", begin)
    stream = writer(client, key)
    stream.write(data(6 * MIB))
    is_written.set()
    with pytest.raises(ConnectionFailedError) as caught:
        stream.prepare()
    assert [MAY_HAVE_BEGUN in note for note in caught.value.__notes__].count(True) == 1
    assert remove_lost(client, key) == 1


@pytest.mark.parametrize("comes_first", ["the end", "the beginning"])
def test_an_upload_that_was_given_up_in_the_instant_in_which_it_began_is_removed(
    client: Any, key: str, comes_first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, stream = Wire(client), writer(client, key)
    beginning = stream._upload.pipeline.beginning
    start = beginning.start

    def give_up_and_start() -> None:
        for act in (stream._upload.abandon, start) if comes_first == "the end" else (start, stream._upload.abandon):
            act()

    monkeypatch.setattr(beginning, "start", give_up_and_start)
    wire.on("CreateMultipartUpload", delay(0.2))
    with pytest.raises(AbortedError):
        stream.write(data(6 * MIB))
    join_aborts()
    assert uploads(client, key) == []
