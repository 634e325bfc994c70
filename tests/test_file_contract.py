"""The io contract of a binary file that is only written, clause by clause."""

import array
import copy
import csv
import dis
import gzip
import io
import json
import os
import pickle
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import pytest

import s3writer
from s3writer import MultipartUploadWriter, NotCommittedError
from s3writer._file.intake import ROOM_BYTES, Intake
from s3writer.testing import MemoryS3
from tests.helpers import MIB, Boom, content, data, uploads, writer
from tests.stores import BUCKET
from tests.wire import Wire, delay


def test_it_is_a_raw_file_that_is_only_written(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        assert isinstance(stream, io.RawIOBase)
        assert (stream.writable(), stream.readable(), stream.seekable(), stream.isatty()) == (True, False, False, False)
        assert (stream.name, stream.mode, stream.closed) == (f"s3://{BUCKET}/{key}", "wb", False)
        assert not hasattr(stream, "getvalue")


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.fileno(),
        lambda stream: stream.seek(0),
        lambda stream: stream.truncate(),
        lambda stream: stream.read(),
        lambda stream: stream.read(5),
        lambda stream: stream.readall(),
        lambda stream: stream.readline(),
        lambda stream: stream.readlines(),
        lambda stream: stream.readinto(bytearray(5)),
        next,
    ],
    ids=["fileno", "seek", "truncate", "read", "read5", "readall", "readline", "readlines", "readinto", "next"],
)
def test_what_it_can_not_do_is_an_unsupported_operation_and_does_no_harm(client: Any, key: str, use: Any) -> None:
    with writer(client, key) as stream:
        stream.write(b"un")
        with pytest.raises(io.UnsupportedOperation):
            use(stream)
        stream.write(b"harmed")
    assert content(client, key) == b"unharmed"


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.write(b""),
        lambda stream: stream.write(b"late"),
        lambda stream: stream.write("late"),
        lambda stream: stream.write(bytearray(b"late")),
        lambda stream: stream.writelines([b"late"]),
        lambda stream: stream.flush(),
        lambda stream: stream.tell(),
        lambda stream: stream.isatty(),
        lambda stream: stream.writable(),
        lambda stream: stream.readable(),
        lambda stream: stream.seekable(),
        lambda stream: stream.readinto(bytearray(1)),
        lambda stream: stream.__enter__(),
    ],
)
def test_a_closed_writer_takes_nothing(client: Any, key: str, use: Any) -> None:
    with writer(client, key) as stream:
        stream.write(b"in time")
    with pytest.raises(ValueError, match="closed"):
        use(stream)
    stream.close()
    assert content(client, key) == b"in time"


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB, 5 * MIB + 1])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_write_returns_the_number_of_bytes_it_took_and_tell_adds_them_up(
    client: Any, key: str, kind: Any, size: int
) -> None:
    with writer(client, key) as stream:
        assert stream.write(kind(data(size))) == size
        assert stream.write(kind(b"more")) == 4
        assert stream.tell() == size + 4
    assert content(client, key) == data(size) + b"more"
    assert stream.result.size == size + 4


@pytest.mark.parametrize("times", [1, 10_000])
def test_write_counts_bytes_not_items_and_takes_any_contiguous_buffer(client: Any, key: str, times: int) -> None:
    numbers = array.array("d", [1.5, 2.5] * times)
    table = memoryview(bytes(range(12)) * times).cast("B", (3, 4 * times))
    empty = memoryview(b"").cast("d")
    with writer(client, key) as stream:
        assert stream.write(numbers) == 16 * times
        assert stream.write(table) == 12 * times
        assert stream.write(empty) == 0
    assert content(client, key) == numbers.tobytes() + bytes(range(12)) * times


@pytest.mark.parametrize("times", [1, 100_000])
def test_a_buffer_with_gaps_is_refused_before_anything_is_taken(client: Any, key: str, times: int) -> None:
    with writer(client, key) as stream:
        with pytest.raises(BufferError, match="C-contiguous"):
            stream.write(memoryview(b"gaps" * times)[::2])
        stream.write(b"whole")
    assert content(client, key) == b"whole"


@pytest.mark.parametrize("wrong", [None, 5, 2.5, ["bytes"], object()])
def test_what_is_no_buffer_is_a_type_error_and_does_no_harm(client: Any, key: str, wrong: Any) -> None:
    with writer(client, key) as stream:
        with pytest.raises(TypeError):
            stream.write(wrong)
        stream.write(b"whole")
    assert content(client, key) == b"whole"


