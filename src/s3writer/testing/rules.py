"""S3's rules over objects in memory."""

import base64
import datetime as dt
import hashlib
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from xml.etree import ElementTree

from s3writer._s3.checksums import MD5, algorithms
from s3writer._upload.plan import MAX_PARTS, MIN_PART_BYTES
from s3writer.testing.messages import CUSTOMER_ALGORITHM, CUSTOMER_KEY, Answer, Place, RefusedError, Request, Tree

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


@dataclass(frozen=True)
class _Object:
    """Bytes under a key, or of a part."""

    body: bytes
    etag: str
    headers: Mapping[str, str]
    checksums: Mapping[str, str]
    modified: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def matches(self, etag: str) -> bool:
        return self.etag.strip('"') == etag.strip('"')


@dataclass(frozen=True)
class _Upload(Place):
    headers: Mapping[str, str]
    declared: Mapping[str, str]
    parts: dict[int, _Object] = field(default_factory=dict)
    begun: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class Memory:
    """Objects and unfinished uploads in some buckets."""

    def __init__(self, buckets: set[str]) -> None:
        self.buckets = buckets
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Upload] = {}
        self._completed: dict[str, Answer] = {}
        self.renew_lock()

    def renew_lock(self) -> None:
        """Have a new lock. Needed in a forked child, where nobody releases one that was held."""
        self._lock = threading.RLock()

    @property
    def objects(self) -> dict[str, bytes]:
        """By URL."""
        with self._lock:
            return {url: stored.body for url, stored in self._objects.items()}

    @property
    def unfinished(self) -> list[str]:
        """The URLs of uploads."""
        with self._lock:
            return [upload.url for upload in self._uploads.values()]

    def answer(self, call: str, request: Request) -> Answer:
        """Do what is asked for, or raise `RefusedError`."""
        handler = _HANDLERS.get(call)
        if handler is None:
            raise RefusedError("NotImplemented", f"MemoryS3 does not know {call}")
        if unknown := request.unknown(call):
            raise RefusedError("NotImplemented", f"MemoryS3 does not know {sorted(unknown)} of {call}")
        with self._lock:
            if request.bucket not in self.buckets:
                raise RefusedError("NoSuchBucket")
            return handler(self, request)

    def _put_object(self, request: Request) -> Answer:
        self._check_condition(request)
        _check_new_customer_key(request)
        stored = _received(request, request.kept)
        self._objects[request.url] = stored
        return Answer({"ETag": stored.etag, **_echo(request.checksums)})

    def _create(self, request: Request) -> Answer:
        _check_new_customer_key(request)
        upload_id = uuid.uuid4().hex
        named = {"ChecksumAlgorithm": "x-amz-checksum-algorithm", "ChecksumType": "x-amz-checksum-type"}
        declared = {name: request.headers[header] for name, header in named.items() if header in request.headers}
        self._uploads[upload_id] = _Upload(request.bucket, request.key, request.kept, declared)
        return Answer(tree=("InitiateMultipartUploadResult", [("UploadId", upload_id)]))

    def _upload_part(self, request: Request) -> Answer:
        upload, number = self._upload(request), int(request.query["partNumber"])
        _check_customer_key(request, upload.headers)
        if not 1 <= number <= MAX_PARTS:
            raise RefusedError("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}")
        declared = upload.declared.get("ChecksumAlgorithm")
        if declared and request.checksums and declared not in request.checksums:
            raise RefusedError("InvalidRequest", f"the upload was begun with {declared}")
        upload.parts[number] = part = _received(request, {})
        return Answer({"ETag": part.etag, **_echo(request.checksums)})

    def _complete(self, request: Request) -> Answer:
        upload_id = request.query["uploadId"]
        if upload_id in self._completed:
            return self._completed[upload_id]
        upload = self._upload(request)
        parts = _listed_parts(upload, request.body)
        body = b"".join(part.body for part in parts)
        if int(request.headers.get("x-amz-mp-object-size", len(body))) != len(body):
            raise RefusedError("InvalidRequest", f"the object has {len(body)} bytes")
        _check_whole(body, parts, request)
        self._check_condition(request)
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = f'"{_md5(digests)}-{len(parts)}"'
        checksums = {**_of_parts(upload, parts), **request.checksums}
        self._objects[request.url] = _Object(body, etag, upload.headers, checksums)
        del self._uploads[upload_id]
        shown = [(f"Checksum{name}", value) for name, value in checksums.items()]
        self._completed[upload_id] = Answer(tree=("CompleteMultipartUploadResult", [("ETag", etag), *shown]))
        return self._completed[upload_id]

    def _abort(self, request: Request) -> Answer:
        self._upload(request)
        del self._uploads[request.query["uploadId"]]
        return Answer(status=HTTPStatus.NO_CONTENT)

    def _list_parts(self, request: Request) -> Answer:
        upload, after = self._upload(request), int(request.query.get("part-number-marker") or 0)
        parts: list[tuple[str, Tree]] = [
            (
                "Part",
                [
                    ("PartNumber", number),
                    ("Size", len(part.body)),
                    ("ETag", part.etag),
                    ("LastModified", part.modified.isoformat()),
                    *[(f"Checksum{name}", value) for name, value in part.checksums.items()],
                ],
            )
            for number, part in sorted(upload.parts.items())
            if number > after
        ]
        upload_id, declared = request.query["uploadId"], upload.declared.items()
        said: Tree = [("UploadId", upload_id), ("IsTruncated", "false"), *declared, *parts]
        return Answer(tree=("ListPartsResult", said))

    def _list_uploads(self, request: Request) -> Answer:
        prefix = request.query.get("prefix", "")
        uploads: list[tuple[str, Tree]] = [
            (
                "Upload",
                [
                    ("Key", request.spelt(upload.key)),
                    ("UploadId", upload_id),
                    ("Initiated", upload.begun.isoformat()),
                ],
            )
            for upload_id, upload in self._uploads.items()
            if upload.bucket == request.bucket and upload.key.startswith(prefix)
        ]
        said: Tree = [("IsTruncated", "false"), *request.spelling, *uploads]
        return Answer(tree=("ListMultipartUploadsResult", said))

    def _get_object(self, request: Request) -> Answer:
        stored = self._objects.get(request.url)
        if stored is None:
            raise RefusedError("NoSuchKey")
        _check_customer_key(request, stored.headers)
        if not stored.matches(request.headers.get("if-match", stored.etag)):
            raise RefusedError("PreconditionFailed")
        modified = stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        about = {"content-type": "binary/octet-stream", "etag": stored.etag, "last-modified": modified}
        about |= stored.headers
        if asked := _range(request.headers.get("range", ""), len(stored.body)):
            start, stop = asked
            body, whole = stored.body[start:stop], len(stored.body)
            about |= {"content-length": str(len(body)), "content-range": f"bytes {start}-{stop - 1}/{whole}"}
            return Answer(about, body=body, status=HTTPStatus.PARTIAL_CONTENT)
        shown = _echo(stored.checksums) if request.headers.get("x-amz-checksum-mode") else {}
        return Answer({**about, **shown, "content-length": str(len(stored.body))}, body=stored.body)

    def _head_object(self, request: Request) -> Answer:
        answer = self._get_object(request)
        return Answer(answer.headers, status=answer.status)

    def _delete_object(self, request: Request) -> Answer:
        self._objects.pop(request.url, None)
        return Answer(status=HTTPStatus.NO_CONTENT)

    def _list_objects(self, request: Request) -> Answer:
        bucket, prefix = f"s3://{request.bucket}/", request.query.get("prefix", "")
        found: list[tuple[str, Tree]] = [
            (
                "Contents",
                [
                    ("Key", request.spelt(url.removeprefix(bucket))),
                    ("Size", len(stored.body)),
                    ("ETag", stored.etag),
                    ("LastModified", stored.modified.isoformat()),
                ],
            )
            for url, stored in sorted(self._objects.items())
            if url.startswith(bucket + prefix)
        ]
        said: Tree = [("KeyCount", len(found)), ("IsTruncated", "false"), *request.spelling, *found]
        return Answer(tree=("ListBucketResult", said))

    def _upload(self, request: Request) -> _Upload:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None or upload.url != request.url:
            raise RefusedError("NoSuchUpload")
        return upload

    def _check_condition(self, request: Request) -> None:
        stored, wanted = self._objects.get(request.url), request.headers.get("if-match")
        if "if-none-match" in request.headers and stored is not None:
            raise RefusedError("PreconditionFailed")
        if wanted is not None and stored is None:
            raise RefusedError("NoSuchKey")
        if wanted is not None and stored is not None and not stored.matches(wanted):
            raise RefusedError("PreconditionFailed")


