"""Three outcomes and never a fourth: what a lost answer to the commit turns into."""

import contextlib
import gc
import itertools
import pickle
import signal
import threading
import time
from typing import Any

import pytest
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, NoCredentialsError

from s3writer import (
    AccessDeniedError,
    ConnectionFailedError,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    ThrottledError,
)
from s3writer._s3 import attempts, faults
from s3writer._s3.attempts import attempts_of_call
from s3writer._s3.body import Body
from s3writer._s3.operations import PUT
from s3writer._upload.commit import Commit
from s3writer._upload.part import Part
from tests.helpers import MIB, content, data, join_threads, logged, main_thread_is_in, uploads, writer
from tests.stores import BUCKET, Store
from tests.wire import Action, Wire, answer, cut, cut_after_sending, interrupt, refuse, unreachable

SMALL, LARGE = data(1000), data(6 * MIB)
BOTH = pytest.mark.parametrize(
    ("payload", "commit"), [(SMALL, "PutObject"), (LARGE, "CompleteMultipartUpload")], ids=["put", "complete"]
)


@pytest.fixture
def client(server: Store) -> Any:
    """A client of the store."""
    return server.client()


@BOTH
def test_an_answer_lost_after_the_store_acted_is_a_success(client: Any, key: str, payload: bytes, commit: str) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    with writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) == payload
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (stream.result.size, stream.result.etag) == (len(payload), head["ETag"])
    assert stream.result.computed_checksum is not None


@BOTH
def test_what_is_found_after_a_lost_answer_has_as_many_parts_as_were_sent(
    client: Any, key: str, payload: bytes, commit: str
) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    with writer(client, key) as stream:
        stream.write(payload)
    assert stream.result.parts == (1 if payload is SMALL else 2)


@BOTH
def test_an_object_with_this_writer_s_token_and_another_size_proves_nothing(
    server: Store, client: Any, key: str, payload: bytes, commit: str
) -> None:
    def act_and_replace(request: AWSPreparedRequest) -> AWSResponse | None:
        try:
            return wire.lose_answer(request)
        finally:
            other = server.client()
            metadata = other.head_object(Bucket=BUCKET, Key=key)["Metadata"]
            other.put_object(Bucket=BUCKET, Key=key, Body=b"cut short", Metadata=metadata)

    wire = Wire(client)
    wire.on(commit, act_and_replace)
    with pytest.raises(OutcomeUnknownError, match=f"9 bytes instead of {len(payload)}"), writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) == b"cut short"


@BOTH
def test_a_retry_after_a_lost_answer_is_a_success(server: Store, key: str, payload: bytes, commit: str) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": 3})
    wire = Wire(client)
    wire.on(commit, wire.lose_answer, nth=1)
    with writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) == payload
    assert stream.result.size == len(payload)


@BOTH
def test_a_retry_after_a_lost_answer_is_no_conflict_with_itself(
    server: Store, key: str, payload: bytes, commit: str
) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": 3})
    wire = Wire(client)
    wire.on(commit, wire.lose_answer, nth=1)
    with writer(client, key, exclusive=True) as stream:
        stream.write(payload)
    assert content(client, key) == payload


def test_a_commit_that_never_arrived_is_not_committed(client: Any, key: str) -> None:
    Wire(client).on("CompleteMultipartUpload", cut)
    with pytest.raises(ConnectionFailedError) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert caught.value.upload_id is None
    assert content(client, key) is None
    assert uploads(client, key) == []


@BOTH
def test_an_internal_error_of_the_store_is_not_committed(client: Any, key: str, payload: bytes, commit: str) -> None:
    Wire(client).on(commit, refuse(500, "InternalError"))
    with pytest.raises(NotCommittedError, match="InternalError"), writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) is None
    assert uploads(client, key) == []


@BOTH
def test_what_an_interrupt_has_come_with_does_not_lead_back_to_it(
    client: Any, key: str, payload: bytes, commit: str
) -> None:
    wire = Wire(client)
    wire.on(commit, wire.act_then_interrupt)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key) as stream:
        stream.write(payload)
    seen, waiting = set(), [caught.value.__cause__, caught.value.__context__]
    while waiting:
        error = waiting.pop()
        assert error is not caught.value
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            waiting += [error.__cause__, error.__context__]


