"""django-storages' storage for S3, whose files appear wholly or not at all.

```python
STORAGES = {
    "default": {"BACKEND": "s3writer.django.storage.S3Storage", "OPTIONS": {"bucket_name": "my-bucket"}},
    "staticfiles": {"BACKEND": "s3writer.django.storage.S3StaticStorage", "OPTIONS": {"bucket_name": "my-bucket"}},
}
```

Reading, names, URLs, listing and deleting are django-storages' own. Writing goes through a `MultipartUploadWriter`.
"""

from typing import Any, NoReturn

from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.exceptions import ImproperlyConfigured

try:
    from storages.backends import s3
    from storages.utils import ReadBytesWrapper, clean_name, is_seekable, setting
except ImportError as error:
    raise ImportError(f"{error}; S3Storage needs django-storages: pip install 's3writer[django-storages]'") from error

from s3writer import MultipartUploadWriter
from s3writer._upload.plan import MIN_PART_BYTES

__all__ = ["S3ManifestStaticStorage", "S3StaticStorage", "S3Storage"]

#: How much of a file is read at once.
_PIECE_BYTES = 1024**2

#: The storage decides these itself.
_RESERVED = {"bucket", "key", "client"}


class S3Storage(s3.S3Storage):
    """django-storages' ``S3Storage``, but each file that it writes is published wholly or not at all.

    The option ``writer``, or the setting ``AWS_S3_WRITER``, is a dict of options of `MultipartUploadWriter` for all
    files, such as ``{"max_memory": 64 * 1024**2}``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(self.writer, dict) or self.writer.keys() & _RESERVED:
            raise ImproperlyConfigured("writer must be a dict of options of a writer, without bucket, key and client")

    def get_default_settings(self) -> dict[str, Any]:
        """The settings of django-storages, and ``writer``."""
        return {**super().get_default_settings(), "writer": setting("AWS_S3_WRITER", {})}

    def _open(self, name: str, mode: str = "rb") -> Any:
        """A file to read, as django-storages has it, or a writer."""
        if not {"w", "x"} & set(mode):
            return super()._open(name, mode)
        if set(mode) - set("wxbt") or len(mode) != len(set(mode)) or {"w", "x"} <= set(mode):
            raise ValueError(f"mode={mode!r} is neither 'r', 'w' nor 'x', with or without 'b'")
        key = self._normalize_name(clean_name(name))
        options = {"exclusive": True} if "x" in mode else {}
        return self._writer(key, self._get_write_parameters(key), **options)

    def _save(self, name: str, content: Any) -> str:
        """Write all of ``content``. If it can't be read to its end, nothing is published."""
        cleaned: str = clean_name(name)
        key = self._normalize_name(cleaned)
        parameters = self._get_write_parameters(key, content)
        if is_seekable(content):
            content.seek(0)
        source = ReadBytesWrapper(content)
        compresses = self.gzip and parameters.get("ContentType") in self.gzip_content_types
        if compresses and "ContentEncoding" not in parameters:
            source = self._compress_content(source)
            parameters["ContentEncoding"] = "gzip"
        with self._writer(key, parameters, encoding=None) as writer:
            while piece := source.read(_PIECE_BYTES):
                writer.write(piece)
        return cleaned

    def _writer(self, key: str, parameters: dict[str, Any], **options: Any) -> "_File":
        """A writer with the storage's own client. It uses no more connections than the client and its transfers may."""
        client = self.connection.meta.client
        transfer = self.transfer_config
        connections = min(client.meta.config.max_pool_connections, transfer.max_concurrency)
        given = {
            "max_concurrency": connections if transfer.use_threads else 1,
            "part_size": max(MIN_PART_BYTES, setting("AWS_S3_FILE_BUFFER_SIZE", MIN_PART_BYTES)),
        }
        if "ChecksumAlgorithm" in parameters:
            given["checksum"] = parameters.pop("ChecksumAlgorithm")
        if parameters.pop("IfNoneMatch", None) is not None:
            given["exclusive"] = True
        return _File(self.bucket_name, key, client=client, **{**given, **self.writer, **options, **parameters})


class S3StaticStorage(S3Storage):
    """For static files: their URLs are not signed, so they stay the same."""

    querystring_auth = False


class S3ManifestStaticStorage(ManifestFilesMixin, S3StaticStorage):
    """For static files whose names hold a hash of their content."""


class _File(MultipartUploadWriter):
    """A writer to which Django can say ``open``, as it does to its own files."""

    def open(self, _mode: str | None = None) -> NoReturn:
        raise ValueError(f"{self.name} is written once: call the storage's open() to write or read it anew")