@pytest.mark.parametrize("size", [100, 100_000, 6 * MIB])
def test_the_caller_may_reuse_its_buffer_as_soon_as_write_returns(client: Any, key: str, size: int) -> None:
    buffer = bytearray(data(size))
    with writer(client, key) as stream:
        stream.write(buffer)
        buffer[:] = bytes(size)
        buffer.extend(b"it may also grow")
    assert content(client, key) == data(size)


def test_str_is_encoded_and_counted_in_characters(client: Any, key: str) -> None:
    class Safe(str):
        """As Django's SafeString."""

    with writer(client, key) as stream:
        assert stream.write("Grüße, ") == 7
        assert stream.write(b"bytes, ") == 7
        assert stream.write(Safe("𝄞")) == 1
    assert content(client, key) == "Grüße, bytes, 𝄞".encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso2022_jp", "utf-7", "latin-1"])
def test_str_in_pieces_is_encoded_like_the_whole(client: Any, key: str, encoding: str) -> None:
    text = "Grüße" if encoding == "latin-1" else "日本語 text"
    with writer(client, key, encoding=encoding) as stream:
        for character in text:
            stream.write(character)
    assert (content(client, key) or b"").decode(encoding) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso2022_jp"])
def test_an_encoding_leaves_no_mark_where_no_str_was_written(client: Any, key: str, encoding: str) -> None:
    with writer(client, key, encoding=encoding) as stream:
        stream.write(b"abc")
    assert content(client, key) == b"abc"


def test_a_long_str_is_encoded_in_pieces(client: Any, key: str) -> None:
    text = "Grüße 𝄞 " * 200_000
    with writer(client, key, encoding="utf-16") as stream:
        assert stream.write(text) == len(text)
    assert (content(client, key) or b"").decode("utf-16") == text
    with writer(client, key) as stream:
        assert stream.write(text) == len(text)
    assert (content(client, key) or b"").decode() == text


def test_a_long_str_whose_end_can_not_be_encoded_aborts_the_upload(client: Any, key: str) -> None:
    stream = writer(client, key, encoding="ascii")
    with pytest.raises(UnicodeEncodeError):
        stream.write("x" * 300_000 + "ü")
    with pytest.raises(NotCommittedError):
        stream.write("again")
    with pytest.raises(NotCommittedError):
        stream.close()


def test_a_stateful_encoding_that_failed_publishes_no_garbage(client: Any, key: str) -> None:
    stream = writer(client, key, encoding="iso2022_jp")
    with pytest.raises(UnicodeEncodeError):
        stream.write("あ😀")
    with pytest.raises(NotCommittedError):
        stream.write("あ")
    with pytest.raises(NotCommittedError):
        stream.close()
    assert content(client, key) is None


def test_a_long_str_that_can_not_be_encoded_from_the_start_does_no_harm(client: Any, key: str) -> None:
    with writer(client, key, encoding="ascii") as stream:
        with pytest.raises(UnicodeEncodeError):
            stream.write("ü" * 300_000)
        stream.write("whole")
    assert content(client, key) == b"whole"


def test_str_that_can_not_be_encoded_is_refused_before_anything_is_taken(client: Any, key: str) -> None:
    with writer(client, key, encoding="ascii") as stream:
        with pytest.raises(UnicodeEncodeError):
            stream.write("Grüße")
        stream.write("whole")
    assert content(client, key) == b"whole"


def test_encoding_none_refuses_str(client: Any, key: str) -> None:
    with writer(client, key, encoding=None) as stream:
        with pytest.raises(TypeError, match="encoding=None"):
            stream.write("text")
        stream.write(b"bytes")
    assert content(client, key) == b"bytes"


