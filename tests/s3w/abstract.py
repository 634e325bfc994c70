"""What every file system of fsspec does: fsspec's own tests of all that writes."""

from typing import Any

import fsspec
import pytest
from fsspec.tests import abstract

from tests.s3w.conftest import OPTIONS


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self) -> Any:
        return fsspec.filesystem("s3w", **OPTIONS)

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self, bucket: str) -> str:
        return bucket

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass
