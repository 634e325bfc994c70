"""Django, the user who asked: real models, real serializers, and what comes back equals the database row for row."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db.models import Model

from tests.helpers import Boom, content, uploads, writer
from tests.library.project import rows, values

FORMATS = ["xml", "json", "jsonl", "yaml"]

pytestmark = pytest.mark.usefixtures("database")


def assert_equals_database(fmt: str, stored: bytes | None) -> None:
    assert stored is not None
    found = list(serializers.deserialize(fmt, stored.decode()))
    expected = list(rows())
    assert [values(one.object) for one in found] == [values(one) for one in expected]
    for one, row in zip(found, expected, strict=True):
        if one.m2m_data:
            translators = {getattr(author, "pk", author) for author in one.m2m_data["translators"]}
            assert translators == {author.pk for author in row.translators.all()}


@pytest.mark.parametrize("fmt", FORMATS)
def test_serialize_to_the_bare_writer(client: Any, key: str, fmt: str) -> None:
    with writer(client, key) as stream:
        assert serializers.serialize(fmt, rows(), stream=stream) is None
    assert stream.result.parts >= 2
    assert_equals_database(fmt, content(client, key))


@pytest.mark.parametrize("fmt", FORMATS)
def test_serialize_through_a_text_wrapper(client: Any, key: str, fmt: str) -> None:
    with io.TextIOWrapper(writer(client, key), encoding="utf-8") as text:
        serializers.serialize(fmt, rows(), stream=text)
    assert_equals_database(fmt, content(client, key))


def test_close_publishes_after_the_xml_serializer_has_dropped_its_own_wrapper(client: Any, key: str) -> None:
    stream = writer(client, key)
    serializers.get_serializer("xml")().serialize(rows(), stream=stream)
    assert not stream.closed
    stream.close()
    assert_equals_database("xml", content(client, key))


@pytest.mark.parametrize("fmt", FORMATS)
def test_dumpdata_to_the_writer(client: Any, key: str, fmt: str) -> None:
    with writer(client, key) as stream:
        call_command("dumpdata", "library", format=fmt, stdout=stream)
    assert_equals_database(fmt, content(client, key))


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("wrap", [lambda stream: stream, io.TextIOWrapper], ids=["bare", "text"])
def test_a_queryset_that_raises_halfway_publishes_nothing(client: Any, key: str, fmt: str, wrap: Any) -> None:
    def broken() -> Iterator[Model]:
        for number, row in enumerate(rows()):
            if number == 280:
                raise Boom
            yield row

    with pytest.raises(Boom), wrap(writer(client, key)) as stream:
        serializers.serialize(fmt, broken(), stream=stream)
    assert content(client, key) is None
    assert uploads(client, key) == []