def test_an_answer_that_describes_no_object_settles_nothing(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("PutObject", wire.act_then_fail)
    wire.on("HeadObject", answer(200, b""))
    with pytest.raises(OutcomeUnknownError, match="describes no object"), writer(client, key) as stream:
        stream.write(SMALL)
    assert content(client, key) == SMALL


def read_then(action: Action) -> Action:
    """The store has the body before it answers."""

    def read(request: AWSPreparedRequest) -> AWSResponse | None:
        while request.body.read(1024**2):
            pass
        return action(request)

    return read


#: Answers that say that something went wrong, and not that nothing was done.
VAGUE = {
    "internal error": refuse(500, "InternalError"),
    "unavailable": refuse(503, "ServiceUnavailable"),
    "not to be parsed": answer(500, b"<html>"),
    "a gateway's": answer(503, b""),
    "none": cut,
}
VAGUELY = pytest.mark.parametrize("vague", VAGUE.values(), ids=VAGUE)


@VAGUELY
def test_a_small_object_that_was_sent_and_answered_vaguely_is_unknown_though_the_key_holds_nothing(
    client: Any, key: str, vague: Action
) -> None:
    wire = Wire(client)
    wire.on("PutObject", read_then(vague))
    with pytest.raises(OutcomeUnknownError) as caught, writer(client, key) as stream:
        stream.write(SMALL)
    assert (caught.value.size, caught.value.upload_id) == (len(SMALL), None)
    assert wire.sent[-1] == "HeadObject"
    assert content(client, key) is None


@VAGUELY
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_small_object_that_was_published_answered_vaguely_and_consumed_is_unknown(
    server: Store, key: str, vague: Action, attempts: int
) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": attempts})
    wire = Wire(client)
    consumed: list[bytes | None] = []

    def publish_and_consume(request: AWSPreparedRequest) -> AWSResponse | None:
        with pytest.raises(ConnectionClosedError):
            wire.lose_answer(request)
        consumed.append(content(client, key))
        server.client().delete_object(Bucket=BUCKET, Key=key)
        return vague(request)

    wire.on("PutObject", publish_and_consume, nth=1)
    wire.on("PutObject", refuse(500, "InternalError"), nth=2)
    with pytest.raises(OutcomeUnknownError), writer(client, key) as stream:
        stream.write(SMALL)
    assert (consumed, content(client, key)) == ([SMALL], None)


def test_a_small_object_of_which_the_store_read_nothing_before_its_internal_error_is_not_committed(
    client: Any, key: str
) -> None:
    Wire(client).on("PutObject", refuse(500, "InternalError"))
    with pytest.raises(NotCommittedError, match="InternalError"), writer(client, key) as stream:
        stream.write(SMALL)
    assert content(client, key) is None


def test_without_a_token_a_small_object_that_is_answered_with_an_internal_error_is_unknown(
    client: Any, key: str
) -> None:
    wire = Wire(client)
    wire.on("PutObject", wire.act_then_fail)
    with pytest.raises(OutcomeUnknownError) as caught, writer(client, key, commit_token=False) as stream:
        stream.write(SMALL)
    assert (caught.value.token, caught.value.size) == (None, len(SMALL))
    assert content(client, key) == SMALL


PAGE = b"<html><body>not the store</body></html>"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title></head></html>'


def gateway(status: int, body: bytes = PAGE) -> Action:
    """A server in between takes the request, and answers in the store's place."""

    def action(request: AWSPreparedRequest) -> AWSResponse | None:
        while isinstance(request.body, Body) and request.body.read(1024**2):
            pass
        return answer(status, body)(request)

    return action


@pytest.mark.parametrize("page", [PAGE, XHTML, b""], ids=["html", "xhtml", "nothing"])
@pytest.mark.parametrize(("status", "attempts"), [(502, 1), (504, 2), (408, 1)])
def test_a_gateway_s_error_does_not_settle_a_small_object(
    server: Store, key: str, page: bytes, status: int, attempts: int
) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": attempts})
    wire = Wire(client)
    wire.on("PutObject", gateway(status, page), nth=1)
    wire.on("PutObject", refuse(503, "SlowDown"), nth=2)
    with pytest.raises(OutcomeUnknownError, match="may yet come"), writer(client, key) as stream:
        stream.write(SMALL)


@BOTH
def test_a_gateway_that_says_yes_has_published_nothing(client: Any, key: str, payload: bytes, commit: str) -> None:
    Wire(client).on(commit, gateway(200))
    with pytest.raises((NotCommittedError, OutcomeUnknownError)) as caught, writer(client, key) as stream:
        stream.write(payload)
    assert "the answer has no ETag" in f"{caught.value} {caught.value.__cause__}"
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_an_answer_that_leaves_out_all_but_the_place_is_a_success(client: Any, key: str) -> None:
    said = f"<CompleteMultipartUploadResult><Key>{key}</Key><ETag/></CompleteMultipartUploadResult>"
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", answer(200, said.encode()))
    with writer(client, key) as stream:
        stream.write(LARGE)
    assert (stream.result.etag, stream.result.size) == (None, len(LARGE))
    assert wire.sent[-2:] == ["CompleteMultipartUpload", "HeadObject"]
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@BOTH
def test_an_etag_that_the_answer_leaves_out_is_asked_for(client: Any, key: str, payload: bytes, commit: str) -> None:
    def act(request: AWSPreparedRequest) -> AWSResponse | None:
        with contextlib.suppress(ConnectionClosedError):
            wire.lose_answer(request)
        made = {"etag": "", "x-amz-version-id": "v1"}
        return answer(200, b"<R><Key>k</Key><ETag></ETag></R>", **made)(request)

    wire = Wire(client)
    wire.on(commit, act)
    with writer(client, key) as stream:
        stream.write(payload)
    assert stream.result.etag == client.head_object(Bucket=BUCKET, Key=key)["ETag"]
    assert stream.result.version_id == "v1"


@BOTH
def test_what_the_store_has_not_implemented_it_has_not_done(client: Any, key: str, payload: bytes, commit: str) -> None:
    Wire(client).on(commit, refuse(501, "NotImplemented"))
    with pytest.raises(NotCommittedError, match="NotImplemented"), writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) is None


