"""What `check-store` tries on a store: a probe for each promise of s3writer's in which the store has a part."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

from s3writer._errors import (
    BucketNotFoundError,
    ConnectionFailedError,
    CredentialsError,
    KeyExistsError,
    NotCommittedError,
)
from s3writer._s3.checksums import Algorithm, algorithms
from s3writer._s3.lazy import Lazy
from s3writer._upload.plan import MIB, MIN_PART_BYTES
from s3writer.cli.place import SMALL, Place
from s3writer.pending import PendingUpload
from s3writer.unfinished import list_uploads

exceptions = Lazy("botocore.exceptions")

_OTHER = b"other bytes"
_CUSTOMER_KEY: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))}
_NOBODYS_ETAG = '"00000000000000000000000000000000"'


class Verdict(Enum):
    """What a store makes of a promise."""

    HOLDS = "holds"
    #: The store says yes, and does not do it.
    IGNORED = "ignored"
    #: The store says no, so that the user knows.
    REFUSED = "refused"


@dataclass(frozen=True)
class Finding:
    """What a probe has found out. ``detail`` says what the store did instead."""

    name: str
    promise: str
    verdict: Verdict
    is_needed: bool
    detail: str = ""
    advice: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise holds."""
        return self.verdict is Verdict.HOLDS


class NotKeptError(Exception):
    """The store has taken what it was asked for, and has not done it."""


@dataclass(frozen=True)
class Probe:
    """Tries one promise. ``is_needed`` says that s3writer can't be used without it. ``advice`` says what follows if it
    is ignored, ``if_refused`` what to do if it is refused, where that is something else.
    """

    name: str
    promise: str
    attempt: Callable[[Place], None]
    advice: str
    if_refused: str = ""
    is_needed: bool = False

    def find(self, place: Place) -> Finding:
        """Try it."""
        about = self.name, self.promise
        try:
            self.attempt(place)
        except NotKeptError as error:
            return Finding(*about, Verdict.IGNORED, self.is_needed, str(error), self.advice)
        except (BucketNotFoundError, ConnectionFailedError, CredentialsError):
            raise  # it says nothing of this promise
        except Exception as error:
            return Finding(*about, Verdict.REFUSED, self.is_needed, _said(error), self.if_refused or self.advice)
        return Finding(*about, Verdict.HOLDS, self.is_needed)


PROBES: list[Probe] = []


def probe(promise: str, advice: str, name: str = "", **options: Any) -> Callable[[Callable[[Place], None]], None]:
    """Makes a function a probe, by default of the function's name."""

    def add(attempt: Callable[[Place], None]) -> None:
        own = name or attempt.__name__.strip("_").replace("_", "-")
        PROBES.append(Probe(own, promise, attempt, advice, **options))

    return add


def check(place: Place) -> Iterator[Finding]:
    """Try all probes."""
    for each in PROBES:
        yield each.find(place)


@probe("a small object arrives whole, and replaces the one before", "this store can't be used", is_needed=True)
def _small_object(place: Place) -> None:
    key = place.key("small")
    for data in (_OTHER, SMALL):
        place.write(key, data)
        _check(place.content(key) == data, "the object holds other bytes")


@probe("an object of many parts arrives whole", "only objects of up to 5 MiB can be written", is_needed=True)
def _large_object(place: Place) -> None:
    key, data = place.key("large"), os.urandom(2 * MIN_PART_BYTES + 1)
    place.write(key, data)
    _check(place.content(key) == data, "the object holds other bytes")


@probe("an aborted upload is gone, and publishes nothing", "a failure leaves something behind", is_needed=True)
def _abort(place: Place) -> None:
    key = place.key("aborted")
    place.prepare(key).abort(client=place.client)  # which looks whether the upload is gone
    _check(place.content(key) is None, "the object is there")


