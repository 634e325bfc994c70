"""What is logged: a line for each upload at INFO, one for each part at DEBUG, and the facts beside the words."""

import io
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from s3writer import ConnectionFailedError, MultipartUploadWriter, OutcomeUnknownError, PendingUpload, commit_all
from s3writer._s3.receipts import Receipt
from tests.helpers import MIB, Boom, content, data, uploads, writer
from tests.stores import BUCKET
from tests.wire import Wire, cut, cut_after_sending, refuse


def facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name.startswith("s3_")}


def ended(caplog: pytest.LogCaptureFixture, outcome: str, key: str, **expected: Any) -> dict[str, Any]:
    """The one record at INFO; its facts, of which some are ``expected``."""
    (record,) = [record for record in caplog.records if hasattr(record, "s3_outcome")]
    assert record.levelno == logging.INFO
    found = facts(record)
    assert record.name == "s3writer"
    assert record.getMessage().startswith(f"s3://{BUCKET}/{key} {outcome}: ")
    assert 0 <= found["s3_seconds"] < 60
    wanted = {"bucket": BUCKET, "key": key, "outcome": outcome, **expected}
    assert {name: found[f"s3_{name}"] for name in wanted} == wanted
    return found


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="s3writer")


def test_a_small_object_is_one_line(client: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with writer(client, key) as stream:
        stream.write(b"12345")
    ended(caplog, "committed", key, size=5, parts=1, upload_id=None)
    assert len(caplog.records) == 1


def test_each_part_is_a_line_for_those_who_debug(client: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with writer(client, key) as stream:
        stream.write(data(11 * MIB))
    upload_id = ended(caplog, "committed", key, size=11 * MIB, parts=3)["s3_upload_id"]
    parts = [facts(record) for record in caplog.records if record.levelno == logging.DEBUG]
    assert sorted((part["s3_part"], part["s3_size"]) for part in parts) == [(1, 5 * MIB), (2, 5 * MIB), (3, MIB)]
    assert {part["s3_upload_id"] for part in parts} == {upload_id}


def test_an_upload_that_is_aborted_is_one_line_beside_the_reason(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Boom), writer(client, key) as stream:
        stream.write(data(6 * MIB))
        raise Boom
    ended(caplog, "aborted", key, parts=1)
    reason = caplog.records[-1]
    assert (reason.levelno, facts(reason)["s3_key"]) == (logging.INFO, key)
    assert f"{key} was not published: " in reason.getMessage()
    assert {record.levelno for record in caplog.records} <= {logging.INFO, logging.DEBUG}


def test_a_prepared_upload_is_a_line_when_it_is_prepared_and_one_when_it_is_committed(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(client, key) as stream:
        stream.write(b"later")
        pending: PendingUpload = pickle.loads(pickle.dumps(stream.prepare()))
    ended(caplog, "prepared", key, size=5, parts=1, upload_id=pending.upload_id)
    caplog.clear()
    pending.commit(client=client)
    ended(caplog, "committed", key, size=5, parts=1, upload_id=pending.upload_id)


def test_a_kept_upload_is_a_line(client: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Boom), writer(client, key, on_error="keep") as stream:
        stream.write(data(6 * MIB))
        raise Boom
    (upload_id,) = uploads(client, key)
    ended(caplog, "kept", key, upload_id=upload_id)
    MultipartUploadWriter.resume(BUCKET, key, upload_id, client=client).abort()


def test_the_record_of_a_kept_upload_holds_what_resume_takes(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Boom), writer(client, key, on_error="keep", exclusive=True) as stream:
        stream.write(data(6 * MIB))
        raise Boom
    (warning,) = [record for record in caplog.records if hasattr(record, "s3_resume")]
    kept = facts(warning)
    options: dict[str, Any] = kept["s3_resume"]
    assert options["exclusive"]
    with MultipartUploadWriter.resume(
        kept["s3_bucket"], kept["s3_key"], kept["s3_upload_id"], client=client, **options
    ) as stream:
        stream.write(data(6 * MIB)[stream.tell() :])
    assert content(client, key) == data(6 * MIB)


def test_an_unknown_outcome_is_a_line(client: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(client)
    wire.on("PutObject", cut_after_sending)
    wire.on("HeadObject", refuse(403, "AccessDenied"))
    with pytest.raises(OutcomeUnknownError), writer(client, key) as stream:
        stream.write(b"who knows")
    ended(caplog, "unknown", key, size=9)


def test_a_commit_that_never_arrived_is_a_line_that_says_aborted(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    Wire(client).on("CompleteMultipartUpload", cut)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(data(6 * MIB))
    ended(caplog, "aborted", key, size=6 * MIB, parts=2)
    assert f"{key} aborted, " in repr(stream)


class Raising(logging.Handler):
    """A handler of the user's own, with a fault."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(self._error, Exception) or record.levelno == logging.INFO:
            raise self._error


@pytest.fixture
def raising(request: pytest.FixtureRequest) -> Iterator[None]:
    handler = Raising(request.param)
    logging.getLogger("s3writer").addHandler(handler)
    yield
    logging.getLogger("s3writer").removeHandler(handler)


@pytest.mark.parametrize("raising", [RuntimeError("the disk is full")], indirect=True)
@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.usefixtures("raising")
def test_a_handler_that_raises_changes_no_outcome(
    client: Any, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", is_told)
    with writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert content(client, key) == data(6 * MIB)
    with writer(client, key) as stream:
        stream.write(b"later")
        pending = stream.prepare()
    assert commit_all([pending], client=client)[0].size == 5
    with pytest.raises(Boom), writer(client, key):
        raise Boom
    assert ("the disk is full" in capsys.readouterr().err) is is_told


@pytest.mark.parametrize("raising", [RuntimeError("the disk is full")], indirect=True)
@pytest.mark.usefixtures("raising")
def test_nobody_has_to_listen_to_what_a_handler_raises(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stderr in (closed, None):
        monkeypatch.setattr("sys.stderr", stderr)
        with writer(client, key) as stream:
            stream.write(b"12345")
        assert stream.result.size == 5


@pytest.mark.parametrize("raising", [KeyboardInterrupt()], indirect=True)
@pytest.mark.usefixtures("raising")
def test_an_interrupt_that_comes_while_the_end_is_logged_says_what_it_was(client: Any, key: str) -> None:
    stream = writer(client, key)
    stream.write(b"12345")
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.close()
    assert "was published all the same" in caught.value.__notes__[-1]
    assert content(client, key) == b"12345"


@pytest.mark.parametrize("raising", [KeyboardInterrupt()], indirect=True)
@pytest.mark.usefixtures("raising")
def test_an_interrupt_that_comes_while_a_prepared_upload_is_logged_names_it(client: Any, key: str) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        writer(client, key).prepare()
    (upload_id,) = uploads(client, key)
    assert f"upload {upload_id}" in caught.value.__notes__[-1]
    (part,) = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload_id)["Parts"]
    receipt = Receipt(part["PartNumber"], part["Size"], part["ETag"], {})
    with pytest.raises(KeyboardInterrupt) as caught:
        PendingUpload(BUCKET, key, upload_id, 0, (receipt,)).commit(client=client)
    assert "was published all the same" in caught.value.__notes__[-1]
    assert content(client, key) == b""


@pytest.mark.parametrize("raising", [KeyboardInterrupt()], indirect=True)
@pytest.mark.usefixtures("raising")
def test_an_interrupt_that_comes_while_an_abort_is_logged_says_that_it_was_done(client: Any, key: str) -> None:
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    with pytest.raises(KeyboardInterrupt) as caught:
        PendingUpload(BUCKET, key, upload_id, 0, ()).abort(client=client)
    assert f"upload {upload_id} of s3://{BUCKET}/{key} was aborted before" in caught.value.__notes__
    assert uploads(client, key) == []


def test_an_upload_that_could_not_be_removed_is_not_called_aborted(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(Boom), writer(client, key) as stream:
        stream.write(data(6 * MIB))
        raise Boom
    (upload_id,) = uploads(client, key)
    ended(caplog, "left behind", key, upload_id=upload_id)
    wire.on("AbortMultipartUpload", lambda _: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