def test_a_store_that_has_not_implemented_uploads_may_have_begun_none(client: Any, key: str) -> None:
    Wire(client).on("CreateMultipartUpload", refuse(501, "NotImplemented"))
    with pytest.raises(NotCommittedError, match="NotImplemented") as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert not [note for note in getattr(caught.value, "__notes__", []) if "may have begun" in note]


@BOTH
def test_that_it_is_not_implemented_says_nothing_of_an_attempt_before_whose_answer_was_lost(
    server: Store, key: str, payload: bytes, commit: str
) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(client)
    wire.on(commit, wire.lose_answer, nth=1)
    wire.on(commit, refuse(501, "NotImplemented"), nth=2)
    with writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) == payload


def test_an_etag_is_asked_for_in_a_worker_and_once(client: Any, key: str) -> None:
    def describe(request: AWSPreparedRequest) -> AWSResponse | None:
        asked_by.append(threading.current_thread())
        about = {"x-amz-meta-s3writer-token": str(stream._upload.calls.token), "content-length": str(len(SMALL))}
        return answer(200, b"", **about)(request)

    asked_by: list[threading.Thread] = []
    wire = Wire(client)
    wire.on("PutObject", wire.lose_answer)
    wire.on("HeadObject", describe)
    with writer(client, key) as stream:
        stream.write(SMALL)
    assert (stream.result.etag, len(asked_by)) == (None, 1)
    assert threading.main_thread() not in asked_by


@pytest.mark.parametrize("page", [PAGE, XHTML, b""], ids=["html", "xhtml", "nothing"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, AccessDeniedError),
        (413, ObjectTooLargeError),
        (502, ConnectionFailedError),
        (503, ThrottledError),
        (504, ConnectionFailedError),
    ],
)
def test_an_answer_that_is_not_the_store_s_is_told_and_classified_by_its_status(
    client: Any, key: str, page: bytes, status: int, kind: type[NotCommittedError]
) -> None:
    Wire(client).on("UploadPart", answer(status, page))
    told = rf"UploadPart was answered with HTTP {status} \(.*\) and no error code of S3's"
    with pytest.raises(kind, match=told), writer(client, key) as stream:
        stream.write(LARGE)
    assert content(client, key) is None