def test_writelines_writes_all_lines(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.writelines([b"one\n", bytearray(b"two\n")])
    assert content(client, key) == b"one\ntwo\n"


def test_flush_is_an_honest_nothing(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(b"kept")
        stream.flush()
        assert content(client, key) is None
    assert content(client, key) == b"kept"


def test_repr_tells_state_and_count_at_any_time(client: Any, key: str) -> None:
    name = f"s3://{BUCKET}/{key}"
    stream = writer(client, key)
    stream.write(b"12345")
    assert repr(stream) == f"<MultipartUploadWriter {name} open, 5 bytes>"
    stream.write(data(6 * MIB))
    while "upload" not in repr(stream):  # it begins while the writer goes on
        time.sleep(0.01)
    [upload_id] = uploads(client, key)
    assert repr(stream) == f"<MultipartUploadWriter {name} open, {6 * MIB + 5} bytes, upload {upload_id}>"
    stream.close()
    assert repr(stream) == f"<MultipartUploadWriter {name} committed, {6 * MIB + 5} bytes, upload {upload_id}>"
    aborted = writer(client, key)
    aborted.abort()
    assert repr(aborted) == f"<MultipartUploadWriter {name} aborted, 0 bytes>"
    assert "not made" in repr(MultipartUploadWriter.__new__(MultipartUploadWriter))


def test_csv_and_json_write_text_through_a_wrapper(client: Any, key: str) -> None:
    rows = [["id", "name"], ["1", "Grüße\nwith a line"]]
    with io.TextIOWrapper(writer(client, key), encoding="utf-8", newline="") as text:
        csv.writer(text).writerows(rows)
    stored = (content(client, key) or b"").decode()
    assert list(csv.reader(io.StringIO(stored, newline=""))) == rows
    with writer(client, key) as stream:
        json.dump({"rows": rows}, stream)
    assert json.loads(content(client, key) or b"") == {"rows": rows}


def test_a_zip_file_written_to_it_can_be_read(client: Any, key: str) -> None:
    with writer(client, key) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "Grüße")
        archive.writestr("b.bin", data(6 * MIB))
    with zipfile.ZipFile(io.BytesIO(content(client, key) or b"")) as archive:
        assert archive.testzip() is None
        assert archive.read("a.txt").decode() == "Grüße"
        assert archive.read("b.bin") == data(6 * MIB)


class Unclosing:
    """A file that somebody else closes, as one finds it around."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_a_wrapper_holds_back_until_it_dies_is_taken_if_it_does_not_close(
    client: Any, key: str, compression: Any
) -> None:
    line, told = "a row of a table\n" * 300, 0
    with s3writer.open(f"s3://{BUCKET}/{key}", client=client, compression=compression) as stream:
        for _ in range(1500):
            io.TextIOWrapper(Unclosing(stream)).write(line)
            told += len(line)
            assert stream.tell() == told
    body = content(client, key) or b""
    assert (gzip.decompress(body) if compression else body).decode() == line * 1500


def test_text_that_is_longer_in_bytes_than_the_room_for_it_goes_in_whole(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(bytes(ROOM_BYTES - 150))
        assert stream.write("ä" * 100) == 100
    assert content(client, key) == bytes(ROOM_BYTES - 150) + "ä".encode() * 100


def test_no_thread_can_come_between_the_room_of_a_write_and_its_bytes() -> None:
    instructions = [one for one in dis.get_instructions(MultipartUploadWriter.write) if one.opname != "CACHE"]
    checked = 0
    for start, first in enumerate(instructions):
        subtracted = [one.opname for one in instructions[start + 1 : start + 4]]
        if first.argval == "_room" and first.opname == "LOAD_ATTR" and "BINARY_OP" in subtracted:
            names = [one.opname for one in instructions[start:]]
            between = instructions[start : start + names.index("CALL")]
            assert "_put" in [one.argval for one in between]
            assert not [one for one in between if "BACKWARD" in one.opname]
            checked += 1
    assert checked == 2


def test_several_threads_may_write_and_each_write_goes_in_whole(client: Any, key: str) -> None:
    def write(number: int) -> None:
        for _ in range(4000):
            stream.write(bytes([number]) * 999)
            stream.write(bytearray([number]) * 999)
        for _ in range(40):
            stream.write(bytearray([number]) * 99_900)

    with writer(client, key) as stream:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    stored = content(client, key) or b""
    assert len(stored) == 4 * (4000 * 2 * 999 + 40 * 99_900)
    pieces = {stored[start : start + 999] for start in range(0, len(stored), 999)}
    assert pieces == {bytes([number]) * 999 for number in range(4)}


def test_a_call_from_within_its_own_call_is_an_error_and_not_a_deadlock(client: Any, key: str) -> None:
    def write_again(_: int) -> None:
        stream.write(data(6 * MIB))

    stream = writer(client, key, progress=write_again, max_concurrency=1)
    with pytest.raises(RuntimeError, match="within its own call"):
        for _ in range(4):
            stream.write(data(6 * MIB))
    assert uploads(client, key) == []
    with pytest.raises(NotCommittedError):
        stream.close()


def test_an_abort_from_within_a_write_is_refused_and_the_writer_goes_on(client: Any, key: str) -> None:
    def cancel(_: int) -> None:
        with pytest.raises(RuntimeError, match="within its own call"):
            stream.abort()

    with writer(client, key, progress=cancel, max_concurrency=1) as stream:
        for number in range(4):
            stream.write(data(5 * MIB, seed=number))
        assert not stream.closed
    assert content(client, key) == b"".join(data(5 * MIB, seed=number) for number in range(4))


def test_of_two_threads_that_close_one_publishes_and_neither_fails(client: Any, key: str) -> None:
    Wire(client).on("PutObject", delay(0.3))
    stream = writer(client, key)
    stream.write(b"once")
    with ThreadPoolExecutor(2) as pool:
        for closing in [pool.submit(stream.close), pool.submit(stream.close)]:
            closing.result()
    assert content(client, key) == b"once"


def test_a_worker_that_logs_into_the_writer_is_refused_and_does_not_wait_for_ever(client: Any, key: str) -> None:
    refused: list[BaseException] = []

    def log(**_: Any) -> None:
        try:
            stream.write(bytearray(100_000))
        except RuntimeError as error:
            refused.append(error)

    client.meta.events.register("before-send.s3.UploadPart", log)
    with writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert len(refused) == 2
    assert content(client, key) == data(6 * MIB)


def test_tell_counts_each_byte_once_also_within_progress(client: Any, key: str) -> None:
    seen: list[int] = []
    stream: MultipartUploadWriter = writer(
        client, key, progress=lambda _: seen.append(stream.tell()), max_concurrency=1
    )
    with stream:
        for number in range(1, 6):
            stream.write(data(4 * MIB))
            assert stream.tell() == number * 4 * MIB
    assert max(seen) == 20 * MIB


def test_a_closed_writer_lets_go_of_its_memory(client: Any, key: str) -> None:
    with writer(client, key, part_size=30 * MIB) as stream:
        stream.write(bytes(20 * MIB))
    assert stream._intake._part._memory.touched == 0
    put: Any = stream._put
    assert put.__self__ is stream._intake._part._memory


def test_a_writer_can_be_neither_copied_nor_pickled(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(b"one")
        duplicates: list[Any] = [copy.copy, copy.deepcopy, pickle.dumps]
        for duplicate in duplicates:
            with pytest.raises(TypeError, match="cannot pickle or copy"):
                duplicate(stream)
    assert content(client, key) == b"one"


def test_a_write_of_a_subclass_is_called_once(client: Any, key: str) -> None:
    class Counting(MultipartUploadWriter):
        calls = 0

        def write(self, data: Any, /) -> int:
            self.calls += 1
            return super().write(data)

    with Counting(BUCKET, key, client=client) as stream:
        stream.write("text")
        stream.write(b"bytes")
    assert stream.calls == 2


def test_a_write_that_was_interrupted_after_it_took_its_bytes_kills_the_writer(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = writer(client, key)
    copy = Intake._copy

    def copy_then_interrupt(self: Intake, view: memoryview) -> None:
        copy(self, view)
        raise Boom

    with monkeypatch.context() as patch:
        patch.setattr(Intake, "_copy", copy_then_interrupt)
        with pytest.raises(Boom):
            stream.write(bytearray(100_000))
    with pytest.raises(NotCommittedError):
        stream.write(b"taken")
    with pytest.raises(NotCommittedError):
        stream.close()
    assert content(client, key) is None


def test_a_pipe_can_be_copied_into_it(client: Any, key: str) -> None:
    import shutil

    source, sink = os.pipe()
    with os.fdopen(source, "rb") as reader, os.fdopen(sink, "wb") as feeder:
        feeder.write(data(60_000))
        feeder.close()
        with writer(client, key) as stream:
            shutil.copyfileobj(reader, stream)
    assert content(client, key) == data(60_000)


def test_progress_tells_each_byte_once_from_the_writing_thread(client: Any, key: str) -> None:
    calls: list[tuple[int, threading.Thread]] = []
    size = 23 * MIB
    with writer(client, key, progress=lambda n: calls.append((n, threading.current_thread()))) as stream:
        stream.write(data(size))
    assert sum(count for count, _ in calls) == size
    assert {thread for _, thread in calls} == {threading.current_thread()}
    calls.clear()
    with writer(client, key, progress=lambda n: calls.append((n, threading.current_thread()))) as stream:
        stream.write(b"small")
        assert calls == []
    assert [count for count, _ in calls] == [5]


def test_progress_that_raises_after_publishing_is_logged(
    client: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: int) -> None:
        raise Boom

    with writer(client, key, progress=fail) as stream:
        stream.write(b"small")
    assert content(client, key) == b"small"
    assert "progress raised after" in caplog.text


def test_progress_that_raises_aborts_the_upload(client: Any, key: str) -> None:
    def fail(_: int) -> None:
        raise Boom

    with pytest.raises(Boom), writer(client, key, progress=fail) as stream:
        stream.write(data(6 * MIB))
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize("how", [None, "gzip"])
def test_a_long_text_goes_in_whole_while_another_thread_writes(how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryS3(BUCKET) as s3, s3writer.open(f"s3://{BUCKET}/key", compression=how) as stream:
        other = threading.Thread(target=stream.write, args=(b"#",))
        encode, pieces = stream._encode, []

        def encode_while_the_other_writes(text: str) -> bytes:
            pieces.append(text)
            if len(pieces) == 2:
                other.start()
                other.join(0.3)
            return encode(text)

        monkeypatch.setattr(stream, "_encode", encode_while_the_other_writes)
        stream.write("é" * 1_000_000)
        other.join()
    stored = s3.objects[f"s3://{BUCKET}/key"]
    assert (gzip.decompress(stored) if how else stored) == ("é" * 1_000_000).encode() + b"#"


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda file: file.read(), io.UnsupportedOperation, "{url} is open for writing only: to read the object, "),
        (lambda file: file.readline(), io.UnsupportedOperation, "{url} is open for writing only: to read the object, "),
        (lambda file: file.readall(), io.UnsupportedOperation, "{url} is open for writing only: to read the object, "),
        (lambda file: file.seek(0), io.UnsupportedOperation, "{url} can't seek: S3 takes the bytes in order. A prod"),
        (lambda file: file.truncate(), io.UnsupportedOperation, "{url} can't be truncated: S3 takes the bytes in ord"),
        (lambda file: file.fileno(), io.UnsupportedOperation, "{url} has no file descriptor: only Python code in thi"),
        (lambda file: file.write(5), TypeError, "write() takes bytes, another buffer or str, not int"),
        (lambda file: file.write(None), TypeError, "write() takes bytes, another buffer or str, not NoneType"),
        (lambda file: file.writelines([b"", [1]]), TypeError, "write() takes bytes, another buffer or str, not list"),
        (lambda file: file.result, ValueError, "{url} has no result: it is not published yet: close the writer first"),
    ],
)
def test_what_a_writer_can_not_do_is_refused_with_what_to_do(call: Any, kind: type[Exception], message: str) -> None:
    with MemoryS3(BUCKET) as s3:
        with MultipartUploadWriter(BUCKET, "key") as stream:
            stream.write(b"before ")
            with pytest.raises(kind) as caught:
                call(stream)
            assert str(caught.value).startswith(message.format(url=f"s3://{BUCKET}/key"))
            stream.write(b"after")
        assert s3.objects == {f"s3://{BUCKET}/key": b"before after"}
        assert stream.result.size == 12


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (MultipartUploadWriter.abort, "it was not published"),
        (
            MultipartUploadWriter.prepare,
            "it was prepared: the result is what PendingUpload.commit returns",
        ),
    ],
    ids=["aborted", "prepared"],
)
def test_a_writer_without_a_result_says_why(end: Any, why: str) -> None:
    with MemoryS3(BUCKET), MultipartUploadWriter(BUCKET, "key") as stream:
        end(stream)
        with pytest.raises(ValueError, match=f"^s3://{BUCKET}/key has no result: {why}$"):
            _ = stream.result


@pytest.mark.parametrize(
    ("size", "call"), [(5, "PutObject"), (6 * MIB, "UploadPart"), (6 * MIB, "CompleteMultipartUpload")]
)
def test_a_writer_that_is_being_published_has_no_result_yet(size: int, call: str) -> None:
    def look(**event: Any) -> None:
        with pytest.raises(ValueError, match="has no result") as caught:
            _ = stream.result
        said.append(str(caught.value))

    said: list[str] = []
    with MemoryS3(BUCKET) as s3:
        s3.client.meta.events.register_first(f"before-send.s3.{call}", look)
        stream = MultipartUploadWriter(BUCKET, "key")
        stream.write(bytes(size))
        stream.close()
    assert said[-1] == f"s3://{BUCKET}/key has no result: it is being published"
    assert stream.result.size == size


def test_a_writer_is_a_binary_io_at_runtime_too() -> None:
    with MemoryS3(BUCKET), MultipartUploadWriter(BUCKET, "key") as stream:
        assert isinstance(stream, BinaryIO)
        assert isinstance(stream, io.RawIOBase)
        assert (stream.isatty(), stream.mode, stream.name) == (False, "wb", f"s3://{BUCKET}/key")
