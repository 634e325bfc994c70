"""What mypy and pyright say about code that uses a writer; `typed` has the code that they accept."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import botocore.session
import pytest

import s3writer
from s3writer import MultipartUploadWriter, options
from s3writer._file.compression import FORMATS
from s3writer._s3.checksums import algorithms
from tests import s3_arguments
from tests.test_house import ROOT

#: Wrong calls of `s3writer.open`, and what pyright names. mypy says that no overload fits.
WRONG_CALLS = {
    's3writer.open(URL, "rb")': '"mode"',
    's3writer.open(URL, "r")': '"mode"',
    's3writer.open(URL, "a")': '"mode"',
    's3writer.open(URL, "w+b")': '"mode"',
    's3writer.open(URL, "wb", newline="")': '"mode"',
    's3writer.open(URL, compression="gz")': '"compression"',
    's3writer.open(URL, ContentTyp="text/csv")': "No overload",
    's3writer.open(URL, "w", part_size="5 MiB")': '"part_size"',
    'aio.open(URL, "rb")': '"mode"',
    'aio.open(URL, ContentTyp="text/csv")': "No overload",
}

#: Wrong statements, and what both checkers name.
MISTAKES = {
    's3writer.open(URL, "w").buffer.results': '"results"',
    'MultipartUploadWriter("bucket")': '"key"',
    'MultipartUploadWriter("bucket", "key", checksum="MD5")': '"checksum"',
    'MultipartUploadWriter("bucket", "key", on_error="resume")': '"on_error"',
    'MultipartUploadWriter("bucket", "key", part_sise=5)': '"part_sise"',
    'MultipartUploadWriter("bucket", "key", ContentTyp="text/csv")': '"ContentTyp"',
    'MultipartUploadWriter("bucket", "key", ContentType=5)': '"ContentType"',
    'MultipartUploadWriter("bucket", "key", Metadata="name=value")': '"Metadata"',
    'MultipartUploadWriter("bucket", "key", BucketKeyEnabled="yes")': '"BucketKeyEnabled"',
    'MultipartUploadWriter("bucket", "key", IfNoneMatch="*")': '"IfNoneMatch"',
    'MultipartUploadWriter("bucket", "key", ChecksumCRC32="AAAAAA==")': '"ChecksumCRC32"',
    'MultipartUploadWriter("bucket", "key", Body=b"bytes")': '"Body"',
    'MultipartUploadWriter("bucket", "key").write(5)': '"write"',
    'MultipartUploadWriter.resume("bucket", "key", "id", ContentType="text/csv")': '"ContentType"',
    's3writer.list_uploads("bucket", ContentType="text/csv")': '"ContentType"',
    's3writer.commit_all([], StorageClass="STANDARD")': '"StorageClass"',
    'SegmentedUpload.begin("bucket", "key", segments=1, checksum="SHA256")': '"checksum"',
}

TOP = """\
import s3writer
from s3writer import MultipartUploadWriter, aio
from s3writer.segments import SegmentedUpload

URL = "s3://bucket/key"
"""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a function for each mistake."""
    wrong = [*WRONG_CALLS, *MISTAKES]
    functions = [f"\ndef mistake_{number}() -> object:\n    return {code}\n" for number, code in enumerate(wrong)]
    file = tmp_path_factory.mktemp("types") / "mistaken.py"
    file.write_text(TOP + "\n".join(functions), encoding="utf-8")
    return file


def by_code(file: Path, said: dict[int, str]) -> dict[str, str]:
    """What was said about each statement; ``said`` is by the numbers of lines."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {lines[number - 1].removeprefix("    return "): message for number, message in said.items()}


@pytest.fixture(scope="module")
def mypy(mistaken: Path) -> dict[str, str]:
    options = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={mistaken.with_name('cache')}"]
    command = [sys.executable, "-m", "mypy", *options, "--output=json", str(mistaken)]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return by_code(mistaken, {one["line"]: one["message"] for one in found if one["severity"] == "error"})


@pytest.fixture(scope="module")
def pyright(mistaken: Path) -> dict[str, str]:
    config = mistaken.with_name("pyrightconfig.json")
    given = {"include": [str(mistaken)], "extraPaths": [str(ROOT / "src")], "typeCheckingMode": "standard"}
    config.write_text(json.dumps({**given, "pythonVersion": "3.11"}), encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(ended.stdout)["generalDiagnostics"]
    said = {one["range"]["start"]["line"] + 1: one["message"] for one in found if one["severity"] == "error"}
    return by_code(mistaken, said)


@pytest.mark.parametrize(("code", "named"), MISTAKES.items(), ids=list(MISTAKES))
def test_mypy_and_pyright_name_the_mistake(
    mypy: dict[str, str], pyright: dict[str, str], code: str, named: str
) -> None:
    assert named in mypy[code]
    assert named in pyright[code]


@pytest.mark.parametrize(("code", "named"), WRONG_CALLS.items(), ids=list(WRONG_CALLS))
def test_mypy_and_pyright_refuse_a_wrong_call_of_open(
    mypy: dict[str, str], pyright: dict[str, str], code: str, named: str
) -> None:
    assert "No overload variant" in mypy[code]
    assert named in pyright[code]


def test_the_types_of_s3_s_arguments_are_those_of_the_newest_botocore() -> None:
    model = botocore.session.get_session().get_service_model("s3")
    assert s3_arguments.MADE.read_text(encoding="utf-8") == s3_arguments.module(model), (
        "run python -m tests.s3_arguments"
    )


def test_every_argument_that_has_a_type_is_known_to_the_writer(client: Any, key: str) -> None:
    untyped: Any = MultipartUploadWriter
    for name in options.S3Arguments.__annotations__.keys() - {"SSECustomerKeyMD5"}:
        with pytest.raises(ValueError, match=f"^{name} must be a "):
            untyped("bucket", key, client=client, **{name: object()})


def typed_options(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters that have names in calls, without its ``**`` ones."""
    hints = get_type_hints(function)
    kinds = inspect.signature(function).parameters.items()
    return {name: hints[name] for name, one in kinds if one.kind is inspect.Parameter.KEYWORD_ONLY}


def test_the_options_of_open_and_resume_are_those_of_the_writer() -> None:
    of_writer = typed_options(MultipartUploadWriter.__init__) | get_type_hints(options.S3Arguments)
    of_open = get_type_hints(options.WriterOptions)
    assert of_open == {name: kind for name, kind in of_writer.items() if name != "encoding"}
    of_resume = get_type_hints(options.ResumeOptions)
    late = options.S3Arguments.__annotations__.keys() - options.CommitArguments.__annotations__.keys()
    own = {"on_error", "commit_token"}
    assert of_resume == {name: kind for name, kind in of_writer.items() if name not in late | own}


def values(union: Any) -> set[str]:
    """The strings in a union of literals and None."""
    return {value for literal in get_args(union) for value in get_args(literal)}


def test_the_values_that_checkers_know_are_those_that_there_are() -> None:
    assert get_args(options.CompressionFormat) == tuple(FORMATS)
    assert values(options.Compression) == {*FORMATS, "auto", "infer"}
    assert values(options.Checksum) == {*algorithms(), "auto"}
    assert values(options.CrcChecksum) == {name for name, one in algorithms().items() if one.crc} | {"auto"}


def test_the_names_of_options_are_those_that_exist() -> None:
    assert [name for name in options.__all__ if not hasattr(options, name)] == []
    assert s3writer.open.__module__ == "s3writer"
    assert options.S3Arguments.__module__ == "s3writer.options"
