"""What ``import s3writer`` brings along, and what it does not."""

import subprocess
import sys
from importlib.metadata import requires

import pytest

import s3writer

SLOW = [
    "awscrt",
    "boto3",
    "botocore",
    "click",
    "django",
    "fsspec",
    "importlib.metadata",
    "rich",
    "s3fs",
    "urllib3",
    "zstandard",
]


def test_importing_brings_nothing_that_takes_long() -> None:
    script = f"import sys, s3writer; print([name for name in {SLOW} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_command_that_asks_nothing_of_s3_imports_no_boto() -> None:
    slow = [name for name in SLOW if name not in {"click", "importlib.metadata", "rich"}]
    for arguments in (["--help"], ["uploads", "--help"]):
        script = f"import sys; from s3writer.cli import run; run({arguments})"
        script += f"; print([name for name in {slow} if name in sys.modules])"
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert said.stdout.splitlines()[-1] == "[]"


def test_no_thread_of_an_upload_imports_a_module_whose_lock_a_forked_child_would_wait_for() -> None:
    script = """
import sys, threading

class Watch:
    def find_spec(self, name, *_):
        if threading.current_thread() is not threading.main_thread():
            print(name)

sys.meta_path.insert(0, Watch())
from s3writer import MultipartUploadWriter
from s3writer.testing import MemoryS3
with MemoryS3("bucket") as s3:
    for _ in range(2):
        with MultipartUploadWriter("bucket", "key", client=s3.client) as stream:
            stream.write(bytes(30_000_000))
for thread in threading.enumerate():
    if thread.name.startswith("s3writer"):
        thread.join()
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == ""


def test_every_public_name_is_there() -> None:
    assert [name for name in s3writer.__all__ if not hasattr(s3writer, name)] == []


def test_the_version_is_that_of_the_package() -> None:
    assert s3writer.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = s3writer.nope


def test_a_copy_that_was_never_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3writer, "__name__", "copied")
    with pytest.raises(AttributeError, match="copied was not installed"):
        _ = s3writer.__version__


def test_boto3_is_all_that_is_required() -> None:
    required = [line for line in requires("s3writer") or [] if "extra ==" not in line]
    assert required == ["boto3>=1.36.0"]


def test_dir_shows_the_public_names_alone() -> None:
    assert dir(s3writer) == sorted([*s3writer.__all__, "__version__"])
