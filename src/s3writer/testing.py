"""S3 in memory, for tests of code that writes with a writer: no network, no credentials, and faults on demand.

```python
def test_the_export_is_published_whole():
    with MemoryS3("my-bucket") as s3:
        export()
    assert s3.objects["s3://my-bucket/rows.csv"] == b"1,2"


def test_an_export_that_may_not_write_leaves_nothing():
    with MemoryS3("my-bucket") as s3:
        s3.refuse("UploadPart", "AccessDenied", nth=2)
        with pytest.raises(AccessDeniedError):
            export()
    assert not s3.objects and not s3.unfinished
```

It answers botocore in place of the network, so all that is said over the wire is said here too: requests are built and
signed, answers parsed, errors translated. As S3 does, it refuses parts below 5 MiB, wrong checksums and sizes,
conditions that don't hold, and missing keys of SSE-C. What it does not know, it says so of (``NotImplemented``): for
policies, versions, tags, retries and slow networks use moto or a real server.
"""

import contextlib
import datetime as dt
import functools
import hashlib
import io
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from unittest import mock
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from s3writer import _client
from s3writer._checksums import algorithms
from s3writer._plan import MAX_PARTS, MIN_PART_BYTES

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PIECE_BYTES = 1024 * 1024
_CHUNKED = "aws-chunked"
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-key-md5"
#: What is kept of the headers of a request that makes an object; also what begins with x-amz-meta-.
_KEPT = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    _CUSTOMER_KEY,
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
}

#: The HTTP status of S3's error codes; S3's API reference, "Error responses". Of others it is 400.
_STATUS = {
    "AccessDenied": 403,
    "ConditionalRequestConflict": 409,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
}

Tree = Sequence[tuple[str, "str | int | Tree"]]