@probe("unfinished uploads and their parts are listed", "what a failure has left can't be found or resumed")
def _listing(place: Place) -> None:
    key = place.key("unfinished")
    pending = place.prepare(key)
    shown = [upload for upload in list_uploads(place.bucket, key, client=place.client) if upload.key == key]
    _check([upload.upload_id for upload in shown] == [pending.upload_id], "the upload is not shown")
    _check(shown[0].size == len(SMALL), "the upload's parts are not shown")
    pending.abort(client=place.client)
    _check(not list(list_uploads(place.bucket, key, client=place.client)), "the aborted upload is still shown")


@probe("parts may have different sizes", "say `equal_parts=True`")
def _different_sizes(place: Place) -> None:
    _publish_parts(place, place.key("sizes"), {1: MIN_PART_BYTES, 2: MIN_PART_BYTES + MIB, 3: 1})


@probe("part numbers may have gaps", "objects from segments can't be written")
def _gaps(place: Place) -> None:
    _publish_parts(place, place.key("gaps"), {1: MIN_PART_BYTES, 3: 1})


def _publish_parts(place: Place, key: str, sizes: Mapping[int, int]) -> None:
    """Publish an object of parts of these sizes in bytes, by their numbers."""
    upload_id = place.begin(key)
    whole, parts = b"", []
    for number, size in sizes.items():
        data = os.urandom(size)
        named = {"Bucket": place.bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": place.client.upload_part(**named, Body=data).get("ETag", "")})
        whole += data
    place.client.complete_multipart_upload(
        Bucket=place.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
    )
    _check(place.content(key) == whole, "the object holds other bytes")


@probe("a commit with a wrong total size is refused", "the parts' ETags still count")
def _total_size(place: Place) -> None:
    pending = place.prepare(place.key("total-size"))
    (part,) = pending.parts
    _expect_refusal(place, dataclasses.replace(pending, parts=[dataclasses.replace(part, size=part.size + 1)]))


@probe("a commit with a wrong checksum is refused", "the parts' ETags still count")
def _whole_checksum(place: Place) -> None:
    pending = place.prepare(place.key("whole-checksum"))
    name = (pending.checksum or "").partition(":")[0]
    wrong = f"{name}:{_digest(algorithms()[name], _OTHER)}"
    _expect_refusal(place, dataclasses.replace(pending, checksum=wrong))


def _checksum(algorithm: Algorithm) -> Callable[[Place], None]:
    def attempt(place: Place) -> None:
        key = place.key(algorithm.name)
        named = {"Bucket": place.bucket, "Key": key, "Body": SMALL}
        place.write(key, checksum=algorithm.name)
        wrong = {algorithm.field: _digest(algorithm, _OTHER)}
        with _refusal(HTTPStatus.BAD_REQUEST):
            place.client.put_object(**named, **wrong)
            raise NotKeptError("an object with a wrong checksum was taken")
        upload_id = place.prepare(key, checksum=algorithm.name).upload_id
        with _refusal(HTTPStatus.BAD_REQUEST):
            place.client.upload_part(**named, UploadId=upload_id, PartNumber=2, **wrong)
            raise NotKeptError("a part with a wrong checksum was taken")

    return attempt


for _algorithm in algorithms().values():
    probe(
        f"bytes with a wrong {_algorithm.name} are refused",
        "only TLS notices bytes that change on the way",
        name=_algorithm.name.lower(),
        if_refused=f'leave out `checksum="{_algorithm.name}"`',
    )(_checksum(_algorithm))


@probe("`exclusive=True` keeps a small object that is there", "don't rely on `exclusive=True`")
def _exclusive_small(place: Place) -> None:
    key = place.key("exclusive-small")
    place.write(key, exclusive=True)
    with contextlib.suppress(KeyExistsError):
        place.write(key, _OTHER, exclusive=True)
        raise NotKeptError("the object was overwritten")


@probe("`exclusive=True` keeps an object against many parts", "don't rely on `exclusive=True`")
def _exclusive_large(place: Place) -> None:
    key = place.key("exclusive-large")
    pending = place.prepare(key, _OTHER, exclusive=True)
    place.write(key)
    with contextlib.suppress(KeyExistsError):
        pending.commit(client=place.client)
        raise NotKeptError("the object was overwritten")
    pending.abort(client=place.client)


@probe("`IfMatch` keeps an object that has changed", "don't rely on `IfMatch`")
def _if_match(place: Place) -> None:
    key = place.key("if-match")
    etag = place.write(key).result.etag
    place.write(key, IfMatch=etag)
    with _refusal(HTTPStatus.PRECONDITION_FAILED):
        place.write(key, _OTHER, IfMatch=_NOBODYS_ETAG)
        raise NotKeptError("the object was overwritten")


@probe("metadata is kept", "say `commit_token=False`: a commit whose answer was lost is unknown then")
def _metadata(place: Place) -> None:
    for key in (place.key("metadata-small"), place.key("metadata-large")):
        if key.endswith("small"):
            place.write(key, Metadata={"origin": "check"})
        else:
            place.prepare(key, Metadata={"origin": "check"}).commit(client=place.client)
        kept = {name.lower(): value for name, value in place.head(key).get("Metadata", {}).items()}
        _check(kept.get("origin") == "check" and "s3writer-token" in kept, "the object has no such metadata")


@probe("tags are kept", "leave out `Tagging`")
def _tags(place: Place) -> None:
    key = place.key("tags")
    place.write(key, Tagging="team=data")
    found = place.client.get_object_tagging(Bucket=place.bucket, Key=key)["TagSet"]
    _check(found == [{"Key": "team", "Value": "data"}], "the object has no such tag")


@probe(
    "an object with a key of SSE-C can't be read without it",
    "the object is not encrypted",
    if_refused="leave out `SSECustomerKey`",
)
def _customer_key(place: Place) -> None:
    key = place.key("customer-key")
    place.write(key, **_CUSTOMER_KEY)
    with _refusal(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
        place.content(key)
        raise NotKeptError("the object can be read without the key")
    _check(place.content(key, **_CUSTOMER_KEY) == SMALL, "the object can't be read with the key")


@probe("a key that ends in `/` holds bytes", "give such keys another end")
def _slash(place: Place) -> None:
    key = place.key("slash/")
    place.write(key)
    _check(place.content(key) == SMALL, "the object is empty")


@probe("the commit answers the object's ETag", "don't compare `result.etag` with what the store lists")
def _etag(place: Place) -> None:
    key = place.key("etag")
    result = place.prepare(key).commit(client=place.client)
    _check(result.etag == place.head(key).get("ETag"), f"it answered {result.etag}")


def _check(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise NotKeptError(otherwise)


def _expect_refusal(place: Place, wrong: PendingUpload) -> None:
    with _refusal(HTTPStatus.BAD_REQUEST):
        wrong.commit(client=place.client)
        raise NotKeptError("it was published")
    wrong.abort(client=place.client)


def _digest(algorithm: Algorithm, data: bytes) -> str:
    digest = algorithm.start()
    digest.update(memoryview(data))
    return digest.value()


@contextlib.contextmanager
def _refusal(*statuses: int) -> Iterator[None]:
    """The block's last call must be refused, with one of these statuses of HTTP. Any other refusal is raised."""
    try:
        yield
    except (exceptions.ClientError, NotCommittedError) as error:
        refused = error if isinstance(error, exceptions.ClientError) else error.__cause__
        answer = refused.response if isinstance(refused, exceptions.ClientError) else {}
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status not in statuses:
            raise


def _said(error: BaseException) -> str:
    """What the store said, else what the error says."""
    for each in (error, error.__cause__):
        if isinstance(each, exceptions.ClientError):
            told = each.response["Error"]
            return f"{told.get('Code')}: {told.get('Message', '').rstrip('.')}"
    return str(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")