def test_a_gateway_that_says_yes_has_begun_nothing(client: Any, key: str) -> None:
    Wire(client).on("CreateMultipartUpload", gateway(200))
    with pytest.raises(NotCommittedError, match="no UploadId") as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert "may have begun whose id was lost" in caught.value.__notes__[0]


def test_a_beginning_that_was_refused_has_lost_no_id(client: Any, key: str) -> None:
    Wire(client).on("CreateMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert not [note for note in getattr(caught.value, "__notes__", []) if "lost" in note]


def test_an_upload_that_was_there_at_the_first_abort_and_not_at_the_second_was_not_committed(
    client: Any, key: str
) -> None:
    shown = b"<ListPartsResult><Part><PartNumber>1</PartNumber><Size>5</Size></Part></ListPartsResult>"
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("ListParts", answer(200, shown), nth=2)
    wire.on("AbortMultipartUpload", refuse(404, "NoSuchUpload"), nth=2)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(LARGE)
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert uploads(client, key) == []


def test_an_upload_that_is_removed_once_more_because_of_a_late_part_was_not_committed(
    server: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer._upload.cleanup.LATE_SECONDS", 0.1)
    client = server.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(client)
    wire.on("UploadPart", cut_after_sending, nth=1)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("AbortMultipartUpload", refuse(404, "NoSuchUpload"), nth=2)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(LARGE)
    assert wire.sent.count("AbortMultipartUpload") == 2
    assert uploads(client, key) == []


@pytest.mark.parametrize("looking", ["HeadObject", "ListParts"])
def test_ctrl_c_while_a_lost_commit_is_looked_up_leaves_nothing(client: Any, key: str, looking: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on(looking, interrupt, nth=1)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert "is not known: KeyboardInterrupt" in caught.value.__notes__[0]
    assert uploads(client, key) == []


def test_an_outcome_that_can_not_be_looked_up_names_what_could_not_be_aborted(client: Any, key: str) -> None:
    wire = Wire(client)
    for operation in ("HeadObject", "AbortMultipartUpload"):
        wire.on(operation, refuse(403, "AccessDenied"))
    wire.on("CompleteMultipartUpload", cut)
    with pytest.raises(OutcomeUnknownError, match="could not be aborted") as caught, writer(client, key) as stream:
        stream.write(LARGE)
    wire.on("AbortMultipartUpload", lambda request: None)
    assert uploads(client, key) == [caught.value.upload_id]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=caught.value.upload_id)


def test_ctrl_c_while_a_lost_commit_is_looked_up_names_what_could_not_be_aborted(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("HeadObject", interrupt)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    wire.on("AbortMultipartUpload", lambda request: None)
    (left,) = uploads(client, key)
    assert [note for note in caught.value.__notes__ if left in note and "could not be aborted" in note]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=left)


def test_of_two_interrupts_while_a_lost_commit_is_looked_up_the_first_goes_on(client: Any, key: str) -> None:
    def exit_at_once(_: Any) -> None:
        raise SystemExit

    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("HeadObject", interrupt)
    wire.on("AbortMultipartUpload", exit_at_once)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert "is not known: KeyboardInterrupt" in "\n".join(caught.value.__notes__)
    wire.on("AbortMultipartUpload", lambda request: None)
    for left in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=left)


def test_a_small_object_that_never_left_is_not_committed(client: Any, key: str) -> None:
    Wire(client).on("PutObject", cut)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(SMALL)
    assert content(client, key) is None


def test_to_sign_a_small_object_again_is_not_to_send_it(
    server: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AUTH_TYPE_MAPS, "s3v4", S3SigV4Auth)  # as without awscrt
    retries = {"mode": "standard", "total_max_attempts": 2}
    client = server.client(retries=retries, s3={"addressing_style": "path", "payload_signing_enabled": True})
    wire = Wire(client)
    wire.on("PutObject", cut)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(SMALL)
    assert wire.sent == ["PutObject", "PutObject"]
    assert content(client, key) is None


def test_an_unknown_outcome_is_told_once(client: Any, key: str) -> None:
    Wire(client).on("PutObject", cut_after_sending)
    with pytest.raises(OutcomeUnknownError, match="is not known") as caught, writer(client, key) as stream:
        stream.write(SMALL)
    assert not [note for note in getattr(caught.value, "__notes__", []) if "is not known" in note]


def test_an_object_of_which_only_a_beginning_was_sent_is_not_committed(client: Any, key: str) -> None:
    def cut_in_the_midst(request: AWSPreparedRequest) -> AWSResponse | None:
        begun.append(len(request.body.read(1024)))
        return cut(request)

    begun: list[int] = []
    payload = data(4 * MIB)
    Wire(client).on("PutObject", cut_in_the_midst)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(payload)
    assert 1024 <= begun[0] < len(payload)
    assert content(client, key) is None


def test_a_small_object_sent_into_a_breaking_connection_is_unknown(client: Any, key: str) -> None:
    Wire(client).on("PutObject", cut_after_sending)
    with pytest.raises(OutcomeUnknownError) as caught, writer(client, key) as stream:
        stream.write(SMALL)
    assert (caught.value.size, caught.value.upload_id) == (len(SMALL), None)
    assert caught.value.token is not None
    assert caught.value.token in str(caught.value)
    stream.close()


@BOTH
def test_an_outcome_that_can_not_be_looked_up_is_unknown_and_carries_what_settles_it(
    client: Any, key: str, payload: bytes, commit: str
) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    wire.on("HeadObject", refuse(403, "403"))
    with pytest.raises(OutcomeUnknownError, match="not known") as caught, writer(client, key) as stream:
        stream.write(payload)
    error = pickle.loads(pickle.dumps(caught.value))
    assert stream.closed
    assert f"unknown, {len(payload)} bytes" in f"{stream!r}"
    wire.on("HeadObject", lambda request: None)
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (error.bucket, error.key, error.size) == (BUCKET, key, head["ContentLength"])
    assert error.token in head["Metadata"].values()
    assert [part["PartNumber"] for part in error.parts] == ([1, 2] if payload is LARGE else [])
    assert all(part["ETag"] for part in error.parts)


@BOTH
def test_without_a_token_a_lost_answer_is_unknown(client: Any, key: str, payload: bytes, commit: str) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    with pytest.raises(OutcomeUnknownError) as caught, writer(client, key, commit_token=False) as stream:
        stream.write(payload)
    assert caught.value.token is None
    assert client.head_object(Bucket=BUCKET, Key=key)["Metadata"] == {}


def test_the_object_of_yesterday_proves_nothing(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=LARGE)
    Wire(client).on("CompleteMultipartUpload", cut)
    with pytest.raises(ConnectionFailedError), writer(client, key) as stream:
        stream.write(LARGE)
    assert uploads(client, key) == []


def test_an_upload_that_somebody_else_aborted_is_no_success(client: Any, key: str) -> None:
    with pytest.raises((NotCommittedError, OutcomeUnknownError)), writer(client, key) as stream:
        stream.write(LARGE)
        while not (ids := uploads(client, key)):
            pass
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=ids[0])
    assert content(client, key) is None


