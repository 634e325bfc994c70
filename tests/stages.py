"""What must hold where a real store refuses a call, or its answer gets lost, whatever writes the file.

Subclass `Stages` with a fixture ``place``. It writes large files; `StagesOfAnySize` writes small ones, too, whose only
call is PutObject.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from s3writer import AccessDeniedError, OutcomeUnknownError
from tests.wire import Wire, refuse

SMALL, LARGE = b"some of it\n" * 90, bytes(range(256)) * 48 * 1024


@dataclass(frozen=True)
class Place:
    """Where a file goes. ``write`` writes a file of these bytes and publishes it. ``writing`` is the client that sends
    it, and ``client`` another one.
    """

    client: Any
    bucket: str
    key: str
    writing: Any
    write: Callable[[bytes], object]

    @property
    def content(self) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read())

    @property
    def uploads(self) -> list[Any]:
        found = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [upload for upload in found if upload["Key"] == self.key]


class Stages:
    """Failures at each call that publishes a large file."""

    #: What is raised if a commit, or an earlier call, was refused.
    refused: ClassVar[type[Exception]] = AccessDeniedError
    #: What is raised if nobody knows whether the file was published.
    unknown: ClassVar[type[Exception]] = OutcomeUnknownError

    @pytest.mark.parametrize("call", ["CreateMultipartUpload", "UploadPart"])
    def test_a_call_that_is_refused_leaves_the_key_as_it_was(self, place: Place, call: str) -> None:
        check_refusal(place, LARGE, call, AccessDeniedError)

    def test_a_commit_that_is_refused_leaves_the_key_as_it_was(self, place: Place) -> None:
        check_refusal(place, LARGE, "CompleteMultipartUpload", self.refused)

    def test_a_commit_whose_answer_is_lost_is_a_success(self, place: Place) -> None:
        check_lost_answer(place, LARGE, "CompleteMultipartUpload")

    def test_a_commit_that_can_not_be_looked_up_is_unknown(self, place: Place) -> None:
        check_unknown(place, LARGE, "CompleteMultipartUpload", self.unknown)


class StagesOfAnySize(Stages):
    """Failures at the only call that publishes a small file, too."""

    def test_a_put_that_is_refused_leaves_the_key_as_it_was(self, place: Place) -> None:
        check_refusal(place, SMALL, "PutObject", self.refused)

    def test_a_put_whose_answer_is_lost_is_a_success(self, place: Place) -> None:
        check_lost_answer(place, SMALL, "PutObject")

    def test_a_put_that_can_not_be_looked_up_is_unknown(self, place: Place) -> None:
        check_unknown(place, SMALL, "PutObject", self.unknown)


@contextmanager
def wire_of(place: Place) -> Iterator[Wire]:
    """The wire of the client that sends. Other tests may use the same client."""
    wire = Wire(place.writing)
    try:
        yield wire
    finally:
        wire.remove()


def check_refusal(place: Place, payload: bytes, call: str, refused: type[Exception]) -> None:
    place.client.put_object(Bucket=place.bucket, Key=place.key, Body=b"before")
    with wire_of(place) as wire:
        wire.on(call, refuse(403, "AccessDenied"))
        with pytest.raises(refused):
            place.write(payload)
    assert call in wire.sent
    assert (place.content, place.uploads) == (b"before", [])


def check_lost_answer(place: Place, payload: bytes, call: str) -> None:
    with wire_of(place) as wire:
        wire.on(call, wire.lose_answer)
        place.write(payload)
    assert call in wire.sent
    assert (place.content, place.uploads) == (payload, [])


def check_unknown(place: Place, payload: bytes, call: str, unknown: type[Exception]) -> None:
    with wire_of(place) as wire:
        wire.on(call, wire.lose_answer)
        wire.on("HeadObject", refuse(403, "403"))
        with pytest.raises(unknown):
            place.write(payload)
    assert (place.content, place.uploads) == (payload, [])
