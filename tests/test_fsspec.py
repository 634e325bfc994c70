"""`s3writer.fsspec`: the tests of the folder s3w, which need s3fs, run with the interpreter of .venv-s3fs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import s3writer
from tests.conftest import Running
from tests.test_docs import ROOT, S3FS


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(["files", "transactions"], marks=pytest.mark.traces_processes, id="traced"),
        pytest.param(["abstract", "interrupts"], id="abstract"),
        pytest.param(["libraries", "stages"], id="libraries"),
    ],
)
def test_a_file_of_fsspec_is_published_whole_or_not_at_all(
    running: Running, tmp_path: Path, files: Sequence[str]
) -> None:
    assert S3FS.exists(), "make test-newest makes .venv-s3fs: s3fs wants a botocore of its own"
    # What is tested, and covered, is the package of this interpreter.
    (tmp_path / "s3writer").symlink_to(Path(s3writer.__file__).parent)
    folder = ROOT / "tests" / "s3w"
    ended = subprocess.run(
        [S3FS, "-m", "pytest", "-c", folder / "pytest.ini", *(folder / f"{file}.py" for file in files)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "S3W_ENDPOINT": str(running["moto"].endpoint),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test-key-id",
            "AWS_SECRET_ACCESS_KEY": "test-secret-key",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout.splitlines()[-1]
    assert "skipped" not in ended.stdout.splitlines()[-1]


def test_without_s3fs_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['s3fs'] = None; import s3writer.fsspec"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "s3w:// needs s3fs: pip install 's3writer[fsspec]'" in ended.stderr.splitlines()[-1]
