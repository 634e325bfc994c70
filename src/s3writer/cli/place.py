"""Where `check-store` writes: a prefix of its own, which it empties in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3 import faults
from s3writer._s3.checksums import best
from s3writer._s3.lazy import Lazy
from s3writer.pending import PendingUpload

exceptions = Lazy("botocore.exceptions")

SMALL = b"a small object"
_GONE = {"NoSuchKey", "NoSuchUpload", "404"}


@dataclass
class Place:
    """A prefix of its own in a bucket, to be emptied by `remove`. The client must add no checksums of its own."""

    client: Any
    bucket: str
    prefix: str
    keys: list[str] = field(default_factory=list)
    uploads: list[tuple[str, str]] = field(default_factory=list)

    def key(self, name: str) -> str:
        """A key that nobody else uses."""
        self.keys.append(self.prefix + name)
        return self.keys[-1]

    def begin(self, key: str) -> str:
        """Begin an upload. Returns its id."""
        upload_id = str(self.client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"])
        self.uploads.append((key, upload_id))
        return upload_id

    def write(self, key: str, data: bytes = SMALL, **options: Any) -> MultipartUploadWriter:
        """Write an object. Returns its writer, closed."""
        with self._writer(key, **options) as stream:
            stream.write(data)
        return stream

    def prepare(self, key: str, data: bytes = SMALL, **options: Any) -> PendingUpload:
        """Upload an object in parts, without publishing it. One part may have any size."""
        with self._writer(key, **options) as stream:
            stream.write(data)
            pending = stream.prepare()
        self.uploads.append((key, pending.upload_id))
        return pending

    def _writer(self, key: str, **options: Any) -> MultipartUploadWriter:
        given = {"checksum": best().name, **options}
        return MultipartUploadWriter(self.bucket, key, client=self.client, **given)

    def head(self, key: str) -> Any:
        """HeadObject's answer."""
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def content(self, key: str, **arguments: Any) -> bytes | None:
        """The object's bytes, None if there is no object."""
        try:
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key, **arguments)["Body"].read())
        except exceptions.ClientError as error:
            if faults.code(error) in _GONE:
                return None
            raise

    def remove(self) -> list[str]:
        """Remove all objects, with all their versions, and all uploads. Returns the keys of what may be left."""
        left = []
        for key, upload_id in self.uploads:
            left += self._try(self._abort, key, upload_id)
        for key in self.keys:
            left += self._try(self._remove_versions, key)
        return list(dict.fromkeys(left))

    def _try(self, removal: Callable[..., object], key: str, *others: str) -> list[str]:
        """Remove something of ``key``. Returns the key if it may be left."""
        try:
            removal(key, *others)
        except exceptions.ClientError as error:
            return [] if faults.code(error) in _GONE else [key]
        except exceptions.BotoCoreError:
            return [key]
        return []

    def _abort(self, key: str, upload_id: str) -> None:
        self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def _remove_versions(self, key: str) -> None:
        answer = self.client.delete_object(Bucket=self.bucket, Key=key)
        if answer.get("VersionId"):  # the bucket keeps versions, and has just got a delete marker
            found = self.client.list_object_versions(Bucket=self.bucket, Prefix=key)
            for version in found.get("Versions", []) + found.get("DeleteMarkers", []):
                if version["Key"] == key:
                    self.client.delete_object(Bucket=self.bucket, Key=key, VersionId=version["VersionId"])
