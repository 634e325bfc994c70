"""What the demonstration shows is so: its five failures, with a smaller dump, and its exit status."""

import itertools
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError
from rich.console import Console

from demo import screen
from demo.__main__ import summarize
from demo.failures import (
    BOTO3,
    FAILURES,
    IN_WRAPPER,
    REFUSED,
    S3WRITER,
    SMART_OPEN,
    WAYS,
    Dump,
    Found,
    Place,
    fail,
    object_size,
    unfinished,
)
from tests.helpers import MIB, data
from tests.stores import BUCKET, Store

IN_WITH, IN_FINALLY, _, KILLED, _ = FAILURES


def test_the_five_failures_leave_nothing_with_s3writer_and_truncated_objects_with_the_others(
    store: Store, key: str, tmp_path: Path
) -> None:
    line = data(512).hex().encode()[:1023] + b"\n"
    dump = Dump(tmp_path / "dump", [line] * (12 * MIB // 1024))
    dump.path.write_bytes(b"".join(dump.lines))
    place = Place(store.client, BUCKET)
    found = {
        (failure, way): fail(failure, way, place, f"{key}-{number}", dump)
        for number, (failure, way) in enumerate(itertools.product(FAILURES, WAYS))
    }
    half = 6 * MIB
    assert {failure: found[failure, S3WRITER].is_right for failure in FAILURES} == dict.fromkeys(FAILURES, True)
    assert [found[failure, SMART_OPEN].size for failure in (IN_WITH, IN_FINALLY, IN_WRAPPER)] == [None, half, half]
    assert [found[failure, SMART_OPEN].is_right for failure in (KILLED, REFUSED)] == [True, True]
    assert [found[failure, BOTO3].size for failure in (IN_WITH, IN_FINALLY, IN_WRAPPER)] == [half] * 3
    assert half <= (found[KILLED, BOTO3].size or 0) < dump.size
    assert found[REFUSED, BOTO3].size is None
    note = f"s3://{BUCKET}/{key}-8 was not published: its writer was closed while this exception was in flight"
    error = found[IN_WRAPPER, S3WRITER].error
    assert error is not None
    assert error.__notes__ == [note]


def test_the_demonstration_sees_what_is_left_in_the_bucket(store: Store, key: str) -> None:
    client = store.client()
    assert (object_size(client, BUCKET, key), unfinished(client, BUCKET, key)) == (None, [])
    client.put_object(Bucket=BUCKET, Key=key, Body=b"12345")
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    assert object_size(client, BUCKET, key) == 5
    assert [one["UploadId"] for one in unfinished(client, BUCKET, key)] == [upload]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        (Found(5, 0, OSError()), "5 B"),
        (Found(None, 1, OSError()), "upload left"),
        (Found(None, 0, None), "no exception"),
    ],
    ids=["object", "upload", "silence"],
)
def test_the_exit_status_is_1_if_s3writer_left_anything_or_said_nothing(
    left: Found, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "console", Console(width=80))
    right = dict.fromkeys(itertools.product(FAILURES, WAYS), Found(None, 0, OSError()))
    assert screen.run(lambda: summarize(right)) == 0
    assert screen.run(lambda: summarize({**right, (KILLED, SMART_OPEN): left})) == 0
    capsys.readouterr()
    assert screen.run(lambda: summarize({**right, (KILLED, S3WRITER): left})) == 1
    assert f"✗ Not as promised: {KILLED}: s3writer left {shown}" in capsys.readouterr().out


def test_missing_credentials_are_told_in_a_line_and_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "console", Console(width=80))

    def show() -> str:
        raise NoCredentialsError

    assert screen.run(show) == 1
    told = capsys.readouterr()
    assert "NoCredentialsError: Unable to locate" in told.out
    assert "Traceback" not in told.out + told.err
