"""Passes each of the caller's arguments for S3 to every call that takes it.

botocore's service model says which call takes which argument.
"""

import base64
import copy
import difflib
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from s3writer._s3.lazy import Lazy
from s3writer._s3.operations import ABORT, COMPLETE, HEAD, ON_OBJECTS, PART, Operation

exceptions, handlers, validate = Lazy("botocore.exceptions"), Lazy("botocore.handlers"), Lazy("botocore.validate")

#: Arguments that the writer gives itself, and the hint in the error for a caller who gives one.
_OURS = {
    "Bucket": "it is the first positional argument",
    "Key": "it is the second positional argument",
    "IfNoneMatch": "use exclusive=True",
    "ChecksumAlgorithm": "use checksum=",
    "ChecksumType": "use checksum=",
    "Body": "write to the writer",
    "compression": "use s3writer.open",
    "WriteOffsetBytes": "a writer makes a whole object, it does not append",
} | dict.fromkeys(
    ("ContentLength", "ContentMD5", "MpuObjectSize", "MultipartUpload", "PartNumber", "UploadId"),
    "the writer sets it",
)

_SECRETS = {"SSECustomerKey", "SSECustomerKeyMD5"}

#: RFC 9110 forbids these characters in a header's value (section 5.5), and allows these in its name (section 5.6.2).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Half a character, as ``os.fsdecode`` makes of bytes that are no UTF-8.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: S3's answers are in XML 1.0, which can't hold these characters (section 2.2), or alters them (section 2.11).
_NOT_IN_XML = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: The Python types of S3's arguments, by those of botocore's service model.
_PYTHON_TYPES = {
    "boolean": "bool",
    "integer": "whole number",
    "long": "whole number",
    "map": "dict of str",
    "string": "str",
    "timestamp": "datetime",
}

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

#: S3's user guide, "Object key naming guidelines".
MAX_KEY_BYTES = 1024

#: S3's user guide, "Using server-side encryption with customer-provided keys": a key of AES-256.
CUSTOMER_KEY_BYTES = 32


class Arguments:
    """The caller's arguments for S3, checked against the service model, and ready for each operation."""

    def __init__(self, model: Any, given: Mapping[str, Any], own_names: frozenset[str] = frozenset()) -> None:
        """TypeError for a name that no call takes, or that only the writer sets. ValueError for an impossible value.

        ``own_names`` are the writer's parameters: the error for a misspelt one suggests the right name.
        """
        self._members = _members_of(model)
        if not given:
            self._given: dict[str, Any] = {}
            return
        known = names_for_writing(model)
        for name in given:
            if is_ours(name):
                raise TypeError(f"{name} can't be given: {_OURS.get(name, 'use checksum=')}")
            if name not in known:
                kinds = (
                    "an argument of S3's uploads" if not own_names else "an option of the writer or an argument of S3"
                )
                raise TypeError(f"{name} is not {kinds}{_nearest(name, known | own_names)}")
        self._given = _with_customer_key({name: self._copied(name, value) for name, value in given.items()})
        for name in given:
            self._check_value(name, self._given[name])

    def of(self, operation: Operation) -> dict[str, Any]:
        """The arguments that ``operation`` gets."""
        if not self._given:
            return {}
        members = self._members[operation]
        wanted = members if operation.writes else members.keys() & self._members[PART].keys()
        return {name: value for name, value in self._given.items() if name in wanted}

    def for_commit(self) -> dict[str, Any]:
        """The arguments that are needed to commit, check or abort the upload later, without the secret one."""
        needed = self.of(COMPLETE) | self.of(HEAD) | self.of(ABORT)
        return {name: value for name, value in needed.items() if name not in _SECRETS}

    def refuse_late_ones(self) -> None:
        """TypeError for an argument that only CreateMultipartUpload takes: the upload has begun already."""
        in_time = self._members[PART].keys() | self._members[COMPLETE].keys()
        for name in self._given.keys() - in_time:
            raise TypeError(f"{name} comes too late: it was settled when the upload began")

    def takes(self, operation: Operation, name: str) -> Any:
        """The shape of an argument of ``operation``."""
        return self._members[operation][name]

    def _copied(self, name: str, value: Any) -> Any:
        try:
            return copy.deepcopy(value)
        except Exception:
            raise self._impossible(name, value) from None

    def _impossible(self, name: str, value: Any) -> ValueError:
        kind = self._shape(name).type_name
        wanted = "str or bytes" if name == "SSECustomerKey" else _PYTHON_TYPES.get(kind, kind)
        return ValueError(f"{name} must be a {wanted}, not {_kind(value)}")

    def _shape(self, name: str) -> Any:
        return next(members[name] for members in self._members.values() if name in members)

    def _check_value(self, name: str, value: Any) -> None:
        if validate.ParamValidator().validate(value, self._shape(name)).has_errors():
            raise self._impossible(name, value)
        texts = [*value, *value.values()] if isinstance(value, dict) else [str(value)]
        if any(_SURROGATE.search(text) for text in texts):
            raise ValueError(f"{name} holds a lone surrogate: UTF-8 can't encode it")
        if any(_CONTROL.search(text) for text in texts):
            raise ValueError(
                f"{name} holds a control character: S3 takes {name} as an HTTP header, which can't hold one"
            )
        if name == "Metadata" and not all(_TOKEN.fullmatch(word) and text.isascii() for word, text in value.items()):
            raise ValueError(
                "Metadata must have names of letters, digits and !#$%&'*+.^_`|~-, and values in ASCII: S3 takes them "
                "as HTTP headers. Encode other text, for instance with urllib.parse.quote"
            )