def test_an_object_that_was_published_and_consumed_before_the_answer_got_lost_is_unknown(
    server: Store, client: Any, key: str
) -> None:
    wire = Wire(client)

    def publish_and_consume(request: Any) -> Any:
        try:
            wire.lose_answer(request)
        finally:
            server.client().delete_object(Bucket=BUCKET, Key=key)

    wire.on("CompleteMultipartUpload", publish_and_consume)
    with pytest.raises((OutcomeUnknownError, ConnectionFailedError)) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    if not server.quirks.accepts_any_abort:
        assert isinstance(caught.value, OutcomeUnknownError)


class LateCommit:
    """The answer to the commit is lost before S3 has acted on it; `land` is when it acts."""

    def __init__(self, client: Any) -> None:
        self.wire = Wire(client)
        self.wire.on("CompleteMultipartUpload", self._hold)
        self._held: list[AWSPreparedRequest] = []

    def land(self, _: AWSPreparedRequest) -> AWSResponse | None:
        with pytest.raises(ConnectionClosedError):
            self.wire.lose_answer(self._held.pop())
        return None

    def _hold(self, request: AWSPreparedRequest) -> AWSResponse | None:
        self._held.append(request)
        return cut(request)


def test_a_commit_that_lands_while_it_is_looked_up_is_a_success(client: Any, key: str) -> None:
    late = LateCommit(client)
    late.wire.on("AbortMultipartUpload", late.land, nth=1)
    with writer(client, key) as stream:
        stream.write(LARGE)
    assert content(client, key) == LARGE
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (stream.result.etag, stream.result.size, stream.result.parts) == (head["ETag"], len(LARGE), 2)


