"""`open`: a writer for people with a URL."""

import codecs
import io
from typing import Any, Literal, overload

from s3writer._writer import MultipartUploadWriter

_SCHEME = "s3://"
_MODES = ("wb", "xb", "w", "x")

#: ``io.TextIOWrapper`` begins these with a byte order mark only where it can ask for the position by seeking.
_MARKED = {"utf-16", "utf-32"}


@overload
def open(url: str, mode: Literal["wb", "xb"] = "wb", **options: Any) -> MultipartUploadWriter: ...
@overload
def open(
    url: str,
    mode: Literal["w", "x"],
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    newline: str | None = None,
    **options: Any,
) -> io.TextIOWrapper: ...
def open(
    url: str,
    mode: str = "wb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> MultipartUploadWriter | io.TextIOWrapper:
    """Open ``s3://bucket/key`` for writing, as the built-in ``open`` would.

    Parameters
    ----------
        url: everything behind ``s3://bucket/`` is the key, to the letter.
        mode: "wb" for a `MultipartUploadWriter`, "w" for an ``io.TextIOWrapper`` around one; "xb" and "x" publish only
            if the key does not exist.
        encoding, errors, newline: for the modes of text, as in ``io.TextIOWrapper``, with UTF-8 as the default. UTF-16
            and UTF-32 begin with a byte order mark, which a bare ``io.TextIOWrapper`` leaves out of a stream.
        **options: those of `MultipartUploadWriter`.

    Raises ValueError (TypeError) for an impossible URL, mode or option, LookupError for an unknown encoding.

    """
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r} is not one of {', '.join(_MODES)}: objects are only written, and as a whole")
    is_text = "b" not in mode
    if not is_text and (encoding, errors, newline) != (None, None, None):
        raise ValueError(f"encoding, errors and newline are for text, not for mode={mode!r}")
    encoding = encoding or "utf-8"
    if is_text:
        "".encode(encoding)
    bucket, key = parsed(url)
    writer = MultipartUploadWriter(bucket, key, exclusive="x" in mode, **options)
    if not is_text:
        return writer
    try:
        text = io.TextIOWrapper(writer, encoding, errors, newline)
        if codecs.lookup(encoding).name in _MARKED:
            writer.write("".encode(encoding))
        return text
    except BaseException:
        writer.abort()
        raise


def parsed(url: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URL; TypeError or ValueError if it is none."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    bucket, separator, key = url.removeprefix(_SCHEME).partition("/")
    if not url.startswith(_SCHEME) or not separator:
        raise ValueError(f"url={url!r} is not of the form s3://bucket/key")
    return bucket, key
