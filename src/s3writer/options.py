"""The types of a writer's options, for code that takes them and passes them on.

```python
from typing import Unpack

import s3writer
from s3writer.options import WriterOptions


def open_report(name: str, **options: Unpack[WriterOptions]) -> s3writer.MultipartUploadWriter:
    return s3writer.open(f"s3://my-bucket/reports/{name}", "wb", **options)
```
"""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from s3writer._s3.argument_types import CommitArguments, ListArguments, PartArguments, S3Arguments

__all__ = [
    "Checksum",
    "CommitArguments",
    "Compression",
    "CompressionFormat",
    "CrcChecksum",
    "ListArguments",
    "OnError",
    "PartArguments",
    "ResumeOptions",
    "S3Arguments",
    "WriterOptions",
]

CrcChecksum = Literal["auto", "CRC64NVME", "CRC32C", "CRC32"] | None
Checksum = Literal["auto", "CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1"] | None
CompressionFormat = Literal["gzip", "bz2", "xz", "zstd"]
Compression = CompressionFormat | Literal["auto", "infer"] | None
OnError = Literal["abort", "keep"]


class _Settings(TypedDict, total=False):
    client: Any
    part_size: int
    max_concurrency: int
    max_memory: int | None
    checksum: Checksum
    exclusive: bool
    expected_size: int | None
    exact_size: int | None
    equal_parts: bool
    progress: Callable[[int], object] | None
    allow_dot_segments: bool


class WriterOptions(_Settings, S3Arguments, total=False):
    """The options that `s3writer.open` passes on to `MultipartUploadWriter`, S3's arguments among them."""

    on_error: OnError
    commit_token: bool


class ResumeOptions(_Settings, CommitArguments, total=False):
    """The ``**options`` of `MultipartUploadWriter.resume`. S3 settled the other arguments when the upload began."""

    encoding: str | None


for _name in ("CommitArguments", "ListArguments", "PartArguments", "S3Arguments"):
    globals()[_name].__module__ = __name__
