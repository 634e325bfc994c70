"""`s3writer.open`: the built-in ``open``, but for a URL; and compression on the way."""

import bz2
import gzip
import io
import lzma
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import zstandard

import s3writer
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, logged, uploads
from tests.stores import BUCKET

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
}
SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".GZ": "gzip"}


def url(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


def unpacked(client: Any, key: str, how: str) -> bytes:
    stored = content(client, key)
    assert stored is not None
    return UNPACK[how](stored)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "UTF16", "utf-32", "utf-16-le"])
def test_open_marks_a_text_as_the_built_in_open_does(client: Any, key: str, tmp_path: Path, encoding: str) -> None:
    with s3writer.open(f"s3://{BUCKET}/{key}", "w", encoding=encoding, client=client) as stored:
        stored.write("Grüße")
    with (tmp_path / "text").open("w", encoding=encoding) as on_disk:
        on_disk.write("Grüße")
    assert content(client, key) == (tmp_path / "text").read_bytes()


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_text_is_closed_without_a_search_for_wrappers_unless_it_is_long(
    client: Any, key: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[object] = []
    monkeypatch.setattr("s3writer._file.close_rule.unfinished", lambda file, _: searched.append(file))
    with s3writer.open(f"s3://{BUCKET}/{key}", "w", client=client) as text:
        text.write("x" * size)
    assert len(searched) == (size > 5 * MIB)


def test_an_interrupt_while_text_is_opened_leaves_no_writer_open(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[s3writer.MultipartUploadWriter] = []

    def interrupted(writer: s3writer.MultipartUploadWriter, *_: object, **__: object) -> None:
        made.append(writer)
        raise KeyboardInterrupt

    monkeypatch.setattr("s3writer._file.open.io.TextIOWrapper", interrupted)
    with pytest.raises(KeyboardInterrupt):
        s3writer.open(url(key), "w", client=client)
    assert [writer.closed for writer in made] == [True]
    assert content(client, key) is None


def test_open_takes_a_url_and_the_modes_of_writing(client: Any, key: str) -> None:
    odd = f"{key}?not=a query#nor a fragment"
    with s3writer.open(f"s3://{BUCKET}/{odd}", client=client) as stream:
        assert stream.mode == "wb"
        stream.write(b"bytes")
    assert content(client, odd) == b"bytes"
    with s3writer.open(f"s3://{BUCKET}/{key}", "w", newline="\r\n", client=client) as text:
        assert isinstance(text, io.TextIOWrapper)
        text.write("Grüße\n")
    assert content(client, key) == "Grüße\r\n".encode()
    for mode in ("xb", "x"):
        exclusive: Any = s3writer.open
        with pytest.raises(FileExistsError), exclusive(f"s3://{BUCKET}/{key}", mode, client=client):
            pass
    assert content(client, key) == "Grüße\r\n".encode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s3://bucket/key", "rb"), "mode='rb' would read the object: do that with boto3's get_object. "),
        (("s3://bucket/key", "r"), "mode='r' would read .* To write, use 'wb' or 'xb' for bytes, 'w' or 'x' for text"),
        (("s3://bucket/key", "w+b"), r"mode='w\+b' would read the object"),
        (
            ("s3://bucket/key", "ab"),
            "mode='ab' would append, but S3 only replaces an object as a whole. To write, use 'wb'",
        ),
        (("s3://bucket/key", "U"), "mode='U' is unknown. To write, use 'wb' or 'xb' for bytes, 'w' or 'x' for text"),
        (("https://bucket/key",), "not of the form s3://bucket/key"),
        (("s3://bucket",), "not of the form s3://bucket/key"),
        (("s3://bucket/",), "url='s3://bucket/' has no key: give s3://bucket/key"),
    ],
)
def test_open_refuses_what_it_can_not_open(client: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        s3writer.open(*arguments, client=client)


def test_open_refuses_what_is_no_url_and_no_encoding(client: Any) -> None:
    untyped: Any = s3writer.open
    with pytest.raises(TypeError, match="url must be a str, not PurePosixPath"):
        untyped(PurePosixPath("s3:/bucket/key"), client=client)
    with pytest.raises(LookupError, match="nope"):
        untyped("s3://bucket/key", "w", encoding="nope", client=client)
    with pytest.raises(ValueError, match="newline"):
        untyped("s3://bucket/key", "w", newline="bad", client=client)


def test_open_refuses_text_options_for_bytes(client: Any) -> None:
    untyped: Any = s3writer.open
    with pytest.raises(ValueError, match="for text, not for mode='wb'"):
        untyped("s3://bucket/key", "wb", encoding="latin-1", client=client)


def test_open_takes_text_in_the_modes_that_say_so(client: Any, key: str) -> None:
    with s3writer.open(url(key), "wt", client=client) as text:
        text.write("Grüße")
    assert content(client, key) == "Grüße".encode()
    with pytest.raises(s3writer.KeyExistsError), s3writer.open(url(key), "xt", client=client):
        pass


def test_exclusive_may_be_said_in_full(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    with pytest.raises(s3writer.KeyExistsError), s3writer.open(url(key), "wb", exclusive=True, client=client):
        pass
    assert content(client, key) == b"old"


@pytest.mark.parametrize("how", UNPACK)
def test_what_is_compressed_by_name_unpacks_to_what_was_written(client: Any, key: str, how: Any) -> None:
    written = data(MIB) * 3
    with s3writer.open(url(key), compression=how, client=client) as stream:
        assert stream.write(written) == len(written)
        assert stream.write("Grüße") == 5
        assert stream.tell() == len(written) + 7
    assert unpacked(client, key, how) == written + "Grüße".encode()
    assert stream.result.size == len(content(client, key) or b"")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_is_compressed_by_the_key_s_suffix(client: Any, key: str, suffix: str) -> None:
    with s3writer.open(url(key + suffix), "w", newline="\r\n", encoding="utf-16", client=client) as text:
        text.write("Grüße\n" * 10_000)
    assert unpacked(client, key + suffix, SUFFIXES[suffix]) == ("Grüße\r\n" * 10_000).encode("utf-16")


def test_bytes_are_compressed_by_the_suffix_only_if_asked(client: Any, key: str) -> None:
    packed = gzip.compress(b"already compressed")
    with s3writer.open(url(f"{key}.gz"), client=client) as stream:
        stream.write(packed)
    assert content(client, f"{key}.gz") == packed
    with s3writer.open(url(f"{key}.gz"), compression="infer", client=client) as stream:
        stream.write(b"not yet")
    assert unpacked(client, f"{key}.gz", "gzip") == b"not yet"


@pytest.mark.parametrize(("mode", "how"), [("w", None), ("wb", "infer"), ("wb", None)])
def test_what_has_no_suffix_or_none_asked_for_is_stored_as_it_is(client: Any, key: str, mode: Any, how: Any) -> None:
    suffix = "" if how == "infer" else ".gz"
    with s3writer.open(url(key + suffix), mode, compression=how, client=client) as stream:
        stream.write("plain")
    assert content(client, key + suffix) == b"plain"


def test_an_empty_text_is_a_whole_archive(client: Any, key: str) -> None:
    with s3writer.open(url(f"{key}.gz"), "w", client=client):
        pass
    assert unpacked(client, f"{key}.gz", "gzip") == b""


def test_many_parts_of_compressed_bytes_unpack_to_what_was_written(client: Any, key: str) -> None:
    block = bytes(data(MIB, seed=1))
    with s3writer.open(url(key), compression="gzip", client=client) as stream:
        for number in range(13):
            stream.write(data(MIB, seed=number) if number % 2 else memoryview(block))
    assert stream.result.parts > 1
    expected = b"".join(data(MIB, seed=number) if number % 2 else block for number in range(13))
    assert unpacked(client, key, "gzip") == expected


def test_one_write_of_any_size_is_compressed_piece_by_piece(client: Any, key: str) -> None:
    large = bytes(64 * MIB)
    tracemalloc.start()
    with s3writer.open(url(key), compression="gzip", client=client) as stream:
        stream.write(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB
    assert unpacked(client, key, "gzip") == large


def test_a_closed_archive_lets_go_of_its_compressor(client: Any, key: str) -> None:
    with s3writer.open(url(key), compression="gzip", client=client) as stream:
        stream.write(b"row\n" * 10)
        assert repr(stream).endswith(" open, 40 bytes>")
    stage = stream._intake._stage
    assert stage is not None
    assert stage._compressor is None
    assert repr(stream).endswith(" committed, 40 bytes>")


def test_threads_may_write_to_one_archive(client: Any, key: str) -> None:
    lines = [f"{number:07}\n".encode() * 50 for number in range(400)]
    with s3writer.open(url(key), compression="gzip", client=client) as stream:

        def write(mine: list[bytes]) -> None:
            for line in mine:
                stream.write(line)

        threads = [threading.Thread(target=write, args=(lines[start::4],)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(unpacked(client, key, "gzip").splitlines()) == sorted(b"".join(lines).splitlines())


@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_an_exception_halfway_publishes_no_archive(client: Any, key: str, how: Any, mode: Any) -> None:
    random = data(7 * MIB).hex()
    with pytest.raises(Boom), s3writer.open(url(key), mode, compression=how, client=client) as stream:
        stream.write(random)
        raise Boom
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_an_archive_that_is_dropped_is_not_published(client: Any, key: str, mode: Any) -> None:
    stream: Any = s3writer.open(url(key), mode, compression="gzip", client=client)
    stream.write("dropped")
    with logged() as messages, pytest.warns(ResourceWarning, match="never closed"):
        del stream
    join_aborts()
    assert len(messages) == 1
    assert content(client, key) is None


def test_a_prepared_archive_is_whole(client: Any, key: str) -> None:
    with s3writer.open(url(key), compression="xz", client=client) as stream:
        stream.write(b"later")
        pending = stream.prepare()
    pending.commit(client=client)
    assert unpacked(client, key, "xz") == b"later"


def test_a_compressor_that_fails_aborts_the_upload(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = s3writer.open(url(key), compression="bz2", client=client)
    stage = stream._intake._stage
    assert stage is not None
    assert stage._compressor is not None
    stage._compressor.flush()  # it takes nothing after its end
    with pytest.raises(ValueError, match="flush"):
        stream.write(bytes(300_000))
    with pytest.raises(s3writer.AbortedError):
        stream.write(b"again")
    with pytest.raises(s3writer.AbortedError):
        stream.close()
    assert content(client, key) is None


def test_a_compression_that_is_not_known_is_named_with_those_that_are(client: Any) -> None:
    untyped: Any = s3writer.open
    for wrong, hint in [
        ("gz", "did you mean 'gzip'?"),
        (".gz", "did you mean 'gzip'?"),
        ("GZIP", "did you mean 'gzip'?"),
        ("zst", "did you mean 'zstd'?"),
        ("bzip2", "did you mean 'bz2'?"),
        ("lz77", "use 'gzip', 'bz2', 'xz', 'zstd'"),
        (5, "use 'gzip', 'bz2', 'xz', 'zstd'"),
    ]:
        with pytest.raises(ValueError, match=re.escape(f"compression={wrong!r} is unknown: {hint}")):
            untyped("s3://bucket/key", compression=wrong, client=client)
    with pytest.raises(TypeError, match="mode must be a str, not int"):
        untyped("s3://bucket/key", 3, client=client)


def test_a_missing_package_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"pip install 's3writer\[zstd\]'"):
        s3writer.open("s3://bucket/key.zst", "w", client=client)


@pytest.mark.parametrize("how", [None, "gzip"])
def test_a_text_holds_nothing_back_from_its_buffer(client: Any, key: str, how: Any) -> None:
    with s3writer.open(url(key), "w", compression=how, client=client) as text:
        text.write("row 1\n")
        pending = text.buffer.prepare()
    pending.commit(client=client)
    assert (unpacked(client, key, "gzip") if how else content(client, key)) == b"row 1\n"
    with s3writer.open(url(key), "w", compression=how, client=client) as text:
        text.write("row 2\n")
        text.buffer.commit()
    assert (unpacked(client, key, "gzip") if how else content(client, key)) == b"row 2\n"


@pytest.mark.parametrize("how", [None, "gzip"])
def test_threads_may_write_to_one_text(client: Any, key: str, how: Any) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with s3writer.open(url(key), "w", compression=how, client=client) as text:

            def write(letter: str) -> None:
                for _ in range(5000):
                    text.write(letter * 98 + "\n")

            threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    stored = unpacked(client, key, "gzip") if how else content(client, key)
    assert stored is not None
    assert sorted(stored.splitlines()) == [letter.encode() * 98 for letter in "abcd" for _ in range(5000)]


@pytest.mark.parametrize("how", UNPACK)
def test_small_writes_are_gathered_and_none_is_lost(client: Any, key: str, how: Any) -> None:
    with s3writer.open(url(key), compression=how, client=client) as stream:
        for number in range(20_000):
            stream.write(b"%d\n" % number)
            if number % 5000 == 0:
                stream.write(bytes(300_000))
        assert stream.tell() == 1_308_890
    lines = [b"%d\n" % number + bytes(300_000) * (number % 5000 == 0) for number in range(20_000)]
    assert unpacked(client, key, how) == b"".join(lines)


@pytest.mark.parametrize("how", UNPACK)
def test_a_text_of_which_a_part_was_taken_before_it_could_not_be_encoded_is_not_published(
    client: Any, key: str, how: Any
) -> None:
    with s3writer.open(url(key), compression=how, client=client) as stream:
        stream.write(b"x")
        with pytest.raises(UnicodeEncodeError):
            stream.write("a" * 300_000 + "\ud800")
        with pytest.raises(s3writer.AbortedError):
            stream.write("skipped a bad row\n")
        with pytest.raises(s3writer.AbortedError):
            stream.close()
    assert content(client, key) is None


def test_a_compressed_upload_can_not_be_kept(client: Any) -> None:
    with pytest.raises(ValueError, match="on_error='keep' does not work with a compression"):
        s3writer.open("s3://bucket/key", compression="gzip", on_error="keep", client=client)


def test_bytes_may_refuse_text(client: Any, key: str) -> None:
    with s3writer.open(url(key), encoding=None, client=client) as stream:
        with pytest.raises(TypeError, match="takes bytes only"):
            stream.write("text")
        stream.write(b"bytes")
    assert content(client, key) == b"bytes"
