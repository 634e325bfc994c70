"""The pytest fixture of s3writer. pytest loads this module at its start, so it imports nothing of s3writer by then."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from s3writer.testing import MemoryS3


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest: declare the marker."""
    config.addinivalue_line("markers", "memory_s3(*buckets): the buckets of the fixture memory_s3.")


@pytest.fixture
def memory_s3(request: pytest.FixtureRequest) -> "Iterator[MemoryS3]":
    """S3 in memory, for all writers of the test that are given no client; see ``s3writer.testing``.

    The marker ``@pytest.mark.memory_s3("my-bucket")`` names the buckets. For all tests of a module write ``pytestmark =
    pytest.mark.memory_s3("my-bucket")``.
    """
    from s3writer.testing import MemoryS3

    buckets = [bucket for mark in request.node.iter_markers("memory_s3") for bucket in mark.args]
    if not buckets:
        pytest.fail('memory_s3 has no bucket: mark the test with @pytest.mark.memory_s3("my-bucket")', pytrace=False)
    with MemoryS3(*buckets) as s3:
        yield s3
