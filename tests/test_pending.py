"""Prepared now, published later, by whoever has the plain data: with the same three outcomes, once or many times."""

import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from s3writer import (
    AbortedError,
    AccessDeniedError,
    ConflictError,
    KeyExistsError,
    NotCommittedError,
    OutcomeUnknownError,
    PartlyCommittedError,
    PendingUpload,
    commit_all,
)
from s3writer.testing import MemoryS3
from tests.helpers import MIB, Boom, content, data, uploads, writer
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Wire, answer, cut, delay, interrupt, refuse

CUSTOMER_KEY = b"0123456789abcdef0123456789ABCDEF"


@pytest.fixture
def client(server: Store) -> Any:
    """A client of the store."""
    return server.client()


def prepared(client: Any, key: str, payload: bytes = b"prepared", **options: Any) -> PendingUpload:
    with writer(client, key, **options) as stream:
        stream.write(payload)
        return stream.prepare()


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB, 11 * MIB])
def test_what_was_prepared_is_there_once_it_is_committed(client: Any, key: str, size: int) -> None:
    pending = prepared(client, key, data(size), ContentType="text/csv")
    assert content(client, key) is None
    assert uploads(client, key) == [pending.upload_id]
    assert (pending.bucket, pending.key, pending.size) == (BUCKET, key, size)
    assert sum(part.size for part in pending.parts) == size
    result = pending.commit(client=client)
    assert content(client, key) == data(size)
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (result.size, result.parts, head["ContentType"]) == (size, len(pending.parts), "text/csv")
    assert result.computed_checksum == pending.checksum is not None


def test_the_checksum_that_s3_answers_is_told_where_it_can_not_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = MemoryS3(BUCKET)
    pending = prepared(s3.client, "key", checksum="CRC32")
    monkeypatch.setattr("s3writer.pending.algorithms", dict)
    result = pending.commit(client=s3.client)
    assert result.checksum == pending.checksum is not None


def copied(pending: PendingUpload) -> PendingUpload:
    """It as another process has it."""
    return PendingUpload.from_json(pending.to_json())


@pytest.mark.parametrize("exclusive", [False, True])
def test_to_commit_again_changes_nothing_and_tells_the_same(client: Any, key: str, exclusive: bool) -> None:
    pending = prepared(client, key, data(6 * MIB), exclusive=exclusive)
    first = pending.commit(client=client)
    assert content(client, key) == data(6 * MIB)
    again = pending.commit(client=client)
    assert again == first
    assert (first.etag or "")[0] == (first.etag or "")[-1] == '"'
    assert content(client, key) == data(6 * MIB)


def test_the_result_is_kept_once_it_is_published() -> None:
    s3 = MemoryS3(BUCKET)
    pending = prepared(s3.client, "key")
    s3.refuse("CompleteMultipartUpload", "AccessDenied", nth=1)
    with pytest.raises(AccessDeniedError):
        pending.commit(client=s3.client)
    other = copied(pending)
    assert (pending.result, other.result) == (None, None)
    first = pending.commit(client=s3.client)
    assert (pending.result, other.result, other) == (first, None, pending)


@pytest.mark.parametrize("name", ["result", "size", "upload_id"])
def test_what_a_pending_upload_says_can_not_be_changed(name: str) -> None:
    pending = prepared(MemoryS3(BUCKET).client, "key")
    with pytest.raises(AttributeError):
        setattr(pending, name, None)