def is_ours(name: str) -> bool:
    """Whether the writer gives this argument itself, so that a caller must not."""
    return name in _OURS or name.startswith("Checksum")


def names_for_writing(model: Any) -> set[str]:
    """The names of the arguments that S3 takes from those who write an object."""
    members = _members_of(model)
    return {name for operation in ON_OBJECTS if operation.writes for name in members[operation]}


@lru_cache(maxsize=16)
def _members_of(model: Any) -> dict[Operation, Mapping[str, Any]]:
    """The arguments that each operation takes: their shapes by their names."""
    return {operation: model.operation_model(operation.name).input_shape.members for operation in ON_OBJECTS}


def check_bucket(bucket: str) -> None:
    """TypeError or ValueError if there can be no such bucket."""
    check_text("bucket", bucket)
    if bucket.startswith("s3://"):
        raise ValueError(f"bucket={bucket!r} is a URL: give the bucket's name and the key, or use s3writer.open")
    try:
        handlers.validate_bucket_name({"Bucket": bucket})
    except exceptions.ParamValidationError:
        hint = ". The bucket comes first, then the key" if "/" in bucket else ""
        raise ValueError(
            f"bucket={bucket!r} is not the name of a bucket: give a name of letters, digits, dots, hyphens and "
            f"underscores, or the ARN of an access point{hint}"
        ) from None


def check_text(name: str, value: str) -> None:
    """TypeError or ValueError if the argument ``value``, which is called ``name``, can't be sent as text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if _SURROGATE.search(value):
        raise ValueError(f"{name}={value!r} holds a lone surrogate: UTF-8 can't encode it")


def check_address(bucket: str, key: str) -> None:
    """TypeError or ValueError if there can be no such bucket or key. The error names the wrong argument."""
    check_bucket(bucket)
    check_text("key", key)
    length = len(key.encode())
    if not 1 <= length <= MAX_KEY_BYTES:
        raise ValueError(f"key is {length} bytes long in UTF-8; S3 takes 1 to {MAX_KEY_BYTES}")
    if _NOT_IN_XML.search(key):
        raise ValueError(f"key={key!r} holds a control character: S3 answers in XML, which can't hold it")


def refuse_dot_segments(key: str) -> None:
    """ValueError for a key that a proxy may take for another."""
    if not {".", ".."}.isdisjoint(key.split("/")):
        raise ValueError(
            f"key={key!r} has a segment '.' or '..': an HTTP proxy or library may fold it, and overwrite another "
            "object. If nothing between you and S3 does that, allow_dot_segments=True allows it"
        )


def _with_customer_key(given: dict[str, Any]) -> dict[str, Any]:
    """``given`` with the SSE-C key as S3 takes it: base64, and its MD5 beside it.

    botocore does that for most calls, but not for ListParts. If the MD5 is given, botocore does not touch the key, and
    shows it in its errors.
    """
    key = given.get("SSECustomerKey")
    if "SSECustomerKeyMD5" in given:
        if not isinstance(key, str) or not _BASE64.fullmatch(key):
            raise ValueError("SSECustomerKey must be base64 text when SSECustomerKeyMD5 is given")
    elif isinstance(key, (str, bytes, bytearray)):
        raw = key.encode() if isinstance(key, str) else bytes(key)
        if len(raw) != CUSTOMER_KEY_BYTES:
            raise ValueError(f"SSECustomerKey is {len(raw)} bytes long; S3 takes {CUSTOMER_KEY_BYTES}")
        given["SSECustomerKey"] = base64.b64encode(raw).decode()
        given["SSECustomerKeyMD5"] = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()
    return given


def _nearest(name: str, known: frozenset[str] | set[str]) -> str:
    plain = {_plain(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_plain(name), plain, n=1)
    return f"; did you mean {plain[close[0]]}?" if close else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _kind(value: Any) -> str:
    """The type of a wrong value, for an error. The value may be a secret, so the error does not show it."""
    if value is None:
        return "None"
    if isinstance(value, dict) and value:
        return f"dict of {', '.join(sorted({type(one).__name__ for one in value.values()}))}"
    return type(value).__name__