class _RefusedError(Exception):
    """The answer is no."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code


@dataclass(frozen=True)
class _Request:
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def kept(self) -> dict[str, str]:
        """The headers that the object will have."""
        return {name: value for name, value in self.headers.items() if name in _KEPT or name.startswith("x-amz-meta-")}

    @property
    def checksums(self) -> dict[str, str]:
        """The values that were given with the bytes, by the names of their algorithms."""
        given = {name.upper(): self.headers.get(f"x-amz-checksum-{name.lower()}") for name in algorithms()}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class _Answer:
    """``tree`` is a body in XML: the name of its root, and what is in that."""

    headers: Mapping[str, str] = field(default_factory=dict)
    tree: tuple[str, Tree] | None = None
    body: bytes = b""
    status: HTTPStatus = HTTPStatus.OK

    def content(self) -> bytes:
        if self.tree is None:
            return self.body
        root = ElementTree.Element(self.tree[0])
        _grow(root, self.tree[1])
        return bytes(ElementTree.tostring(root, xml_declaration=True, encoding="utf-8"))


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


@dataclass
class _Upload:
    bucket: str
    key: str
    headers: Mapping[str, str]
    algorithm: Tree
    parts: dict[int, _Object] = field(default_factory=dict)
    begun: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass
class _Fault:
    """``act`` is called with what would do the request; from its ``nth`` call on, or at each."""

    act: Callable[[Callable[[], AWSResponse]], AWSResponse]
    nth: int | None
    calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def is_due(self) -> bool:
        return next(self.calls) == self.nth or self.nth is None


class MemoryS3:
    """A store that lives as long as this object does, and holds the ``buckets`` that it was made with.

    As a context manager it is also the store of all writers that are given no ``client``.

    Attributes:
        client: a boto3 S3 client of it, which tries each call once.
        calls: the names of all calls so far, in the order in which they came, such as "PutObject".

    """

    def __init__(self, *buckets: str) -> None:
        self.calls: list[str] = []
        self._buckets = set(buckets)
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Upload] = {}
        self._faults: dict[str, list[_Fault]] = {}
        self._lock = threading.RLock()
        self._as_default = contextlib.ExitStack()
        self.client = _make_client()
        self.attach(self.client)

    def __enter__(self) -> Self:
        self._as_default.enter_context(mock.patch.object(_client, "default_client", return_value=self.client))
        return self

    def __exit__(self, *_: object) -> None:
        self._as_default.close()

    def attach(self, client: Any) -> None:
        """Let another boto3 S3 client, of the code under test, talk to this store from now on."""
        host = urlsplit(client.meta.endpoint_url).netloc
        client.meta.events.register("before-send.s3", functools.partial(self._before_send, host))

    @property
    def objects(self) -> dict[str, bytes]:
        """What was published, by its URL ``s3://bucket/key``."""
        with self._lock:
            return {url: stored.body for url, stored in self._objects.items()}

    @property
    def unfinished(self) -> list[str]:
        """The URLs of uploads that were neither completed nor aborted."""
        with self._lock:
            return [upload.url for upload in self._uploads.values()]

    def refuse(self, call: str, code: str, *, nth: int | None = None) -> None:
        """Answer ``call``, such as "UploadPart", with S3's error ``code``, such as "SlowDown", and don't act.

        ``nth`` is the only call that it happens to, counted from now on and from 1; None: to each.
        """

        def act(_: Callable[[], AWSResponse]) -> AWSResponse:
            raise _RefusedError(code, "refused on demand")

        self._add(call, act, nth)

    def cut(self, call: str, *, nth: int | None = None) -> None:
        """Break the connection before ``call`` has been sent; ``nth`` as in `refuse`."""

        def act(_: Callable[[], AWSResponse]) -> AWSResponse:
            raise ConnectionClosedError(endpoint_url=self.client.meta.endpoint_url)

        self._add(call, act, nth)

    def lose_answer(self, call: str, *, nth: int | None = None) -> None:
        """Act on ``call``, and break the connection before the answer comes; ``nth`` as in `refuse`."""

        def act(go_on: Callable[[], AWSResponse]) -> AWSResponse:
            go_on()
            raise ConnectionClosedError(endpoint_url=self.client.meta.endpoint_url)

        self._add(call, act, nth)

    def _add(self, call: str, act: Callable[[Callable[[], AWSResponse]], AWSResponse], nth: int | None) -> None:
        known = self.client.meta.service_model.operation_names
        if call not in known:
            raise ValueError(f"call={call!r} is not one of S3's, such as UploadPart or CompleteMultipartUpload")
        if nth is not None and nth < 1:
            raise ValueError(f"nth={nth} is not counted from 1")
        self._faults.setdefault(call, []).append(_Fault(act, nth))

    def _before_send(self, host: str, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        call = event_name.rpartition(".")[2]
        with self._lock:
            self.calls.append(call)
            due = [fault for fault in self._faults.get(call, []) if fault.is_due()]

        def go_on() -> AWSResponse:
            return _response(request, self._answer(call, _read(request, host)))

        try:
            return due[0].act(go_on) if due else go_on()
        except _RefusedError as refusal:
            status = HTTPStatus(_STATUS.get(refusal.code, HTTPStatus.BAD_REQUEST))
            said: Tree = [("Code", refusal.code), ("Message", refusal.message)]
            is_told = request.method != "HEAD"
            return _response(request, _Answer(tree=("Error", said) if is_told else None, status=status))

    def _answer(self, call: str, request: _Request) -> _Answer:
        handler = _HANDLERS.get(call)
        if handler is None:
            raise _RefusedError("NotImplemented", f"MemoryS3 does not know {call}")
        with self._lock:
            if request.bucket not in self._buckets:
                raise _RefusedError("NoSuchBucket")
            return handler(self, request)

    def _put_object(self, request: _Request) -> _Answer:
        self._check_condition(request)
        _check_bytes(request.body, request.checksums)
        stored = _Object(request.body, _etag(request.body), request.kept, request.checksums)
        self._objects[request.url] = stored
        return _Answer({"ETag": stored.etag, **_echo(request.checksums)})

    def _create(self, request: _Request) -> _Answer:
        upload_id = uuid.uuid4().hex
        named = {"ChecksumAlgorithm": "x-amz-checksum-algorithm", "ChecksumType": "x-amz-checksum-type"}
        algorithm = [(name, request.headers[header]) for name, header in named.items() if header in request.headers]
        self._uploads[upload_id] = _Upload(request.bucket, request.key, request.kept, algorithm)
        return _Answer(tree=("InitiateMultipartUploadResult", [("UploadId", upload_id)]))

    def _upload_part(self, request: _Request) -> _Answer:
        upload, number = self._upload(request), int(request.query["partNumber"])
        _check_customer_key(request, upload.headers)
        if not 1 <= number <= MAX_PARTS:
            raise _RefusedError("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}")
        _check_bytes(request.body, request.checksums)
        part = _Object(request.body, _etag(request.body), {}, request.checksums)
        upload.parts[number] = part
        return _Answer({"ETag": part.etag, **_echo(request.checksums)})

    def _complete(self, request: _Request) -> _Answer:
        upload = self._upload(request)
        parts = _listed_parts(upload, request.body)
        body = b"".join(part.body for part in parts)
        if int(request.headers.get("x-amz-mp-object-size", len(body))) != len(body):
            raise _RefusedError("InvalidRequest", f"the object has {len(body)} bytes")
        _check_bytes(body, request.checksums)
        self._check_condition(request)
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = f'"{_md5(digests)}-{len(parts)}"'
        self._objects[request.url] = _Object(body, etag, upload.headers, request.checksums)
        del self._uploads[request.query["uploadId"]]
        return _Answer(tree=("CompleteMultipartUploadResult", [("ETag", etag)]))

    def _abort(self, request: _Request) -> _Answer:
        self._upload(request)
        del self._uploads[request.query["uploadId"]]
        return _Answer(status=HTTPStatus.NO_CONTENT)

    def _list_parts(self, request: _Request) -> _Answer:
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
        said = [("UploadId", request.query["uploadId"]), ("IsTruncated", "false"), *upload.algorithm, *parts]
        return _Answer(tree=("ListPartsResult", said))

    def _list_uploads(self, request: _Request) -> _Answer:
        prefix = request.query.get("prefix", "")
        uploads: list[tuple[str, Tree]] = [
            ("Upload", [("Key", upload.key), ("UploadId", upload_id), ("Initiated", upload.begun.isoformat())])
            for upload_id, upload in self._uploads.items()
            if upload.bucket == request.bucket and upload.key.startswith(prefix)
        ]
        return _Answer(tree=("ListMultipartUploadsResult", [("IsTruncated", "false"), *uploads]))

    def _get_object(self, request: _Request) -> _Answer:
        stored = self._objects.get(request.url)
        if stored is None:
            raise _RefusedError("NoSuchKey")
        _check_customer_key(request, stored.headers)
        shown = _echo(stored.checksums) if request.headers.get("x-amz-checksum-mode") else {}
        modified = stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        about = {"ETag": stored.etag, "Last-Modified": modified, "Content-Length": str(len(stored.body))}
        return _Answer({**about, **stored.headers, **shown}, body=stored.body)

    def _head_object(self, request: _Request) -> _Answer:
        return _Answer(self._get_object(request).headers)

    def _delete_object(self, request: _Request) -> _Answer:
        self._objects.pop(request.url, None)
        return _Answer(status=HTTPStatus.NO_CONTENT)

    def _list_objects(self, request: _Request) -> _Answer:
        bucket, prefix = f"s3://{request.bucket}/", request.query.get("prefix", "")
        found: list[tuple[str, Tree]] = [
            ("Contents", [("Key", url.removeprefix(bucket)), ("Size", len(stored.body)), ("ETag", stored.etag)])
            for url, stored in sorted(self._objects.items())
            if url.startswith(bucket + prefix)
        ]
        said: Tree = [("KeyCount", len(found)), ("IsTruncated", "false"), *found]
        return _Answer(tree=("ListBucketResult", said))

    def _upload(self, request: _Request) -> _Upload:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None or upload.url != request.url:
            raise _RefusedError("NoSuchUpload")
        return upload

    def _check_condition(self, request: _Request) -> None:
        stored, wanted = self._objects.get(request.url), request.headers.get("if-match")
        if "if-none-match" in request.headers and stored is not None:
            raise _RefusedError("PreconditionFailed")
        if wanted is not None and stored is None:
            raise _RefusedError("NoSuchKey")
        if wanted is not None and stored is not None and not stored.matches(wanted):
            raise _RefusedError("PreconditionFailed")


_HANDLERS: dict[str, Callable[[MemoryS3, _Request], _Answer]] = {
    "AbortMultipartUpload": MemoryS3._abort,
    "CompleteMultipartUpload": MemoryS3._complete,
    "CreateMultipartUpload": MemoryS3._create,
    "DeleteObject": MemoryS3._delete_object,
    "GetObject": MemoryS3._get_object,
    "HeadObject": MemoryS3._head_object,
    "ListMultipartUploads": MemoryS3._list_uploads,
    "ListObjectsV2": MemoryS3._list_objects,
    "ListParts": MemoryS3._list_parts,
    "PutObject": MemoryS3._put_object,
    "UploadPart": MemoryS3._upload_part,
}


class _Raw(io.BytesIO):
    """An answer's body as urllib3 would hand it to botocore."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        while piece := self.read(_PIECE_BYTES):
            yield piece


def _make_client() -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False, "addressing_style": "path"},
    )
    session = boto3.session.Session(
        aws_access_key_id="nobody", aws_secret_access_key="nothing", region_name="us-east-1"
    )
    return session.client("s3", endpoint_url="https://s3.in-memory.invalid", config=config)


def _read(request: AWSPreparedRequest, host: str) -> _Request:
    """What is asked for; the bucket may be in the path, or before the client's own host."""
    address = urlsplit(request.url)
    path = f"{address.netloc.removesuffix(host).removesuffix('.')}{unquote(address.path)}"
    bucket, _, key = path.removeprefix("/").partition("/")
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    body = _sent(request.body)
    codings = [coding for coding in headers.pop("content-encoding", "").split(",") if coding]
    if _CHUNKED in codings:
        codings.remove(_CHUNKED)
        body, trailers = _unchunked(body)
        headers |= trailers
    if codings:
        headers["content-encoding"] = ",".join(codings)
    return _Request(bucket, key, query, headers, body)


def _unchunked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The bytes, and the trailers, of a body in the form that S3's API reference calls "aws-chunked"."""
    pieces, stream = [], io.BytesIO(body)
    while size := int(stream.readline().partition(b";")[0], 16):
        pieces.append(stream.read(size))
        stream.readline()
    trailers = (line.decode().strip().split(":", 1) for line in stream if line.strip())
    return b"".join(pieces), dict(trailers)


def _sent(body: Any) -> bytes:
    """All that a request's body has to send, in the pieces in which it would go out."""
    if body is None or isinstance(body, (str, bytes, bytearray)):
        return body.encode() if isinstance(body, str) else bytes(body or b"")
    return b"".join(bytes(piece) for piece in iter(lambda: body.read(_PIECE_BYTES), b""))


def _response(request: AWSPreparedRequest, answer: _Answer) -> AWSResponse:
    return AWSResponse(request.url, int(answer.status), dict(answer.headers), _Raw(answer.content()))


def _grow(element: ElementTree.Element, tree: Tree) -> None:
    for name, content in tree:
        child = ElementTree.SubElement(element, name)
        if isinstance(content, (str, int)):
            child.text = str(content)
        else:
            _grow(child, content)


def _listed_parts(upload: _Upload, body: bytes) -> list[_Object]:
    """The parts that a CompleteMultipartUpload names, as S3 wants them: in order, known, and large enough."""
    found: list[_Object] = []
    last = 0
    for listed in ElementTree.fromstring(body).findall(f"{{{_NAMESPACE}}}Part"):
        told = {child.tag.removeprefix(f"{{{_NAMESPACE}}}"): child.text or "" for child in listed}
        number = int(told["PartNumber"])
        if number <= last:
            raise _RefusedError("InvalidPartOrder")
        part, last = upload.parts.get(number), number
        if part is None or not part.matches(told["ETag"]):
            raise _RefusedError("InvalidPart")
        if any(told.get(f"Checksum{name}", value) != value for name, value in part.checksums.items()):
            raise _RefusedError("InvalidPart")
        found.append(part)
    if not found:
        raise _RefusedError("MalformedXML")
    if any(len(part.body) < MIN_PART_BYTES for part in found[:-1]):
        raise _RefusedError("EntityTooSmall")
    return found


def _check_bytes(body: bytes, checksums: Mapping[str, str]) -> None:
    for name, value in checksums.items():
        digest = algorithms()[name].start()
        digest.update(memoryview(body))
        if digest.value() != value:
            raise _RefusedError("BadDigest")


def _check_customer_key(request: _Request, headers: Mapping[str, str]) -> None:
    if request.headers.get(_CUSTOMER_KEY) != headers.get(_CUSTOMER_KEY):
        raise _RefusedError("InvalidRequest", "the key of SSE-C is not the one that was given first")


def _echo(checksums: Mapping[str, str]) -> dict[str, str]:
    return {f"x-amz-checksum-{name.lower()}": value for name, value in checksums.items()}


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _etag(body: bytes) -> str:
    return f'"{_md5(body)}"'
