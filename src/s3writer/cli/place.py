"""Where `check-store` writes: a prefix of its own, which it empties in the end."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3 import faults
from s3writer._s3.checksums import best
from s3writer.pending import PendingUpload
from s3writer.unfinished import list_uploads

SMALL = b"a small object"
_GONE = {"NoSuchKey", "404"}


@dataclass
class Place:
    """A prefix of its own in a bucket, to be emptied by `remove`. The client must add no checksums of its own."""

    client: Any
    bucket: str
    prefix: str
    keys: list[str] = field(default_factory=list)

    def key(self, name: str) -> str:
        """A key that nobody else uses."""
        self.keys.append(self.prefix + name)
        return self.keys[-1]

    def write(self, key: str, data: bytes = SMALL, **options: Any) -> MultipartUploadWriter:
        """Write an object. Returns its writer, closed."""
        with self._writer(key, **options) as stream:
            stream.write(data)
        return stream

    def prepare(self, key: str, data: bytes = SMALL, **options: Any) -> PendingUpload:
        """Upload an object in parts, without publishing it. One part may have any size."""
        with self._writer(key, **options) as stream:
            stream.write(data)
            return stream.prepare()

    def _writer(self, key: str, **options: Any) -> MultipartUploadWriter:
        given = {"checksum": best().name, **options}
        return MultipartUploadWriter(self.bucket, key, client=self.client, **given)

    def head(self, key: str) -> Any:
        """HeadObject's answer."""
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def content(self, key: str, **arguments: Any) -> bytes | None:
        """The object's bytes, None if the store gives none."""
        with contextlib.suppress(ClientError):
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key, **arguments)["Body"].read())
        return None

    def remove(self) -> list[str]:
        """Remove all objects, with all their versions, and all uploads. Returns the keys of what may be left."""
        left = []
        for key in self.keys:
            try:
                self._remove_uploads(key)
                self._remove_versions(key)
            except (BotoCoreError, ClientError, OSError):
                left.append(key)
        return left

    def _remove_uploads(self, key: str) -> None:
        for upload in list_uploads(self.bucket, key, client=self.client):
            if upload.key == key:
                upload.abort(client=self.client)

    def _remove_versions(self, key: str) -> None:
        try:
            answer = self.client.delete_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if faults.code(error) in _GONE:
                return
            raise
        if answer.get("VersionId"):  # the bucket keeps versions, and has just got a delete marker
            found = self.client.list_object_versions(Bucket=self.bucket, Prefix=key)
            for version in found.get("Versions", []) + found.get("DeleteMarkers", []):
                if version["Key"] == key:
                    self.client.delete_object(Bucket=self.bucket, Key=key, VersionId=version["VersionId"])