_HANDLERS: dict[str, Callable[[Memory, Request], Answer]] = {
    "AbortMultipartUpload": Memory._abort,
    "CompleteMultipartUpload": Memory._complete,
    "CreateMultipartUpload": Memory._create,
    "DeleteObject": Memory._delete_object,
    "GetObject": Memory._get_object,
    "HeadObject": Memory._head_object,
    "ListMultipartUploads": Memory._list_uploads,
    "ListObjectsV2": Memory._list_objects,
    "ListParts": Memory._list_parts,
    "PutObject": Memory._put_object,
    "UploadPart": Memory._upload_part,
}


def _received(request: Request, headers: Mapping[str, str]) -> _Object:
    """The bytes of a request, if they are those that its checksums are of."""
    given = dict(request.checksums)
    if "content-md5" in request.headers:
        given[MD5.name] = request.headers["content-md5"]
    if any(_digest(name, request.body) != value for name, value in given.items()):
        raise RefusedError("BadDigest")
    return _Object(request.body, f'"{_md5(request.body)}"', headers, request.checksums)


def _listed_parts(upload: _Upload, body: bytes) -> list[_Object]:
    """The parts that a CompleteMultipartUpload names, as S3 wants them: in order, known, and large enough."""
    found: list[_Object] = []
    last = 0
    for listed in ElementTree.fromstring(body).findall(f"{_NAMESPACE}Part"):
        told = {child.tag.removeprefix(_NAMESPACE): child.text or "" for child in listed}
        number = int(told["PartNumber"])
        if number <= last:
            raise RefusedError("InvalidPartOrder")
        part, last = upload.parts.get(number), number
        if part is None or not part.matches(told["ETag"]):
            raise RefusedError("InvalidPart")
        if any(told.get(f"Checksum{name}", value) != value for name, value in part.checksums.items()):
            raise RefusedError("InvalidPart")
        if not upload.declared and any(name.startswith("Checksum") for name in told):
            raise RefusedError("InvalidPart", "the upload was begun without a checksum's algorithm")
        found.append(part)
    if not found:
        raise RefusedError("MalformedXML")
    if last != len(found) and any(part.checksums for part in found):
        raise RefusedError("InvalidPartOrder", "with checksums of their own, parts are numbered from 1 on without gaps")
    if any(len(part.body) < MIN_PART_BYTES for part in found[:-1]):
        raise RefusedError("EntityTooSmall")
    return found


