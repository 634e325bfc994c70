"""`open`: a writer for people with a URL."""

import codecs
import io
from dataclasses import dataclass
from typing import Any, Literal, Unpack, overload

from s3writer._file import compression as stages
from s3writer._file.stream import compressing
from s3writer._file.writer import MultipartUploadWriter
from s3writer.options import Compression, WriterOptions

SCHEME = "s3://"
#: The modes, whatever the order of their letters.
_BYTES = {"bw", "bx"}
_TEXT = {"w", "tw", "x", "tx"}
#: What ``io.TextIOWrapper`` takes as ``newline``.
_NEWLINES = (None, "", "\n", "\r", "\r\n")

#: ``io.TextIOWrapper`` writes the byte order mark of these encodings to seekable files only, so `open` writes the mark.
_MARKED = {"utf-16", "utf-32"}


@overload
def open(
    url: str,
    mode: Literal["wb", "xb", "bw", "bx"] = "wb",
    *,
    encoding: Literal["utf-8"] | None = "utf-8",
    compression: Compression = "auto",
    **options: Unpack[WriterOptions],
) -> MultipartUploadWriter: ...
@overload
def open(
    url: str,
    mode: Literal["w", "x", "wt", "xt", "tw", "tx"],
    *,
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    newline: str | None = None,
    compression: Compression = "auto",
    **options: Unpack[WriterOptions],
) -> "io.TextIOWrapper[MultipartUploadWriter]": ...
def open(
    url: str,
    mode: str = "wb",
    *,
    encoding: str | None = "utf-8",
    errors: str | None = None,
    newline: str | None = None,
    compression: str | None = "auto",
    **options: Any,
) -> "MultipartUploadWriter | io.TextIOWrapper[MultipartUploadWriter]":
    """Open ``s3://bucket/key`` for writing, as the built-in ``open`` would.

    Parameters:
        url: everything after ``s3://bucket/`` is the key, unchanged.
        mode: "wb" (the default, other than with the built-in ``open``) returns a `MultipartUploadWriter`. "w" or "wt"
            returns an ``io.TextIOWrapper`` around one. The wrapper buffers nothing, so you can commit or prepare its
            ``buffer`` at any time. "xb", "x" and "xt" publish only if the key does not exist.
        encoding, errors, newline: for text modes, as in the built-in ``open``, but the default encoding is UTF-8.
            UTF-16 and UTF-32 begin with a byte order mark, which ``io.TextIOWrapper`` alone would leave out. In binary
            modes, ``encoding=None`` refuses ``str``.
        compression: "gzip", "bz2", "xz", "zstd" (needs ``s3writer[zstd]``) or None. "infer" goes by the key's suffix:
            ".gz", ".bz2", ".xz" or ".zst". "auto" does that in text modes; in binary modes it does not compress, since
            the bytes may be compressed already.
        **options: those of `MultipartUploadWriter`.

    Raises ValueError or TypeError for an impossible URL, mode or option, LookupError for an unknown encoding, and
    ImportError if a package is missing for a compression.

    """
    writer, text = begin(
        url, mode, encoding=encoding, errors=errors, newline=newline, compression=compression, options=options
    )
    return writer if text is None else wrapped(writer, text)


@dataclass(frozen=True, slots=True)
class Text:
    """How the characters of a text file become bytes. The values are those of ``io.TextIOWrapper``."""

    encoding: str
    errors: str
    newline: str | None


def text_of(encoding: str | None, errors: str | None, newline: str | None) -> Text:
    """`Text` with the built-in ``open``'s defaults, but UTF-8. ValueError, LookupError or TypeError for an unknown
    value.
    """
    text = Text(encoding or "utf-8", errors or "strict", newline)
    "".encode(text.encoding)
    codecs.lookup_error(text.errors)
    if newline not in _NEWLINES:
        raise ValueError(f"newline={newline!r} is unknown: use one of {', '.join(map(repr, _NEWLINES))}")
    return text


def begin(
    url: str,
    mode: str,
    *,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    compression: str | None,
    options: dict[str, Any],
) -> tuple[MultipartUploadWriter, Text | None]:
    """The writer that `open` makes, and how text becomes its bytes; None in binary modes. Raises as `open` does."""
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a str, not {type(mode).__name__}")
    bucket, key = parsed(url)
    letters = "".join(sorted(mode))
    if letters not in _BYTES | _TEXT:
        raise ValueError(
            f"mode={mode!r} {_why_not(letters)}. To write, use 'wb' or 'xb' for bytes, 'w' or 'x' for text"
        )
    text = None
    if letters in _TEXT:
        text = text_of(encoding, errors, newline)
    elif encoding not in ("utf-8", None) or (errors, newline) != (None, None):
        raise ValueError(f"encoding, errors and newline are for text, not for mode={mode!r}: use 'w' or 'x'")
    else:
        options["encoding"] = encoding
    if compression == "infer" or (compression == "auto" and text is not None):
        compression = stages.promised_by(key)
    elif compression == "auto":
        compression = None
    options["exclusive"] = "x" in mode or options.get("exclusive", False)
    return _writer(bucket, key, compression, options), text


def _writer(bucket: str, key: str, compression: str | None, options: dict[str, Any]) -> MultipartUploadWriter:
    if compression is None:
        return MultipartUploadWriter(bucket, key, **options)
    stage = stages.stage(compression, options.get("on_error"))
    return compressing(MultipartUploadWriter(bucket, key, **options), stage)


def _why_not(letters: str) -> str:
    """What is wrong with a mode of these letters."""
    if "+" in letters or letters.strip("bt") == "r":
        return "would read the object: do that with boto3's get_object"
    if letters.strip("bt") == "a":
        return "would append, but S3 only replaces an object as a whole"
    return "is unknown"


def wrapped(writer: MultipartUploadWriter, how: Text) -> "io.TextIOWrapper[MultipartUploadWriter]":
    """A text file that holds nothing back from ``writer``. If the encoding has a byte order mark, it is written."""
    try:
        text = io.TextIOWrapper(writer, how.encoding, how.errors, how.newline, write_through=True)
        if codecs.lookup(how.encoding).name in _MARKED:
            writer.write("".encode(how.encoding))
        writer.was_asked = False  # by this wrapper, which holds nothing back
        return text
    except BaseException:
        writer.abort()
        raise


def parsed(url: str, *, needs_key: bool = True) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URL. TypeError or ValueError for anything else."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    bucket, separator, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not separator:
        raise ValueError(f"url={url!r} is not of the form s3://bucket/key")
    if not bucket:
        raise ValueError(f"url={url!r} has no bucket: give s3://bucket/key")
    if needs_key and not key:
        raise ValueError(f"url={url!r} has no key: give s3://bucket/key")
    return bucket, key
