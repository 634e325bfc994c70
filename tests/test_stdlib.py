"""Python's own test suites for what wraps a stream, with a writer in place of each file that they write.

They say better than anybody else what a file must bear. Each file that a test opens for writing is an object in the
store; when it has been published it is fetched, and lies where the test will look for it.
"""

import gzip
import io
import os
import re
import unittest
import uuid
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from s3writer import MultipartUploadWriter
from tests.helpers import content
from tests.stores import BUCKET

pytest.importorskip("test.test_gzip", reason="this Python came without its own tests")

#: Which suites, which of their tests (all for an empty text), and which of these ask for what no stream can do: to go
#: back, to read, or to have a descriptor.
SUITES = {
    "test_bz2": ("", "testOpenFileWithName"),
    "test_gzip": ("", "test_fileobj_"),
    "test_io": ("^CBufferedWriterTest|^CTextIOWrapperTest", "test_truncate|test_append_bom|test_seek|shutdown"),
    "test_lzma": ("", "test_write_to_file"),
    "test_plistlib": ("", "$^"),
    "test_tarfile": ("StreamWriteTest", "$^"),
    "test_xml_etree": ("", "binary_file_with_bom"),
    "test_zipfile": ("DeflateTestsWithSourceFile|UnseekableTests", "after_close$|default_name"),
}
#: Files of these are opened "w+b", but written from front to back if that is all that can be done.
READ_BACK = {"test_zipfile"}


class Fetched(MultipartUploadWriter):
    """A writer whose object is fetched to ``path`` once it is published."""

    def __init__(self, client: Any, path: Any, mode: str) -> None:
        super().__init__(BUCKET, uuid.uuid4().hex, client=client, exclusive="x" in mode)
        self._s3, self._path = client, path
        self.name = os.fspath(path)

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        body = content(self._s3, self._upload.calls.key)
        if body is not None:
            with io.FileIO(self._path, "wb") as file:
                file.write(body)


class Files:
    """The built-in ``open``, but whoever opens a file to write it gets a writer, wrapped as ``open`` would wrap it."""

    def __init__(self, client: Any, letters: str) -> None:
        self.objects = 0
        self._client = client
        self._letters = set(letters)
        self._open = open

    def __call__(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **others: Any,
    ) -> Any:
        """An object if ``file`` is a path and ``mode`` has no other letters than those given."""
        if not isinstance(file, (str, bytes, os.PathLike)) or others or set(mode) - self._letters:
            return self._open(file, mode, buffering, encoding, errors, newline, **others)
        if "x" in mode and Path(os.fsdecode(file)).exists():
            raise FileExistsError(file)
        raw = Fetched(self._client, file, mode)
        self.objects += 1
        if "b" in mode:
            return io.BufferedWriter(raw, buffering) if buffering > 1 else raw
        try:
            if not buffering:
                raise ValueError("can't have unbuffered text I/O")
            return io.TextIOWrapper(raw, encoding, errors, newline)
        except BaseException:
            raw.abort()
            raise


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


@pytest.mark.parametrize("name", SUITES)
def test_a_writer_bears_what_python_s_own_tests_do_to_a_file(
    client: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = Files(client, "wxb+" if name in READ_BACK else "wxbt")
    module = import_module(f"test.{name}")
    with (
        (tmp_path / "nowhere").open("wb") as nowhere,
        mock.patch("builtins.open", files),
        mock.patch("io.open", files),
        mock.patch.object(gzip.GzipFile, "fileno", return_value=nowhere.fileno()),
        mock.patch("os.fsync"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        all_of_them = each(unittest.defaultTestLoader.loadTestsFromModule(module))
        wanted, unfit = SUITES[name]
        names = {test: test.id().removeprefix(f"test.{name}.") for test in all_of_them}
        fit = [test for test, its in names.items() if re.search(wanted, its) and not re.search(unfit, its)]
        result = unittest.TestSuite(fit).run(unittest.TestResult())
    assert [f"{test.id()}: {trace[-500:]}" for test, trace in result.failures + result.errors] == []
    assert files.objects > 0
    assert result.testsRun > 10
