"""What interrupts, refusals and several clients do to a transaction: each upload that may be left is named."""

import asyncio
import gc
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.asyn import sync

import s3writer
from s3writer import pending as uploads
from s3writer._s3 import client as clients
from s3writer._s3.operations import PUT
from s3writer.fsspec import DeferredFile, S3WriterFileSystem
from s3writer.fsspec.together import TogetherTransaction
from s3writer.testing import MemoryS3

Calls = list[tuple[str, str]]


class Boom(Exception):
    """An exception of the user's own."""


@pytest.fixture
def memory() -> Any:
    with MemoryS3("bucket") as s3:
        yield s3


@pytest.fixture
def own() -> Any:
    """A file system whose writers use the store in memory."""
    return S3WriterFileSystem(skip_instance_cache=True)


@pytest.fixture
def direct(own: Any, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls that s3fs has made itself, and their keys."""

    async def call(method: str, *_: Any, **named: Any) -> dict[str, Any]:
        calls.append((method, named["Key"]))
        return {}

    calls: Calls = []
    monkeypatch.setattr(own, "_call_s3", call)
    return calls


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files to be put."""
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("a.json", "b.json", "inner/c.json"):
        (tmp_path / "folder" / name).write_bytes(b"{}")
    return tmp_path / "folder"


def pipe_three(fs: Any) -> None:
    for key in "abc":
        fs.pipe_file(f"bucket/{key}", b"12345")


def nth(number: int, act: Callable[[], object], call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, and ``act`` before the call that has this number."""

    def acting(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            act()
        return call(*arguments, **named)

    calls = itertools.count(1)
    return acting


def interrupt() -> None:
    raise KeyboardInterrupt


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


@pytest.mark.parametrize("how", ["pipe", "put"])
def test_after_an_interrupt_nothing_is_written_any_more(
    memory: MemoryS3, own: Any, direct: Calls, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    threads = set()

    def write(stream: DeferredFile, data: bytes) -> int:
        threads.add(threading.get_ident())
        return super(DeferredFile, stream).write(data)

    monkeypatch.setattr(DeferredFile, "write", nth(2, press_ctrl_c, write), raising=False)
    with pytest.raises(KeyboardInterrupt), own.transaction:
        if how == "pipe":
            own.pipe({f"bucket/{number}": b"12345" for number in range(100)}, batch_size=2)
        else:
            own.put([str(folder / "a.json")] * 100, [f"bucket/{number}" for number in range(100)], batch_size=2)
    sync(own.loop, asyncio.sleep, 0.3)
    assert direct == []
    assert (memory.objects, memory.unfinished) == ({}, [])
    assert threads == {threading.get_ident()}


def test_pipe_and_put_take_the_same_arguments_in_a_transaction(memory: MemoryS3, own: Any, folder: Path) -> None:
    own.isdir = lambda _: False
    with own.transaction:
        own.pipe("s3w://bucket/one", b"12345", mode="create", chunksize=1, max_concurrency=1)
        own.pipe({"bucket/two": b"12345"}, batch_size=1)
        own.pipe_file("bucket/three", data=b"12345", ContentType="text/plain")
        own.put(str(folder), "bucket/folder", recursive=True, batch_size=2, mode="create", ContentType="text/plain")
        own.put_file(folder / "a.json", "s3w://bucket/four")
        assert memory.objects == {}
    names = ["folder/a.json", "folder/b.json", "folder/inner/c.json", "four", "one", "three", "two"]
    assert sorted(memory.objects) == [f"s3://bucket/{name}" for name in names]


def test_a_type_that_was_chosen_for_all_files_is_not_guessed(memory: MemoryS3, folder: Path) -> None:
    def types(**options: Any) -> list[Any]:
        fs = S3WriterFileSystem(skip_instance_cache=True, **options)
        with fs.transaction as transaction:
            fs.put_file(str(folder / "a.json"), "bucket/a")
            fs.put_file(str(folder / "a.json"), "bucket/b", ContentType="text/plain")
            return [file.calls.arguments.of(PUT)["ContentType"] for file in transaction.files]

    assert types() == ["application/json", "text/plain"]
    assert types(writer={"ContentType": "text/csv"}) == ["text/csv", "text/plain"]


def test_the_coroutines_refuse_to_write_in_a_transaction(own: Any, direct: Calls, folder: Path) -> None:
    with own.transaction:
        with pytest.raises(NotImplementedError, match="use pipe_file, not the coroutine _pipe_file"):
            sync(own.loop, own._pipe_file, "bucket/key", b"12345")
        with pytest.raises(NotImplementedError, match="use put_file, not the coroutine _put_file"):
            sync(own.loop, own._put_file, str(folder / "a.json"), "bucket/key")
    assert direct == []
    sync(own.loop, own._pipe_file, "bucket/key", b"12345")
    assert direct == [("put_object", "key")]


def test_what_began_before_a_transaction_is_not_part_of_it(
    memory: MemoryS3, own: Any, direct: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_call_s3", nth(1, own.start_transaction, own._call_s3))
    own.pipe({"bucket/a": b"1", "bucket/b": b"2"}, batch_size=1)
    assert own._intrans
    own.end_transaction()
    assert direct == [("put_object", "a"), ("put_object", "b")]
    assert memory.objects == {}


def test_each_file_is_published_with_its_own_client(own: Any) -> None:
    stores = [MemoryS3("bucket"), MemoryS3("bucket")]
    with own.transaction:
        for number, s3 in enumerate(stores):
            with own.open(f"bucket/{number}", "wb", client=s3.client) as stream:
                stream.write(b"12345")
    assert [list(s3.objects) for s3 in stores] == [["s3://bucket/0"], ["s3://bucket/1"]]


def test_an_interrupt_between_two_commits_names_what_is_left(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "commit", nth(2, interrupt, uploads.commit))
    with pytest.raises(KeyboardInterrupt) as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
    assert list(memory.objects) == ["s3://bucket/a"]
    assert "1 of 3 objects were published before" in notes(caught.value)
    assert [file.left in notes(caught.value) for file in files[1:]] == [True, True]
    assert files[0].left == ""
    for file in files[1:]:
        assert file.left == f"upload {file.pending.upload_id} of {file.name} may wait in S3: commit it, or abort it"
    assert files[1].commit().size == 5
    files[2].discard()
    assert [file.left for file in files] == ["", "", ""]
    assert memory.unfinished == []


def test_an_interrupt_that_comes_too_late_for_its_object_names_the_others(memory: MemoryS3, own: Any) -> None:
    def press(**_: Any) -> None:
        if memory.calls.count("CompleteMultipartUpload") == 1:
            press_ctrl_c()

    memory.client.meta.events.register_first("before-send.s3.CompleteMultipartUpload", press)
    with pytest.raises(KeyboardInterrupt) as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
    assert list(memory.objects) == ["s3://bucket/a", "s3://bucket/b"]
    assert "s3://bucket/b was published all the same" in notes(caught.value)
    assert [file.left != "" for file in files] == [False, False, True]
    assert files[2].left in notes(caught.value)
    assert files[1].result.size == 5


@pytest.mark.parametrize("ending", [Boom, None])
def test_an_interrupt_while_files_are_discarded_names_what_is_left(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch, ending: type[Exception] | None
) -> None:
    monkeypatch.setattr(DeferredFile, "discard", nth(2, interrupt, DeferredFile.discard))
    still_open = []
    with pytest.raises(KeyboardInterrupt) as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
        if ending is not None:
            raise ending
        still_open.append(own.open("bucket/open", "wb"))
    for file in still_open:
        file.discard()
    assert (memory.objects, memory.unfinished) == ({}, ["s3://bucket/b", "s3://bucket/c"])
    assert notes(caught.value) == "\n".join(file.left for file in files[1:])
    assert not own._intrans


def test_a_refusal_names_what_is_left(memory: MemoryS3, own: Any) -> None:
    memory.refuse("CompleteMultipartUpload", "AccessDenied", nth=2)
    with pytest.raises(s3writer.PartlyCommittedError, match="1 of 3 objects") as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
    assert notes(caught.value) == "\n".join(file.left for file in files[1:])
    assert [pending.key for pending in caught.value.left] == ["c"]


@pytest.mark.parametrize("how", ["close", "prepare", "commit"])
def test_an_interrupt_just_after_a_file_was_prepared_leaves_nothing(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(DeferredFile, "_mark_closed", nth(1, interrupt, DeferredFile._mark_closed))
    with pytest.raises(KeyboardInterrupt), own.transaction:
        stream = own.open("bucket/key", "wb")
        stream.write(b"12345")
        getattr(stream, how)()
    assert (memory.objects, memory.unfinished) == ({}, [])


def test_a_file_that_was_committed_by_hand_counts_as_published(memory: MemoryS3, own: Any) -> None:
    memory.refuse("CompleteMultipartUpload", "AccessDenied", nth=2)
    with pytest.raises(s3writer.PartlyCommittedError, match="0 of 2 objects") as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
        files[2].commit()
    assert memory.objects == {"s3://bucket/c": b"12345"}
    assert notes(caught.value) == "\n".join(file.left for file in files[:2])


def test_what_could_not_be_aborted_after_a_refusal_is_named(memory: MemoryS3, own: Any) -> None:
    memory.refuse("CompleteMultipartUpload", "AccessDenied", nth=1)
    for number in (2, 3, 4):
        memory.refuse("AbortMultipartUpload", "AccessDenied", nth=number)
    with pytest.raises(s3writer.PartlyCommittedError, match="0 of 3 objects") as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
    assert (memory.objects, memory.unfinished) == ({}, ["s3://bucket/b"])
    published, refusal, left = caught.value.__notes__
    assert published == "None of the transaction's files was published."
    assert f"upload {files[1].pending.upload_id}" in refusal
    assert left == files[1].left


def test_what_could_not_be_aborted_is_named(memory: MemoryS3, own: Any) -> None:
    memory.refuse("AbortMultipartUpload", "AccessDenied")
    with pytest.raises(Boom) as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
        raise Boom
    assert [file.pending.upload_id in note for file, note in zip(files, caught.value.__notes__, strict=True)] == [
        True
    ] * 3
    transaction = own.start_transaction()
    pipe_three(own)
    files = list(transaction.files)
    with pytest.raises(s3writer.NotCommittedError) as refused:
        transaction.complete(commit=False)
    assert refused.value.upload_id == files[0].pending.upload_id
    assert all(file.left in notes(refused.value) for file in files)


def test_an_upload_that_others_have_aborted_is_not_named(memory: MemoryS3, own: Any) -> None:
    with pytest.raises(Boom) as caught, own.transaction as transaction:
        pipe_three(own)
        files = list(transaction.files)
        memory.client.abort_multipart_upload(Bucket="bucket", Key="a", UploadId=files[0].pending.upload_id)
        raise Boom
    assert notes(caught.value) == ""
    assert [file.left for file in files] == ["", "", ""]


def test_an_encoding_that_is_unknown_leaves_no_file_in_the_transaction(memory: MemoryS3, own: Any) -> None:
    with own.transaction:
        own.pipe_file("bucket/key", b"12345")
        with pytest.raises(LookupError, match="utf-99"):
            own.open("bucket/text", "w", encoding="utf-99")
    assert list(memory.objects) == ["s3://bucket/key"]


def test_once_a_transaction_is_over_its_files_have_results(memory: MemoryS3, own: Any) -> None:
    with own.transaction:
        with own.open("bucket/key", "wb") as stream:
            stream.write(b"12345")
        with pytest.raises(ValueError, match="it was prepared: the result is what PendingUpload"):
            _ = stream.result
    assert (stream.result.key, stream.result.size) == ("key", 5)
    assert stream.result == stream.commit()
    discarded = own.open("bucket/other", "wb", autocommit=False)
    discarded.discard()
    with pytest.raises(ValueError, match="it was not published"):
        _ = discarded.result


def test_a_file_that_another_thread_discards_meanwhile_is_not_prepared(memory: MemoryS3, own: Any) -> None:
    stream = own.open("bucket/key", "wb", autocommit=False)
    stream.write(bytes(6 * 1024**2))
    while not memory.unfinished:  # what has not begun is not aborted
        time.sleep(0.01)
    aborting = threading.Event()

    def abort_slowly(**_: Any) -> None:
        aborting.set()
        time.sleep(0.5)

    stream.calls.client.meta.events.register("before-call.s3.AbortMultipartUpload", abort_slowly)
    discarding = threading.Thread(target=stream.discard)
    discarding.start()
    assert aborting.wait(10)
    with pytest.raises(ValueError, match="s3://bucket/key was closed by another thread"):
        stream.prepare()
    discarding.join()
    memory.client.meta.events.unregister("before-call.s3.AbortMultipartUpload", abort_slowly)
    assert (memory.objects, memory.unfinished) == ({}, [])


@pytest.mark.parametrize("end", ["close", "commit"])
def test_an_interrupt_after_the_commit_says_that_the_object_is_there(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    stream = own.open("bucket/key", "wb")
    stream.write(b"12345")
    monkeypatch.setattr(own, "invalidate_cache", lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(stream, end)()
    assert "s3://bucket/key was published all the same" in notes(caught.value)
    assert list(memory.objects) == ["s3://bucket/key"]


def test_an_interrupt_after_a_commit_that_was_refused_says_nothing_of_an_object(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.refuse("PutObject", "AccessDenied")
    monkeypatch.setattr(own, "invalidate_cache", lambda _: interrupt())
    stream = own.open("bucket/key", "wb")
    stream.write(b"12345")
    with pytest.raises(KeyboardInterrupt) as caught:
        stream.close()
    assert "published all the same" not in notes(caught.value)
    assert memory.objects == {}


def test_the_log_names_the_uploads_of_a_transaction_that_never_ended(
    memory: MemoryS3, own: Any, caplog: pytest.LogCaptureFixture
) -> None:
    transaction = own.start_transaction()
    pipe_three(own)
    left = [file.left for file in transaction.files]
    transaction.files.clear()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == left
    assert memory.unfinished == ["s3://bucket/a", "s3://bucket/b", "s3://bucket/c"]
    own._intrans = False


def test_a_transaction_within_a_transaction_is_refused_and_nothing_is_published(memory: MemoryS3, own: Any) -> None:
    def library() -> None:
        with own.transaction:
            own.pipe_file("bucket/inner", b"1")

    def other_way() -> None:
        own.start_transaction()

    for begin in (library, other_way):
        with pytest.raises(RuntimeError, match="a transaction of this file system is running"), own.transaction:
            own.pipe_file("bucket/outer", b"1")
            begin()
        assert (memory.objects, memory.unfinished, own._intrans) == ({}, [], False)
    with own.transaction:
        own.pipe_file("bucket/outer", b"1")
    assert list(memory.objects) == ["s3://bucket/outer"]


def test_a_second_thread_can_not_begin_a_transaction_while_one_is_running(memory: MemoryS3, own: Any) -> None:
    def begin() -> None:
        try:
            own.start_transaction()
        except RuntimeError as error:
            said.append(str(error))

    said: list[str] = []
    with own.transaction:
        own.pipe_file("bucket/key", b"1")
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        own.pipe_file("bucket/other", b"2")
    assert len(said) == 1
    assert list(memory.objects) == ["s3://bucket/key", "s3://bucket/other"]


def test_a_transaction_can_be_ended_within_its_block_and_not_begun_again(memory: MemoryS3, own: Any) -> None:
    with own.transaction as transaction:
        own.pipe_file("bucket/key", b"1")
        transaction.complete()
        assert list(memory.objects) == ["s3://bucket/key"]
        with own.open("bucket/after", "wb") as file:
            file.write(b"2")
        assert list(memory.objects) == ["s3://bucket/key", "s3://bucket/after"]
    with pytest.raises(RuntimeError, match="is over"):
        transaction.start()


def test_a_file_that_another_thread_opens_while_the_transaction_ends_is_published(memory: MemoryS3, own: Any) -> None:
    def look(**_: Any) -> None:
        is_looking.set()
        assert is_over.wait(30)

    def write() -> None:
        with own.open("bucket/other", "xb") as file:
            file.write(b"2")

    is_looking, is_over = threading.Event(), threading.Event()
    client = clients.default_client()
    client.meta.events.register("before-call.s3.HeadObject", look)
    thread = threading.Thread(target=write)
    try:
        with own.transaction:
            own.pipe_file("bucket/mine", b"1")
            thread.start()
            assert is_looking.wait(30)
        is_over.set()
        thread.join(30)
    finally:
        client.meta.events.unregister("before-call.s3.HeadObject", look)
    assert memory.objects == {"s3://bucket/mine": b"1", "s3://bucket/other": b"2"}
    assert memory.unfinished == []


def test_a_transaction_that_is_begun_while_another_one_publishes_is_a_transaction_of_its_own(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: Any, **__: Any) -> None:
        is_publishing.set()
        assert may_go_on.wait(30)

    def first() -> None:
        own.start_transaction()
        own.pipe_file("bucket/first", b"1")
        own.end_transaction()

    is_publishing, may_go_on = threading.Event(), threading.Event()
    client = clients.default_client()
    client.meta.events.register("before-call.s3.CompleteMultipartUpload", wait)
    thread = threading.Thread(target=first)
    try:
        thread.start()
        assert is_publishing.wait(30)
        with pytest.raises(Boom), own.transaction:
            own.pipe_file("bucket/second", b"2")
            may_go_on.set()
            thread.join(30)
            own.pipe_file("bucket/third", b"3")
            raise Boom
    finally:
        client.meta.events.unregister("before-call.s3.CompleteMultipartUpload", wait)
    assert memory.objects == {"s3://bucket/first": b"1"}
    assert (memory.unfinished, own._intrans) == ([], False)


def test_what_is_interrupted_when_it_begins_a_transaction_has_begun_none(memory: MemoryS3, own: Any) -> None:
    class Interrupted(TogetherTransaction):
        def start(self) -> None:
            super().start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Interrupted(own):
        pass
    with own.transaction:
        own.pipe_file("bucket/key", b"1")
    assert list(memory.objects) == ["s3://bucket/key"]


def test_a_file_that_comes_to_a_transaction_that_is_not_begun_is_published_by_itself(
    memory: MemoryS3, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([own.transaction, None])
    monkeypatch.setattr("s3writer.fsspec.file_system.running_transaction_of", lambda _: next(found))
    with own.open("bucket/key", "wb") as file:
        file.write(b"1")
    assert list(memory.objects) == ["s3://bucket/key"]


def test_a_version_of_an_object_can_not_be_written(memory: MemoryS3, own: Any) -> None:
    with pytest.raises(ValueError, match="names a version, which"):
        own.open("bucket/key?versionId=1", "wb")
    assert memory.calls == []


def in_a_child(work: Callable[[], None]) -> str:
    """Fork, and let the child do ``work``. Returns what ends it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
            told = "ended"
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("ends", ["well", "with an error", "by hand"])
def test_a_forked_child_neither_publishes_nor_aborts_what_its_parent_has_written(
    fs: Any, client: Any, bucket: str, ends: str
) -> None:
    def end() -> None:
        if ends == "by hand":
            file.discard()
            file.commit()
        transaction.__exit__(*((None, None, None) if ends == "well" else (Boom, Boom(), None)))

    with fs.transaction as transaction:
        with fs.open(f"{bucket}/key", "wb") as file:
            file.write(b"12345")
        told = in_a_child(end)
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert fs.cat(f"{bucket}/key") == b"12345"
    if ends == "with an error":
        assert told == "ended"
    else:
        assert f"process {os.getpid()}; only that process can" in told


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_s_own_file_is_no_file_of_its_parent_s_transaction(fs: Any, client: Any, bucket: str) -> None:
    def write() -> None:
        with fs.transaction, fs.open(f"{bucket}/child", "wb") as file:
            file.write(b"of the child")

    over = fs.transaction
    with over:
        pass
    assert fs.transaction is not over, "this one is not begun"
    assert in_a_child(write) == "ended"
    assert fs.cat(f"{bucket}/child") == b"of the child"
    fs.rm(f"{bucket}/child")
    with fs.transaction:
        fs.pipe_file(f"{bucket}/parent", b"of the parent")
        assert in_a_child(write) == "ended"
        assert client.get_object(Bucket=bucket, Key="child")["Body"].read() == b"of the child"
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert fs.cat(f"{bucket}/parent") == b"of the parent"