def test_after_its_own_abort_nothing_was_published_and_that_is_known(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    assert pending.abort(client=client)
    with pytest.raises(AbortedError, match=f"upload {pending.upload_id} was aborted"):
        pending.commit(client=client)
    with pytest.raises(OutcomeUnknownError):
        copied(pending).commit(client=client)
    assert content(client, key) is None


def test_an_upload_that_somebody_commits_while_it_is_aborted_is_not_called_aborted(client: Any, key: str) -> None:
    def committed_first(request: Any) -> Any:
        copied(pending).commit(client=client)
        return refuse(404, "NoSuchUpload")(request)

    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("AbortMultipartUpload", committed_first)
    pending.abort(client=client)
    assert pending.commit(client=client).size == 6 * MIB
    assert content(client, key) == data(6 * MIB)


def test_the_writer_is_closed_and_its_with_block_publishes_nothing(client: Any, key: str) -> None:
    with pytest.raises(Boom), writer(client, key) as stream:
        stream.write(data(6 * MIB))
        pending = stream.prepare()
        assert stream.closed
        assert "prepared" in repr(stream)
        with pytest.raises(ValueError, match="closed"):
            stream.prepare()
        with pytest.raises(ValueError, match="no result"):
            _ = stream.result
        raise Boom
    assert content(client, key) is None
    pending.commit(client=client)
    assert content(client, key) == data(6 * MIB)


def test_it_is_plain_data(client: Any, key: str) -> None:
    pending = prepared(client, key, data(11 * MIB))
    assert PendingUpload.from_json(pending.to_json()) == pending
    assert pickle.loads(pickle.dumps(pending)) == pending
    assert hash(pickle.loads(pickle.dumps(pending))) == hash(pending)
    assert json.loads(pending.to_json())["format"] == 1
    pending.abort(client=client)


def test_another_process_commits_what_it_reads_from_json(server: Store, client: Any, key: str) -> None:
    script = """
import sys
from s3writer import PendingUpload
print(PendingUpload.from_json(sys.stdin.read()).commit().size)
"""
    pending = prepared(client, key, data(6 * MIB))
    environment = {
        "AWS_ENDPOINT_URL": str(server.endpoint),
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
    }
    command = [sys.executable, "-c", script]
    ended = subprocess.run(
        command, input=pending.to_json(), env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.stdout, ended.stderr) == (f"{6 * MIB}\n", "")
    assert content(client, key) == data(6 * MIB)


def test_aborting_removes_it_and_may_be_done_twice(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    pending.abort(client=client)
    assert uploads(client, key) == []
    pending.abort(client=client)
    with pytest.raises(OutcomeUnknownError):
        pending.commit(client=client)
    assert content(client, key) is None


def test_aborting_leaves_alone_what_was_published(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    pending.commit(client=client)
    pending.abort(client=client)
    assert content(client, key) == data(6 * MIB)


def test_a_lost_answer_is_settled(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer)
    assert pending.commit(client=client).size == 6 * MIB
    assert content(client, key) == data(6 * MIB)


@pytest.mark.parametrize("head", [None, refuse(403, "AccessDenied")], ids=["nothing shows", "nobody tells"])
def test_what_can_not_be_settled_is_unknown_and_committed_later(client: Any, key: str, head: Any) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut, nth=1)
    if head:
        wire.on("HeadObject", head)
    with pytest.raises(OutcomeUnknownError) as caught:
        pending.commit(client=client)
    assert "it is safe to commit it again" in caught.value.__notes__[0]
    assert "s3writer-token" in str(caught.value)
    assert caught.value.upload_id == pending.upload_id
    assert pending.commit(client=client).size == 6 * MIB
    assert content(client, key) == data(6 * MIB)


def test_ctrl_c_while_it_is_committed_goes_on_and_says_what_is_known(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)

    wire.on("CompleteMultipartUpload", interrupt, nth=1)
    wire.on("CompleteMultipartUpload", wire.act_then_interrupt, nth=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        pending.commit(client=client)
    assert "is not known" in caught.value.__notes__[0]
    with pytest.raises(KeyboardInterrupt) as caught:
        pending.commit(client=client)
    assert "was published all the same" in caught.value.__notes__[0]
    assert content(client, key) == data(6 * MIB)


def test_after_ctrl_c_the_answer_to_the_commit_is_waited_for(client: Any, key: str) -> None:
    def act_slowly(_: Any) -> None:
        is_sent.set()
        time.sleep(1)

    def press() -> None:
        assert is_sent.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    is_sent = threading.Event()
    pending = prepared(client, key, data(6 * MIB))
    Wire(client).on("CompleteMultipartUpload", act_slowly)
    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        pending.commit(client=client)
    presser.join()
    assert "was published all the same" in caught.value.__notes__[0]
    assert content(client, key) == data(6 * MIB)


def test_ctrl_c_before_the_commit_was_sent_has_nothing_to_tell(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    pending = prepared(client, key)
    for thread in threading.enumerate():
        if thread.name.startswith("s3writer"):
            thread.join(30)  # one that waits for another job would do it
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(threading.Thread, "start", start)
        pending.commit(client=client)
    assert not getattr(caught.value, "__notes__", [])
    assert pending.commit(client=client).size == pending.size


def test_what_s3_did_not_show_was_not_there_whatever_it_says_to_the_abort(client: Any, key: str) -> None:
    pending = prepared(client, key)
    pending.abort(client=client)
    wire = Wire(client)
    wire.on("ListParts", refuse(404, "NoSuchUpload"))
    wire.on("AbortMultipartUpload", answer(204, b""))
    assert not pending.abort(client=client)


def test_ctrl_c_while_a_lost_answer_is_looked_into_says_that_nobody_knows(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer)
    wire.on("HeadObject", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        pending.commit(client=client)
    assert "is not known" in caught.value.__notes__[0]
    assert content(client, key) == data(6 * MIB)


def test_a_refusal_leaves_the_upload_to_be_committed_again(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", refuse(403, "AccessDenied"), nth=1)
    with pytest.raises(PermissionError) as caught:
        pending.commit(client=client)
    assert "commit it again, or abort it" in caught.value.__notes__[0]
    assert uploads(client, key) == [pending.upload_id]
    pending.commit(client=client)
    assert content(client, key) == data(6 * MIB)


@pytest.mark.parametrize("refusal", [refuse(403, "ExpiredToken"), refuse(409, "ConditionalRequestConflict")])
def test_a_refusal_does_not_hide_that_an_earlier_commit_was_done(client: Any, key: str, refusal: Any) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer, nth=1)
    wire.on("HeadObject", refuse(403, "AccessDenied"), nth=1)
    wire.on("CompleteMultipartUpload", refusal, nth=2)
    with pytest.raises(OutcomeUnknownError):
        pending.commit(client=client)
    assert pending.commit(client=client).size == 6 * MIB


def test_a_conflict_can_not_be_committed_again(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    Wire(client).on("CompleteMultipartUpload", refuse(409, "ConditionalRequestConflict"), nth=1)
    with pytest.raises(ConflictError) as caught:
        pending.commit(client=client)
    assert caught.value.upload_id == pending.upload_id
    assert not hasattr(caught.value, "__notes__")
    pending.abort(client=client)


def test_a_refusal_that_can_not_be_looked_into_leaves_the_upload(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", refuse(403, "AccessDenied"))
    wire.on("HeadObject", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        pending.commit(client=client)
    assert uploads(client, key) == [pending.upload_id]
    pending.abort(client=client)


def test_without_a_token_a_second_commit_never_says_that_there_was_no_first(
    running: dict[str, Store], key: str
) -> None:
    client = running["seaweedfs"].client()
    pending = prepared(client, key, data(6 * MIB), exclusive=True, commit_token=False)
    pending.commit(client=client)
    with pytest.raises(OutcomeUnknownError, match="the content that was written"):
        pending.commit(client=client)


def test_to_commit_again_is_not_called_safe_once_the_upload_is_gone(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB), commit_token=False)
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer)
    with pytest.raises(OutcomeUnknownError) as caught:
        pending.commit(client=client)
    assert not [note for note in getattr(caught.value, "__notes__", []) if "is safe" in note]
    assert content(client, key) == data(6 * MIB)


def test_without_a_token_an_exclusive_one_that_was_never_committed_says_that_the_key_exists(
    client: Any, key: str
) -> None:
    pending = prepared(client, key, data(6 * MIB), exclusive=True, commit_token=False)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"first")
    Wire(client).on("CompleteMultipartUpload", refuse(412, "PreconditionFailed"))
    with pytest.raises(KeyExistsError) as caught:
        pending.commit(client=client)
    assert caught.value.upload_id == pending.upload_id
    assert content(client, key) == b"first"
    pending.abort(client=client)


def test_without_a_token_denied_access_is_no_unknown_outcome(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB), commit_token=False)
    copied(pending).abort(client=client)
    Wire(client).on("CompleteMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        pending.commit(client=client)


def test_with_its_token_an_exclusive_one_that_is_gone_says_that_the_key_exists(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB), exclusive=True)
    copied(pending).abort(client=client)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"first")
    Wire(client).on("CompleteMultipartUpload", refuse(412, "PreconditionFailed"))
    with pytest.raises(KeyExistsError):
        pending.commit(client=client)
    assert content(client, key) == b"first"


def test_an_exclusive_one_leaves_alone_what_came_first(client: Any, key: str, server: Store) -> None:
    if not server.quirks.checks_conditions:
        return
    pending = prepared(client, key, data(6 * MIB), exclusive=True)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"first")
    with pytest.raises(KeyExistsError) as caught:
        pending.commit(client=client)
    assert caught.value.upload_id == pending.upload_id
    assert content(client, key) == b"first"
    Wire(client).on("HeadObject", refuse(403, "AccessDenied"))
    with pytest.raises(OutcomeUnknownError):
        pending.commit(client=client)
    pending.abort(client=client)
    assert uploads(client, key) == []


def test_a_part_that_fails_leaves_nothing_to_commit(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", refuse(403, "AccessDenied"))
    with pytest.raises(PermissionError), writer(client, key) as stream:
        stream.write(b"small")
        stream.prepare()
    assert uploads(client, key) == []


def test_of_two_threads_that_prepare_one_gets_it(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", delay(0.5))
    stream = writer(client, key)
    stream.write(b"small")
    outcomes: list[Any] = []

    def prepare() -> None:
        try:
            outcomes.append(stream.prepare())
        except ValueError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [pending] = [outcome for outcome in outcomes if isinstance(outcome, PendingUpload)]
    [error] = [outcome for outcome in outcomes if isinstance(outcome, ValueError)]
    assert "closed" in str(error)
    pending.abort(client=client)


def test_the_customer_s_key_is_not_in_it_and_must_be_given_again(running: dict[str, Store], key: str) -> None:
    client = running["seaweedfs"].client()
    secret = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}
    pending = prepared(client, key, data(6 * MIB), **secret)
    assert "SSECustomerKey" not in pending.to_json()
    assert CUSTOMER_KEY.decode() not in str(pickle.dumps(pending))
    with pytest.raises(TypeError, match="SSECustomerKey must be given"):
        pending.commit(client=client)
    pending.commit(client=client, SSECustomerKey=CUSTOMER_KEY)
    read = client.get_object(Bucket=BUCKET, Key=key, **secret)
    assert read["Body"].read() == data(6 * MIB)


def test_what_was_settled_when_the_upload_began_can_not_be_changed(client: Any, key: str) -> None:
    pending: Any = prepared(client, key)
    with pytest.raises(TypeError, match="ContentType comes too late"):
        pending.commit(client=client, ContentType="text/csv")
    with pytest.raises(TypeError, match="client must be a boto3 S3 client"):
        pending.commit(client="s3")
    pending.abort(client=client)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "parts": []}', '{"format": 1}'])
def test_what_is_no_pending_upload_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="this is no PendingUpload"):
        PendingUpload.from_json(text)


def test_what_does_not_add_up_is_refused(client: Any, key: str) -> None:
    pending = prepared(client, key, data(6 * MIB))
    for wrong in ({"size": 5}, {"upload_id": 7}, {"key": ""}, {"bucket": None}):
        with pytest.raises(ValueError, match="this is no PendingUpload"):
            PendingUpload.from_json(json.dumps({**json.loads(pending.to_json()), **wrong}))
    pending.abort(client=client)


def test_several_of_which_one_lacks_its_key_are_not_begun_with(running: dict[str, Store], key: str) -> None:
    client = running["seaweedfs"].client()
    secret: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}
    both = [prepared(client, key + "1"), prepared(client, key + "2", **secret)]
    with pytest.raises(TypeError, match="SSECustomerKey must be given"):
        commit_all(both, client=client)
    assert content(client, key + "1") is None
    commit_all(both, client=client, SSECustomerKey=CUSTOMER_KEY)
    assert content(client, key + "1") == b"prepared"


