"""What a type checker makes of code that uses this package: mypy and pyright read this file, nobody runs it."""

import csv
import gzip
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from datetime import timedelta
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, Unpack, assert_type

import s3writer
from s3writer import (
    CleanupRule,
    KeyExistsError,
    MultipartUploadWriter,
    NotCommittedError,
    OutcomeUnknownError,
    PendingUpload,
    S3WriterError,
    UnfinishedUpload,
    UploadResult,
)
from s3writer.options import WriterOptions
from s3writer.testing import MemoryS3

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


def a_writer_is_a_binary_file() -> None:
    with MultipartUploadWriter("bucket", "key", ContentType="text/csv", max_memory=64 * 1024**2) as stream:
        assert_type(stream, MultipartUploadWriter)
        assert_type(stream.write(b"bytes"), int)
        stream.write("text")
        stream.write(memoryview(b"view"))
        shutil.copyfileobj(io.BytesIO(b"more"), stream)
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("name", b"content")
        with gzip.GzipFile(fileobj=stream, mode="wb") as packed:
            packed.write(b"packed")
        with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
            csv.writer(text).writerow([1, 2])
    assert_type(stream.result, UploadResult)
    assert_type(stream.result.version_id, str | None)


def open_tells_bytes_from_text(mode: Literal["w", "wb"]) -> None:
    with s3writer.open("s3://bucket/key") as stream:
        assert_type(stream, MultipartUploadWriter)
    with s3writer.open("s3://bucket/key", "xb", compression="gzip", exclusive=True) as exclusive:
        assert_type(exclusive, MultipartUploadWriter)
    with s3writer.open("s3://bucket/key.gz", "wt", encoding="utf-8", newline="") as text:
        assert_type(text, "io.TextIOWrapper[MultipartUploadWriter]")
        csv.writer(text).writerow([1, 2])
    assert_type(text.buffer.result, UploadResult)
    assert_type(
        s3writer.open("s3://bucket/key", mode),
        "MultipartUploadWriter | io.TextIOWrapper[MultipartUploadWriter]",
    )
    s3writer.open("s3://bucket/key", encoding=None, checksum="SHA256", on_error="keep", StorageClass="STANDARD_IA")
    s3writer.open("s3://bucket/key", "xt", compression="infer", max_memory=64 * 1024**2, Metadata={"name": "value"})


def options_are_passed_on(url: str, **options: Unpack[WriterOptions]) -> MultipartUploadWriter:
    return s3writer.open(url, "xb", **options)


def a_writer_goes_where_files_go(stream: MultipartUploadWriter) -> None:
    binary: BinaryIO = stream
    binary_too: IO[bytes] = stream
    raw: io.RawIOBase = stream
    either: IO[bytes] | IO[str] = stream
    writes: SupportsWrite[bytes] = stream
    text: IO[str] = io.TextIOWrapper(stream)
    json.dump([binary, binary_too, raw, either, writes], text)
    with tarfile.open(fileobj=stream, mode="w|gz") as archive:
        archive.add("name")
    with io.BufferedWriter(stream) as buffered:
        pickle.dump("anything", buffered)
    pickle.dump("anything", stream)


def later(stream: MultipartUploadWriter) -> None:
    pending = stream.prepare()
    assert_type(pending, PendingUpload)
    assert_type(pending.result, UploadResult | None)
    assert_type(PendingUpload.from_json(pending.to_json()).commit(), UploadResult)
    assert_type(s3writer.commit_all([pending]), list[UploadResult])


def again(source: BinaryIO) -> None:
    with MultipartUploadWriter.resume("bucket", "key", "upload", verify=source, on_error="abort") as stream:
        assert_type(stream, MultipartUploadWriter)


def cleaning_up() -> None:
    for upload in s3writer.list_uploads("bucket", "prefix/"):
        assert_type(upload, UnfinishedUpload)
        assert_type(upload.age, timedelta)
    assert_type(s3writer.abort_uploads("bucket", older_than=timedelta(days=2)), list[UnfinishedUpload])
    assert_type(s3writer.cleanup_rules("bucket"), list[CleanupRule])


def what_went_wrong() -> None:
    try:
        MultipartUploadWriter("bucket", "key").close()
    except KeyExistsError as error:
        assert_type(error.upload_id, str | None)
        exists: FileExistsError = error
        raise exists from None
    except NotCommittedError as error:
        failed: OSError = error
        raise failed from None
    except OutcomeUnknownError as error:
        assert_type(error.token, str | None)
        unknown: S3WriterError = error
        raise unknown from None


def testing() -> None:
    with MemoryS3("bucket") as s3:
        s3.refuse("UploadPart", "SlowDown", nth=2)
        assert_type(s3, MemoryS3)
        assert_type(s3.objects, dict[str, bytes])
