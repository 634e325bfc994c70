"""Requests as botocore sends them, and answers as it reads them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from s3writer._s3.checksums import algorithms

_PIECE_BYTES = 1024 * 1024
_CHUNKED = "aws-chunked"
_MIN_CHUNK_BYTES = 8192
CUSTOMER_KEY = "x-amz-server-side-encryption-customer-key-md5"
CUSTOMER_ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
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
    CUSTOMER_ALGORITHM,
    CUSTOMER_KEY,
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
}
#: The parameters of each call that are heeded; each other one would change S3's answer.
_HEEDED = {
    "AbortMultipartUpload": {"uploadId"},
    "CompleteMultipartUpload": {"if-match", "if-none-match", "uploadId"},
    "GetObject": {"if-match", "range"},
    "HeadObject": {"if-match", "range"},
    "ListMultipartUploads": {"encoding-type", "prefix"},
    "ListObjectsV2": {"encoding-type", "list-type", "prefix"},
    "ListParts": {"part-number-marker", "uploadId"},
    "PutObject": {"if-match", "if-none-match"},
    "UploadPart": {"partNumber", "uploadId"},
}
#: The headers that make a call do something else; in queries it is all but the name of the call, which changes nothing.
_CONDITIONS = ("if-", "range", "x-amz-if-", "x-amz-write-offset-")
#: The HTTP status of S3's error codes; S3's API reference, "Error responses". Of others it is 400.
_STATUS = {
    "AccessDenied": 403,
    "ConditionalRequestConflict": 409,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidChunkSizeError": 403,
    "InvalidRange": 416,
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


class RefusedError(Exception):
    """The answer is no."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code

    def answer(self, method: str) -> "Answer":
        """How it is said."""
        said: Tree = [("Code", self.code), ("Message", self.message)]
        status = HTTPStatus(_STATUS.get(self.code, HTTPStatus.BAD_REQUEST))
        return Answer(tree=None if method == "HEAD" else ("Error", said), status=status)


@dataclass(frozen=True)
class Place:
    """Where an object is, or will be."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Request(Place):
    """What is asked for."""

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
        given = {name: self.headers.get(f"x-amz-checksum-{name.lower()}") for name in algorithms()}
        return {name: value for name, value in given.items() if value is not None}

    def unknown(self, call: str) -> set[str]:
        """The parameters of ``call`` that would change the answer, and that nobody here knows."""
        asking = {name for name in self.headers if name.startswith(_CONDITIONS)}
        return ({name for name in self.query if self.query[name]} | asking) - _HEEDED.get(call, set()) - {"x-id"}

    @property
    def spelling(self) -> Tree:
        """How keys are written in a listing; XML can't have each character."""
        return [("EncodingType", "url")] if self.query.get("encoding-type") == "url" else []

    def spelt(self, key: str) -> str:
        """A key as `spelling` says."""
        return quote(key) if self.spelling else key


@dataclass(frozen=True)
class Answer:
    """``tree`` is a body in XML: the name of its root, and what is in that."""

    headers: Mapping[str, str] = field(default_factory=dict)
    tree: tuple[str, Tree] | None = None
    body: bytes = b""
    status: HTTPStatus = HTTPStatus.OK

    def to(self, request: AWSPreparedRequest) -> AWSResponse:
        """As botocore gets it from a connection."""
        return AWSResponse(request.url, int(self.status), dict(self.headers), _Raw(self._content()))

    def _content(self) -> bytes:
        if self.tree is None:
            return self.body
        root = ElementTree.Element(self.tree[0])
        _grow(root, self.tree[1])
        return bytes(ElementTree.tostring(root, xml_declaration=True, encoding="utf-8"))


class _Raw(io.BytesIO):
    """An answer's body as urllib3 would hand it to botocore."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        while piece := self.read(_PIECE_BYTES):
            yield piece


def read(request: AWSPreparedRequest, bucket: str, key: str) -> Request:
    """What is asked for, of this bucket and key."""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    body = _sent(request.body)
    codings = [coding for coding in headers.pop("content-encoding", "").split(",") if coding]
    if _CHUNKED in codings:
        codings.remove(_CHUNKED)
        body, trailers = _unchunked(body)
        headers |= trailers
    if codings:
        headers["content-encoding"] = ",".join(codings)
    query = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    return Request(bucket, key, dict(query), headers, body)


def _sent(body: Any) -> bytes:
    """All that a request's body has to send, in the pieces in which it would go out."""
    if body is None or isinstance(body, (str, bytes, bytearray)):
        return body.encode() if isinstance(body, str) else bytes(body or b"")
    return b"".join(bytes(piece) for piece in iter(lambda: body.read(_PIECE_BYTES), b""))


def _unchunked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The bytes, and the trailers, of a body in the form that S3's API reference calls "aws-chunked"."""
    pieces: list[bytes] = []
    stream = io.BytesIO(body)
    while size := int(stream.readline().partition(b";")[0], 16):
        if pieces and len(pieces[-1]) < _MIN_CHUNK_BYTES:
            raise RefusedError("InvalidChunkSizeError", "only the last chunk may have less than 8192 bytes")
        pieces.append(stream.read(size))
        stream.readline()
    trailers = (line.decode().strip().split(":", 1) for line in stream if line.strip())
    return b"".join(pieces), dict(trailers)


def _grow(element: ElementTree.Element, tree: Tree) -> None:
    for name, content in tree:
        child = ElementTree.SubElement(element, name)
        if isinstance(content, (str, int)):
            child.text = str(content)
        else:
            _grow(child, content)