def test_a_prepared_upload_with_a_key_is_aborted_without_it(running: dict[str, Store], key: str) -> None:
    client = running["seaweedfs"].client()
    pending = prepared(client, key, SSECustomerAlgorithm="AES256", SSECustomerKey=CUSTOMER_KEY)
    wire = Wire(client)
    pending.abort(client=client)
    assert not [name for request in wire.requests for name in request.headers if "customer" in name.lower()]
    pending.abort(client=client, SSECustomerKey=CUSTOMER_KEY)
    assert uploads(client, key) == []


def test_several_are_committed_in_order(client: Any, key: str) -> None:
    keys = [f"{key}{number}" for number in range(3)]
    results = commit_all([prepared(client, one, one.encode()) for one in keys], client=client)
    assert [result.key for result in results] == keys
    assert [content(client, one) for one in keys] == [one.encode() for one in keys]


def test_of_several_those_before_the_failure_are_named_and_the_rest_can_be_committed(client: Any, key: str) -> None:
    keys = [f"{key}{number}" for number in range(3)]
    pending = [prepared(client, one, one.encode()) for one in keys]
    Wire(client).on("CompleteMultipartUpload", refuse(403, "AccessDenied"), nth=2)
    with pytest.raises(PartlyCommittedError, match="1 of 3 objects were published") as caught:
        commit_all(pending, client=client)
    error = pickle.loads(pickle.dumps(caught.value))
    assert [result.key for result in error.published] == keys[:1]
    assert (error.failed, error.left, error.upload_id) == (pending[1], [pending[2]], pending[1].upload_id)
    assert isinstance(caught.value.__cause__, NotCommittedError)
    commit_all([error.failed, *error.left], client=client)
    assert [content(client, one) for one in keys] == [one.encode() for one in keys]


def test_ctrl_c_between_several_says_which_were_published(client: Any, key: str) -> None:
    pending = [prepared(client, f"{key}{number}") for number in range(2)]
    Wire(client).on("CompleteMultipartUpload", interrupt, nth=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        commit_all(pending, client=client)
    assert "1 of 2 objects were published before" in caught.value.__notes__[-1]
    pending[1].abort(client=client)
