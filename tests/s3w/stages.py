"""A real store refuses a call, or its answer gets lost."""

from typing import Any

import fsspec
import pytest

from s3writer import PartlyCommittedError
from s3writer.fsspec.options import client_for
from tests.s3w import conftest
from tests.stages import Place, Stages, StagesOfAnySize

MIB = 1024**2
#: A lost answer is not asked for again, which takes seconds.
OPTIONS = {**conftest.OPTIONS, "config_kwargs": {"retries": {"total_max_attempts": 1}}}


@pytest.fixture
def fs() -> Any:
    """The file system of this module's options."""
    return fsspec.filesystem("s3w", **OPTIONS)


def write(stream: Any, payload: bytes) -> None:
    with stream:
        for start in range(0, len(payload), MIB):
            stream.write(payload[start : start + MIB])


class TestFiles(StagesOfAnySize):
    """The file system opens a file, or fsspec opens a URL."""

    @pytest.fixture(params=["file system", "URL"])
    def place(self, fs: Any, client: Any, bucket: str, request: pytest.FixtureRequest) -> Place:
        def write_file(payload: bytes) -> None:
            if request.param == "URL":
                write(fsspec.open(f"s3w://{bucket}/key", "wb", **OPTIONS).open(), payload)
            else:
                write(fs.open(f"{bucket}/key", "wb"), payload)

        return Place(client, bucket, "key", client_for(fs), write_file)


class TestTransactions(Stages):
    """A transaction publishes its only file."""

    refused = unknown = PartlyCommittedError

    @pytest.fixture
    def place(self, fs: Any, client: Any, bucket: str) -> Place:
        def write_file(payload: bytes) -> None:
            with fs.transaction:
                write(fs.open(f"{bucket}/key", "wb"), payload)

        return Place(client, bucket, "key", client_for(fs), write_file)
