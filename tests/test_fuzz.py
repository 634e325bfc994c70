"""Odd keys, metadata, values and buffers: a clear error at once, or the right object, and nothing else."""

import ctypes
import itertools
from typing import Any
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from s3writer import NotCommittedError
from tests.helpers import content, uploads, writer
from tests.stores import BUCKET

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.just(object()),
)
OPTIONS = [
    "part_size",
    "max_concurrency",
    "max_memory",
    "checksum",
    "expected_size",
    "encoding",
    "progress",
    "ContentType",
    "Metadata",
    "Tagging",
    "SSECustomerKey",
    "StorageClass",
]


@settings(max_examples=60)
@given(name=st.text(min_size=1, max_size=40))
def test_any_key_is_refused_or_holds_the_object(client: Any, name: str) -> None:
    prefix = uuid4().hex
    try:
        with writer(client, f"{prefix}/{name}") as stream:
            stream.write(b"content")
    except (ValueError, NotCommittedError):
        assert client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("KeyCount", 0) == 0
    else:
        assert content(client, f"{prefix}/{name}") == b"content"


@settings(max_examples=60)
@given(metadata=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
def test_any_metadata_is_refused_or_kept(client: Any, metadata: dict[str, str]) -> None:
    key = uuid4().hex
    try:
        with writer(client, key, Metadata=metadata) as stream:
            stream.write(b"content")
    except (ValueError, TypeError, NotCommittedError):
        assert content(client, key) is None
    else:
        assert content(client, key) == b"content"


@settings(max_examples=150)
@given(options=st.dictionaries(st.sampled_from(OPTIONS), ANYTHING, max_size=2))
def test_any_option_is_refused_at_once_or_does_no_harm(client: Any, options: dict[str, Any]) -> None:
    key = uuid4().hex
    try:
        stream = writer(client, key, **options)
    except (ValueError, TypeError) as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert any(name in refused for name in options)
        return
    try:
        with stream:
            stream.write(b"content")
    except (NotCommittedError, TypeError):
        assert content(client, key) is None
    else:
        got = client.get_object(Bucket=BUCKET, Key=key, **_customer_key(options))
        assert got["Body"].read() == b"content"
    assert uploads(client, key) == []


def _customer_key(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: options[name] for name in ("SSECustomerKey",) if options.get(name)}
    return {**given, "SSECustomerAlgorithm": "AES256"} if given else {}


@settings(max_examples=60)
@given(
    kind=st.sampled_from([ctypes.c_char, ctypes.c_int16, ctypes.c_double, ctypes.c_longlong.__ctype_be__]),
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=3),
    times=st.integers(1, 3),
)
def test_a_buffer_of_any_shape_and_format_goes_in_as_its_bytes(
    client: Any, kind: Any, shape: list[int], times: int
) -> None:
    key = uuid4().hex
    for length in shape:
        kind = kind * length
    values = [kind() for _ in range(times)]
    for number, value in enumerate(values):
        ctypes.memset(ctypes.addressof(value), number + 65, ctypes.sizeof(value))
    with writer(client, key) as stream:
        written = [stream.write(value) for value in itertools.chain(values, map(memoryview, values))]
    assert written == [ctypes.sizeof(kind)] * (2 * times)
    assert content(client, key) == b"".join(bytes(memoryview(value)) for value in values) * 2