def _check_whole(body: bytes, parts: Sequence[_Object], request: Request) -> None:
    """The checksums that go with a commit: of the bytes or, as "…-3", of the checksums of three parts."""
    for name, value in request.checksums.items():
        if value != (_composite(name, parts) if "-" in value else _digest(name, body)):
            raise RefusedError("BadDigest")


def _of_parts(upload: _Upload, parts: Sequence[_Object]) -> dict[str, str]:
    """The checksum of the parts' checksums, if the upload was declared to have one."""
    name = upload.declared.get("ChecksumAlgorithm", "")
    return {name: _composite(name, parts)} if upload.declared.get("ChecksumType") == "COMPOSITE" else {}


def _composite(name: str, parts: Sequence[_Object]) -> str:
    digests = b"".join(base64.b64decode(part.checksums.get(name, "")) for part in parts)
    return f"{_digest(name, digests)}-{len(parts)}"


def _check_customer_key(request: Request, headers: Mapping[str, str]) -> None:
    if request.headers.get(CUSTOMER_KEY) != headers.get(CUSTOMER_KEY):
        raise RefusedError("InvalidRequest", "the key of SSE-C is not the one that was given first")


def _check_new_customer_key(request: Request) -> None:
    if (CUSTOMER_ALGORITHM in request.headers) != (CUSTOMER_KEY in request.headers):
        raise RefusedError("InvalidArgument", "SSE-C takes a key with its algorithm, or neither")


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """Where the bytes of a Range header begin and end, None if it is to be ignored; RFC 9110, 14.1.2."""
    if not (found := _RANGE.fullmatch(asked)):
        return None
    first, last, behind = (int(number) if number else None for number in found.groups())
    if first is None:
        first = max(0, size - (behind or 0))
    elif last is not None and last < first:
        return None
    start, stop = first, size if last is None else min(size, last + 1)
    if start >= stop:
        raise RefusedError("InvalidRange")
    return start, stop


def _digest(name: str, body: bytes) -> str:
    digest = MD5.start() if name == MD5.name else algorithms()[name].start()
    digest.update(memoryview(body))
    return digest.value()


def _echo(checksums: Mapping[str, str]) -> dict[str, str]:
    return {f"x-amz-checksum-{name.lower()}": value for name, value in checksums.items()}


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