@pytest.mark.parametrize("when", ["ListParts", "AbortMultipartUpload"])
def test_a_commit_that_lands_and_is_consumed_while_it_is_looked_up_is_unknown(
    server: Store, client: Any, key: str, when: str
) -> None:
    def land_and_consume(request: AWSPreparedRequest) -> AWSResponse | None:
        late.land(request)
        server.client().delete_object(Bucket=BUCKET, Key=key)
        return None

    late = LateCommit(client)
    late.wire.on(when, land_and_consume, nth=1)
    with pytest.raises((OutcomeUnknownError, ConnectionFailedError)) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    if when == "ListParts" or not server.quirks.accepts_any_abort:
        assert isinstance(caught.value, OutcomeUnknownError)


def test_an_error_after_a_lost_answer_does_not_settle_a_small_object(server: Store, key: str) -> None:
    client = server.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(client)
    wire.on("PutObject", cut_after_sending, nth=1)
    wire.on("PutObject", refuse(500, "InternalError"), nth=2)
    with pytest.raises(OutcomeUnknownError), writer(client, key) as stream:
        stream.write(SMALL)


def test_a_lost_answer_to_the_beginning_names_what_may_be_left(
    server: Store, client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(client)
    wire.on("CreateMultipartUpload", wire.lose_answer)
    with pytest.raises(ConnectionFailedError) as caught, writer(client, key) as stream:
        stream.write(LARGE)
    assert "may have begun whose id was lost" in caught.value.__notes__[0]
    wire.on("CreateMultipartUpload", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped, writer(client, key) as stream:
        stream.write(LARGE)
    assert "may have begun whose id was lost" in stopped.value.__notes__[0]
    again = server.client(retries={"mode": "standard", "total_max_attempts": 3})
    wire = Wire(again)
    wire.on("CreateMultipartUpload", wire.lose_answer, nth=1)
    with writer(again, key) as stream:
        stream.write(LARGE)
    assert "may have begun whose id was lost" in caplog.text
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_an_upload_whose_beginning_reached_nobody_has_not_begun(store: Store, key: str) -> None:
    again = store.client(endpoint_url="http://127.0.0.1:9", retries={"mode": "standard", "total_max_attempts": 2})
    with pytest.raises(ConnectionFailedError) as caught, writer(again, key) as stream:
        stream.write(LARGE)
    assert not hasattr(caught.value, "__notes__")


def test_an_upload_that_began_at_the_first_attempt_to_reach_the_store_is_the_only_one(
    store: Store, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 3})
    Wire(again).on("CreateMultipartUpload", unreachable, nth=1)
    with writer(again, key) as stream:
        stream.write(LARGE)
    assert (content(again, key), caplog.text) == (LARGE, "")


@BOTH
def test_a_commit_that_never_reached_the_store_is_known_not_to_be_done(
    store: Store, key: str, payload: bytes, commit: str
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(again)
    wire.on(commit, unreachable)
    with pytest.raises(ConnectionFailedError, match="publishing"), writer(again, key) as stream:
        stream.write(payload)
    assert wire.sent.count(commit) == 2
    assert "HeadObject" not in wire.sent
    assert (content(again, key), uploads(again, key)) == (None, [])


def test_a_pending_upload_whose_commit_never_reached_the_store_stays_to_be_committed(store: Store, key: str) -> None:
    with writer(store.client(), key) as stream:
        stream.write(SMALL)
        pending = stream.prepare()
    cut_off = store.client(endpoint_url="http://127.0.0.1:9")
    with pytest.raises(ConnectionFailedError, match="publishing") as caught:
        pending.commit(client=cut_off)
    assert caught.value.upload_id == pending.upload_id
    pending.commit(client=store.client())
    assert content(store.client(), key) == SMALL


@BOTH
def test_a_commit_that_is_refused_at_the_first_attempt_to_reach_the_store_is_not_done(
    store: Store, key: str, payload: bytes, commit: str
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 3})
    wire = Wire(again)
    wire.on(commit, unreachable, nth=1)
    wire.on(commit, refuse(403, "AccessDenied"), nth=2)
    with pytest.raises(AccessDeniedError), writer(again, key) as stream:
        stream.write(payload)
    assert "HeadObject" not in wire.sent
    assert (content(again, key), uploads(again, key)) == (None, [])


def test_attempts_of_which_the_writer_was_not_told_may_have_reached_the_store() -> None:
    with attempts_of_call() as seen:
        attempts.add(attempts=3, caught_exception=EndpointConnectionError(endpoint_url="http://nowhere"))
    assert [type(each) for each in seen] == [type(None), type(None), EndpointConnectionError]
    assert not faults.is_refusal(seen[-1], PUT, seen)
    attempts.add(attempts=1)
    assert len(seen) == 3


#: What botocore raises if new credentials are needed before another attempt, and can't be had.
NO_CREDENTIALS = pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "AssumeRole"),
    ],
    ids=["none", "refused"],
)


def without_credentials_at(attempt: int, client: Any, operation: str, error: Exception) -> None:
    """``error`` is raised before this attempt of the call goes out."""

    def sign(**_: Any) -> None:
        if next(attempts_made) == attempt:
            raise error

    attempts_made = itertools.count(1)
    client.meta.events.register(f"before-sign.s3.{operation}", sign)


@BOTH
@NO_CREDENTIALS
def test_a_commit_whose_answer_was_lost_before_the_credentials_were_is_looked_up(
    store: Store, key: str, payload: bytes, commit: str, error: Exception
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(again)
    wire.on(commit, wire.lose_answer, nth=1)
    without_credentials_at(2, again, commit, error)
    with writer(again, key) as stream:
        stream.write(payload)
    assert content(again, key) == payload


@BOTH
@NO_CREDENTIALS
def test_a_commit_that_credentials_are_missing_for_is_not_done(
    store: Store, key: str, payload: bytes, commit: str, error: Exception
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(again)
    without_credentials_at(1, again, commit, error)
    with pytest.raises(NotCommittedError), writer(again, key) as stream:
        stream.write(payload)
    assert not {commit, "HeadObject"} & set(wire.sent)
    assert (content(again, key), uploads(again, key)) == (None, [])


@NO_CREDENTIALS
def test_an_upload_whose_beginning_was_lost_before_the_credentials_were_may_have_begun(
    store: Store, key: str, error: Exception
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(again)
    wire.on("CreateMultipartUpload", wire.lose_answer, nth=1)
    without_credentials_at(2, again, "CreateMultipartUpload", error)
    with pytest.raises(NotCommittedError) as caught, writer(again, key) as stream:
        stream.write(LARGE)
    assert "may have begun whose id was lost" in caught.value.__notes__[0]
    (left,) = uploads(again, key)
    again.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=left)


def test_a_call_within_a_call_leaves_the_attempts_of_the_outer_one_alone() -> None:
    with attempts_of_call() as outer:
        attempts.add(attempts=1)
        with attempts_of_call() as inner:
            attempts.add(attempts=1)
            attempts.add(attempts=2)
        attempts.add(attempts=2)
    assert (len(outer), len(inner)) == (2, 2)


@BOTH
def test_a_commit_whose_answer_was_lost_before_nobody_could_be_reached_is_looked_up(
    store: Store, key: str, payload: bytes, commit: str
) -> None:
    again = store.client(retries={"mode": "standard", "total_max_attempts": 2})
    wire = Wire(again)
    wire.on(commit, wire.lose_answer, nth=1)
    wire.on(commit, unreachable, nth=2)
    with writer(again, key) as stream:
        stream.write(payload)
    assert content(again, key) == payload


def test_a_refusal_needs_no_second_look(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError), writer(client, key) as stream:
        stream.write(LARGE)
    assert "HeadObject" not in wire.sent


@BOTH
def test_ctrl_c_during_the_commit_goes_on_and_leaves_nothing(
    client: Any, key: str, payload: bytes, commit: str
) -> None:
    Wire(client).on(commit, interrupt)
    stream = writer(client, key)
    stream.write(payload)
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    assert stream.closed
    assert content(client, key) is None
    assert uploads(client, key) == []


@BOTH
def test_ctrl_c_after_the_store_acted_says_that_the_object_is_there(
    client: Any, key: str, payload: bytes, commit: str
) -> None:
    wire = Wire(client)

    wire.on(commit, wire.act_then_interrupt)
    stream = writer(client, key)
    stream.write(payload)
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.close()
    assert "was published all the same" in caught.value.__notes__[0]
    assert content(client, key) == payload
    assert stream.result.size == len(payload)


def test_ctrl_c_while_the_outcome_is_looked_up_says_that_it_is_not_known(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer)
    wire.on("HeadObject", interrupt)
    stream = writer(client, key)
    stream.write(LARGE)
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.close()
    assert "is not known" in caught.value.__notes__[0]
    assert content(client, key) == LARGE


def test_a_writer_dropped_while_its_commit_is_under_way_is_not_called_unpublished(client: Any, key: str) -> None:
    def hang(request: Any) -> Any:
        press()
        while not main_thread_is_in(Commit.end):
            time.sleep(0.01)
        press()
        goes_on.wait(30)

    def press() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def close() -> None:
        stream = writer(client, key)
        stream.write(LARGE)
        with contextlib.suppress(KeyboardInterrupt):
            stream.close()

    goes_on = threading.Event()
    Wire(client).on("CompleteMultipartUpload", hang)
    with logged() as messages, pytest.warns(ResourceWarning, match="is not known"):
        close()
        gc.collect()
    goes_on.set()
    join_threads()
    assert [message for message in messages if "was published is not known: it was interrupted" in message]
    assert [message for message in messages if "it is not published" in message] == []
    assert content(client, key) == LARGE


def test_what_became_of_an_upload_is_said_again(client: Any, key: str) -> None:
    stream = writer(client, key)
    stream.write(SMALL)
    result = stream.commit()
    assert stream.commit() == stream._upload.commit(Part()) == result
    wire = Wire(client)
    wire.on("PutObject", wire.lose_answer)
    wire.on("HeadObject", refuse(403, "AccessDenied"))
    stream = writer(client, key)
    with pytest.raises(OutcomeUnknownError) as first:
        stream.commit()
    with pytest.raises(OutcomeUnknownError) as again:
        stream._upload.commit(Part())
    assert again.value is first.value


def test_a_key_that_holds_another_object_while_the_upload_is_gone_is_unknown(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    wire = Wire(client)
    for operation in ("CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"):
        wire.on(operation, refuse(404, "NoSuchUpload"))
    with pytest.raises(OutcomeUnknownError, match="does not hold its object") as caught, writer(client, key) as stream:
        stream.write(LARGE)
    (upload_id,) = uploads(client, key)
    assert caught.value.upload_id == upload_id
    assert content(client, key) == b"old"
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_small_object_that_is_not_found_where_it_is_sent_is_not_committed(client: Any, key: str) -> None:
    Wire(client).on("PutObject", refuse(404, "NoSuchUpload"))
    with pytest.raises(NotCommittedError, match="NoSuchUpload"), writer(client, key) as stream:
        stream.write(SMALL)
    assert content(client, key) is None


def test_an_upload_whose_outcome_can_not_be_looked_up_is_aborted_all_the_same(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("HeadObject", refuse(403, "403"))
    with pytest.raises(OutcomeUnknownError), writer(client, key) as stream:
        stream.write(LARGE)
    assert uploads(client, key) == []


def test_ctrl_c_whose_outcome_can_not_be_looked_up_says_so(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", interrupt)
    wire.on("HeadObject", refuse(403, "403"))
    stream = writer(client, key)
    stream.write(LARGE)
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.close()
    assert "is not known" in caught.value.__notes__[0]
    assert uploads(client, key) == []
