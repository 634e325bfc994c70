"""The command line, as people and their scripts meet it: what it does, what it says, and how it exits."""

import bz2
import contextlib
import datetime as dt
import gzip
import io
import json
import logging
import lzma
import os
import pty
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
import zstandard

from s3writer._file.bar import Bar
from s3writer._s3.checksums import algorithms
from s3writer.cli import endings, run, sources
from s3writer.cli.parameters import Age, Pair, Size, Url
from s3writer.cli.sources import produced
from tests.helpers import MIB, content, data, uploads, writer
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Wire, cut, interrupt, refuse

PAYLOAD = data(11 * MIB)
COMMAND = [sys.executable, "-m", "s3writer"]


@pytest.fixture
def environment(store: Store) -> dict[str, str]:
    """Where the store is, and what it wants to know."""
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": str(store.endpoint),
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "TERM": "xterm",
    }


def call(environment: dict[str, str], *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    """Exit status, output and errors of a command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryFile("w+", newline="") as stdin:
        stdin.buffer.write(given)
        stdin.seek(0)
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch("boto3.DEFAULT_SESSION", None),
            mock.patch("sys.stdin", stdin),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(arguments)
        assert not stdin.closed
    return code, out.getvalue(), err.getvalue()


def spawn(environment: dict[str, str], *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    """The same in a process of its own."""
    ended = subprocess.run(
        [*COMMAND, *arguments], input=given, env=environment, capture_output=True, check=False, timeout=60
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def at(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


def test_standard_input_becomes_an_object_without_a_word(environment: dict[str, str], client: Any, key: str) -> None:
    assert spawn(environment, "put", at(key), given=PAYLOAD) == (0, "", "")
    assert content(client, key) == PAYLOAD


def test_what_a_command_writes_becomes_an_object_if_it_ends_well(
    environment: dict[str, str], client: Any, key: str
) -> None:
    script = "import sys; sys.stdout.write('x' * 6 * 1024 ** 2); sys.exit(int(sys.argv[1]))"
    code, _, err = call(environment, "put", at(key), "--", sys.executable, "-c", script, "3")
    assert code == 1
    assert err == f"s3writer: not published: {sys.executable} failed: exit status 3\n"
    assert (content(client, key), uploads(client, key)) == (None, [])
    assert call(environment, "put", at(key), "--", sys.executable, "-c", script, "0") == (0, "", "")
    assert content(client, key) == b"x" * 6 * MIB


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no-such-command"], "no-such-command can't be run: No such file or directory"),
        (["sh", "-c", "echo half; kill -9 $$"], "sh failed: killed by signal 9"),
    ],
)
def test_a_command_that_does_not_end_well_publishes_nothing(
    environment: dict[str, str], client: Any, key: str, command: list[str], message: str
) -> None:
    code, out, err = call(environment, "put", at(key), "--", *command)
    assert (code, out) == (1, "")
    assert message in err
    assert content(client, key) is None


@pytest.mark.traces_processes
def test_a_second_signal_leaves_no_stubborn_command_behind(
    environment: dict[str, str], key: str, tmp_path: Path
) -> None:
    script = """
import os, pathlib, signal, sys, time
for which in (signal.SIGTERM, signal.SIGINT):
    signal.signal(which, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""
    pid = tmp_path / "pid"
    command = [*COMMAND, "put", at(key), "--", sys.executable, "-c", script, str(pid)]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not pid.exists() or not pid.read_text():
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.traces_processes
def test_it_survives_its_terminal_if_it_was_told_to(environment: dict[str, str], client: Any, key: str) -> None:
    line = ["env", "--ignore-signal=HUP", *COMMAND, "put", at(key)]
    child = subprocess.Popen(line, env=environment, stdin=subprocess.PIPE)
    assert child.stdin
    child.stdin.write(PAYLOAD)
    child.stdin.flush()
    while not uploads(client, key):
        time.sleep(0.05)
    child.send_signal(signal.SIGHUP)
    child.communicate()
    assert child.returncode == 0
    assert content(client, key) == PAYLOAD


def test_a_command_s_failure_is_seen_although_nobody_waits_for_children(
    environment: dict[str, str], client: Any, key: str
) -> None:
    line = ["env", "--ignore-signal=CHLD", *COMMAND, "put", at(key), "--", "sh", "-c", "echo half; exit 3"]
    ended = subprocess.run(line, env=environment, capture_output=True, check=False)
    assert ended.returncode == 1
    assert content(client, key) is None


@pytest.mark.parametrize("option", [[], ["--gzip"], ["--zstd"]])
@pytest.mark.traces_processes
def test_a_pipe_that_does_not_block_is_read_to_its_end(
    environment: dict[str, str], client: Any, key: str, option: list[str]
) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    child = subprocess.Popen([*COMMAND, "put", at(key), *option], env=environment, stdin=ours)
    os.close(ours)
    for piece in (b"first ", b"second"):
        os.write(theirs, piece)
        time.sleep(1.2)
    os.close(theirs)
    assert child.wait(60) == 0
    body = content(client, key) or b""
    if option == ["--gzip"]:
        body = gzip.decompress(body)
    if option == ["--zstd"]:
        body = zstandard.ZstdDecompressor().stream_reader(body).read()
    assert body == b"first second"


def test_an_endpoint_is_for_this_command_and_not_for_the_one_that_it_runs(
    store: Store, environment: dict[str, str], client: Any, key: str
) -> None:
    environment = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    where = ["--endpoint-url", str(store.endpoint)]
    assert call(environment, "put", at(key), *where, "--", "sh", "-c", "echo $AWS_ENDPOINT_URL_S3") == (0, "", "")
    assert content(client, key) == b"http://127.0.0.1:9\n"


@pytest.mark.parametrize(("endpoint", "status"), [("http://user:pa55@127.0.0.1:9", 1), ("user:pa55@127.0.0.1:9", 2)])
def test_a_password_in_the_endpoint_is_not_shown(
    environment: dict[str, str], key: str, endpoint: str, status: int
) -> None:
    code, out, err = call(environment, "put", at(key), "--endpoint-url", endpoint, "--debug", "--json", given=b"x")
    assert (code, "127.0.0.1:9" in err, "pa55" in err + out) == (status, True, False)


@pytest.mark.parametrize(
    ("redirection", "code"), [("2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 0), ("| true", 0), (">&-", 0)]
)
def test_the_outcome_does_not_hang_on_who_listens(
    environment: dict[str, str], client: Any, key: str, redirection: str, code: int
) -> None:
    command = f"set -o pipefail; echo data | {sys.executable} -m s3writer put {at(key)} --json {redirection}"
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)
    assert content(client, key) == b"data\n"


@pytest.mark.traces_processes
def test_a_failure_s_status_does_not_hang_on_who_listens(environment: dict[str, str], key: str) -> None:
    for redirection in ("2>&-", "2>/dev/full"):
        command = f"{sys.executable} -m s3writer put {at(key)} -- false {redirection}"
        ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=False)
        assert ended.returncode == 1


def test_without_standard_output_nothing_is_prepared(environment: dict[str, str], client: Any, key: str) -> None:
    command = f"echo data | {sys.executable} -m s3writer put {at(key)} --prepare - >&-"
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=False)
    assert ended.returncode == 2
    assert (content(client, key), uploads(client, key)) == (None, [])


def test_a_command_needs_no_standard_input(environment: dict[str, str], client: Any, key: str) -> None:
    command = f"{sys.executable} -m s3writer put {at(key)} -- echo data <&-"
    subprocess.run(["bash", "-c", command], env=environment, check=True)
    assert content(client, key) == b"data\n"


def test_a_prepared_upload_is_replaced_only_by_a_whole_one(
    environment: dict[str, str], client: Any, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "prepared.json"
    assert call(environment, "put", at(key), "--prepare", str(file), given=b"first")[0] == 0
    first = file.read_text()
    assert call(environment, "put", at(key), "--prepare", str(file), "--", "false")[0] == 1
    assert file.read_text() == first
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.json"]
    assert call(environment, "abort", str(file))[0] == 0


def test_an_upload_that_s3_does_not_show_can_not_be_aborted(environment: dict[str, str], client: Any, key: str) -> None:
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    code, _, err = call(environment, "abort", at(key), upload_id[:-4])
    assert code == 1
    assert "does not show upload" in err
    assert uploads(client, key) == [upload_id]
    assert call(environment, "abort", at(key), upload_id)[0] == 0


def test_keys_are_shown_as_they_are(environment: dict[str, str], client: Any, key: str) -> None:
    odd = f"{key}/[/b] [red]x :smile:"
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=odd)["UploadId"]
    code, out, _ = call(environment, "uploads", at(key))
    assert code == 0
    assert odd in out
    client.abort_multipart_upload(Bucket=BUCKET, Key=odd, UploadId=upload_id)


@pytest.mark.traces_processes
def test_a_key_is_shown_where_the_output_lacks_its_characters(
    environment: dict[str, str], client: Any, key: str
) -> None:
    name = f"{key}/日本"
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=name)["UploadId"]
    command = [*COMMAND, "uploads", at(key)]
    ended = subprocess.run(
        command, env={**environment, "PYTHONIOENCODING": "cp1252"}, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert f"{key}/\\u65e5\\u672c".encode("cp1252") in ended.stdout
    client.abort_multipart_upload(Bucket=BUCKET, Key=name, UploadId=upload_id)


def test_one_that_could_not_be_committed_has_its_own_status(
    client: Any, key: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with writer(client, key) as stream:
        (tmp_path / "a").write_text(stream.prepare().to_json())
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", refuse(403, "AccessDenied"), nth=1)
    wire.on("CompleteMultipartUpload", cut, nth=2)
    with mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert [run(["commit", str(tmp_path / "a")]) for _ in range(3)] == [1, 3, 0]
    assert "commit it again" in capsys.readouterr().err


def test_what_could_not_be_listed_is_a_failure_and_nothing_more(
    client: Any, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Wire(client).on("ListMultipartUploads", refuse(403, "AccessDenied"))
    with mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert run(["uploads", at(key)]) == 1
    assert capsys.readouterr().err.startswith("s3writer: failed: listing the unfinished uploads")


def test_a_failure_with_keep_is_resumed_by_the_command_that_it_shows(
    environment: dict[str, str], client: Any, key: str, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(PAYLOAD)
    command = ["sh", "-c", f"head -c 11000000 {tmp_path / 'input'}; exit 1"]
    code, _, err = call(environment, "put", at(key), "--keep", "--exclusive", "--", *command)
    assert code == 1
    shown = err.splitlines()[-1].removeprefix("s3writer ")
    assert "--exclusive" in shown
    line = f"{sys.executable} -m s3writer {shown} < {tmp_path / 'input'}"
    subprocess.run(["bash", "-c", line], env=environment, check=True)
    assert content(client, key) == PAYLOAD


def test_help_keeps_its_lines(environment: dict[str, str]) -> None:
    code, out, _ = call(environment, "put", "-h")
    assert code == 0
    assert "\n  pg_dump mydb | s3writer put s3://bucket/mydb.sql.gz --gzip\n" in out


def test_the_outcome_is_told_to_machines(environment: dict[str, str], client: Any, key: str) -> None:
    code, out, err = call(environment, "put", at(key), "--json", given=PAYLOAD)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["outcome"], told["bucket"], told["key"], told["size"]) == ("published", BUCKET, key, len(PAYLOAD))
    code, out, err = call(environment, "put", at(key), "--exclusive", "--json", given=b"again")
    told = json.loads(out)
    assert (code, told["outcome"], told["error"], told["upload_id"]) == (1, "not published", "KeyExistsError", None)
    assert err.count("\n") == 1
    assert content(client, key) == PAYLOAD


@pytest.mark.parametrize(
    ("option", "decompress"),
    [("--gzip", gzip.decompress), ("--zstd", lambda body: zstandard.ZstdDecompressor().stream_reader(body).read())],
)
@pytest.mark.parametrize("payload", [b"", PAYLOAD], ids=["empty", "large"])
def test_it_compresses_on_the_way(
    environment: dict[str, str], client: Any, key: str, option: str, decompress: Any, payload: bytes
) -> None:
    assert call(environment, "put", at(key), option, given=payload) == (0, "", "")
    assert decompress(content(client, key) or b"") == payload


def test_options_reach_the_object(environment: dict[str, str], client: Any, key: str) -> None:
    options = ["--content-type", "text/csv", "--metadata", "a=1", "--metadata", "b=x=y", "--argument"]
    options += ["CacheControl=no-store", "--part-size", "6MiB", "--max-memory", "64MB", "--checksum", "SHA256"]
    options += ["--expected-size", "11MiB", "--max-concurrency", "2"]
    code, out, err = call(environment, "put", at(key), *options, "--json", given=PAYLOAD)
    assert (code, err) == (0, "")
    assert json.loads(out)["parts"] == 2
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (head["ContentType"], head["CacheControl"]) == ("text/csv", "no-store")
    assert (head["Metadata"]["a"], head["Metadata"]["b"]) == ("1", "x=y")


def test_an_argument_of_s3_s_goes_before_the_option_for_it(environment: dict[str, str], client: Any, key: str) -> None:
    options = ["--content-type", "text/csv", "--argument", "ContentType=text/plain"]
    assert call(environment, "put", at(key), *options, given=b"x") == (0, "", "")
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentType"] == "text/plain"


def test_what_other_stores_need_can_be_said(environment: dict[str, str], client: Any, key: str) -> None:
    options = ["--equal-parts", "--no-commit-token", "--checksum", "none", "--json"]
    code, out, err = call(environment, "put", at(key), *options, given=data(23 * MIB))
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["parts"], answer["checksum"], answer["computed_checksum"]) == (5, None, None)
    head = client.head_object(Bucket=BUCKET, Key=key, PartNumber=4)
    assert (head["ContentLength"], head["Metadata"]) == (5 * MIB, {})


@pytest.mark.parametrize("compress", [[], ["--gzip"]], ids=["plain", "gzip"])
@pytest.mark.parametrize(("demanded", "code"), [(len(PAYLOAD), 0), (len(PAYLOAD) - 1, 1), (len(PAYLOAD) + 1, 1)])
def test_exact_publishes_only_if_so_many_bytes_come(
    environment: dict[str, str], client: Any, key: str, compress: list[str], demanded: int, code: int
) -> None:
    options = [*compress, "--expected-size", str(demanded), "--exact"]
    ended, _, err = call(environment, "put", at(key), *options, given=PAYLOAD)
    assert ended == code
    assert (content(client, key) is not None) is (code == 0)
    assert (f"{len(PAYLOAD):,} bytes came, and --exact demands the {demanded:,}" in err) is (code == 1)


def test_a_url_that_is_no_unicode_is_wrong_usage(environment: dict[str, str], key: str) -> None:
    code, _, err = call(environment, "put", os.fsdecode(b"s3://test-bucket/Gr\xfc"), given=b"x")
    assert (code, "holds a lone surrogate" in err) == (2, True)


def test_exact_needs_a_size(environment: dict[str, str], key: str) -> None:
    code, _, err = call(environment, "put", at(key), "--exact", given=b"x")
    assert (code, "--exact needs --expected-size" in err) == (2, True)


def test_a_key_for_sse_c_comes_from_a_file(environment: dict[str, str], client: Any, key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "short").write_bytes(b"k" * 31)
    code, _, err = call(environment, "put", at(key), "--sse-c-key-file", str(tmp_path / "short"), given=b"secret")
    assert code == 2
    assert "holds 31 bytes" in err
    options = ["--sse-c-key-file", str(tmp_path / "key")]
    assert call(environment, "put", at(key), *options, "--prepare", str(tmp_path / "p"), given=b"secret") == (0, "", "")
    assert call(environment, "commit", str(tmp_path / "p"), *options) == (0, "", "")
    read = client.get_object(Bucket=BUCKET, Key=key, SSECustomerAlgorithm="AES256", SSECustomerKey=b"k" * 32)
    assert read["Body"].read() == b"secret"


@pytest.mark.parametrize(("which", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_aborts_and_says_so(
    environment: dict[str, str], client: Any, key: str, which: signal.Signals, code: int
) -> None:
    child = subprocess.Popen([*COMMAND, "put", at(key)], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin
    child.stdin.write(PAYLOAD)
    child.stdin.flush()
    while not uploads(client, key):
        time.sleep(0.05)
    child.send_signal(which)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert b"not published" in err
    assert b"Traceback" not in err
    assert (content(client, key), uploads(client, key)) == (None, [])


@pytest.mark.parametrize("options", [[], ["--no-verify"], ["--gzip"]], ids=["verified", "skipped", "compressed"])
def test_a_killed_upload_is_resumed_by_the_same_stream(
    environment: dict[str, str], client: Any, key: str, options: list[str]
) -> None:
    sending = [option for option in options if option == "--gzip"]
    payload = os.urandom(12 * MIB)
    child = subprocess.Popen([*COMMAND, "put", at(key), *sending], env=environment, stdin=subprocess.PIPE)
    assert child.stdin
    child.stdin.write(payload[: 11 * MIB])
    child.stdin.flush()
    while not listed(environment, key) or listed(environment, key)[0]["parts"] < 1:
        time.sleep(0.05)
    child.kill()
    child.communicate()
    [left] = listed(environment, key)
    code, out, err = call(environment, "resume", at(key), left["upload_id"], *options, "--json", given=payload)
    assert (code, err) == (0, "")
    assert json.loads(out)["size"] >= len(payload)
    body = content(client, key) or b""
    assert (gzip.decompress(body) if sending else body) == payload
    assert uploads(client, key) == []


def listed(environment: dict[str, str], prefix: str) -> list[dict[str, Any]]:
    code, out, err = call(environment, "uploads", at(prefix), "--json")
    assert (code, err) == (0, "")
    return list(json.loads(out))


def test_a_stream_that_has_changed_is_not_resumed(environment: dict[str, str], client: Any, key: str) -> None:
    with writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
        upload_id = stream.prepare().upload_id
    code, _, err = call(environment, "resume", at(key), upload_id, given=b"?" + PAYLOAD[1:])
    assert code == 1
    assert "part 1" in err
    code, _, err = call(environment, "resume", at(key), upload_id, "--no-verify", given=b"short")
    assert code == 1
    assert "ends 10485755 bytes before" in err
    assert uploads(client, key) == [upload_id]
    assert call(environment, "abort", at(key), upload_id) == (0, "", "")
    assert uploads(client, key) == []


def test_a_command_that_fails_before_where_it_must_go_on_is_what_is_told(
    environment: dict[str, str], client: Any, key: str
) -> None:
    with writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
        upload_id = stream.prepare().upload_id
    failing = ["--", "sh", "-c", "echo short; exit 3"]
    for options in ([], ["--no-verify"]):
        code, _, err = call(environment, "resume", at(key), upload_id, *options, *failing)
        assert (code, err.splitlines()[0]) == (1, "s3writer: not published: sh failed: exit status 3")
    going_on = ["--", "sh", "-c", "head -c 11000000 /dev/zero; sleep 60"]
    code, _, err = call(environment, "resume", at(key), upload_id, *going_on)
    assert (code, "part 1" in err) == (1, True)
    assert call(environment, "abort", at(key), upload_id) == (0, "", "")


def test_an_upload_that_was_published_before_needs_no_resuming(
    environment: dict[str, str], client: Any, key: str
) -> None:
    with writer(client, key) as stream:
        stream.write(PAYLOAD)
        pending = stream.prepare()
    pending.commit(client=client)
    code, out, err = call(
        environment, "resume", at(key), pending.upload_id, "--token", str(pending.token), "--json", given=PAYLOAD
    )
    assert (code, json.loads(out)["outcome"]) == (0, "published before")
    assert err.startswith("s3writer: published before: ")


def test_a_failure_with_keep_tells_machines_how_to_go_on(environment: dict[str, str], client: Any, key: str) -> None:
    failing = ["--", "sh", "-c", "head -c 11000000 /dev/zero; exit 1"]
    code, out, _ = call(environment, "put", at(key), "--keep", "--json", *failing)
    told = json.loads(out)
    assert (code, [told["upload_id"]]) == (1, uploads(client, key))
    assert told["resume"] in told["notes"][0]
    assert "MultipartUploadWriter" not in "".join(told["notes"])
    words = shlex.split(told["resume"])
    assert words[:4] == ["s3writer", "resume", at(key), told["upload_id"]]
    assert call(environment, "abort", at(key), told["upload_id"])[0] == 0


def test_a_signal_that_comes_too_late_changes_nothing(
    environment: dict[str, str], client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer.cli.sources.Producer.stop", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert call(environment, "put", at(key), given=PAYLOAD) == (0, "", "")
    assert content(client, key) == PAYLOAD


@pytest.mark.parametrize(
    ("which", "seconds"),
    [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.02), (signal.SIGHUP, 0.05), (signal.SIGTERM, 0.1), (signal.SIGINT, 0.2)],
)
def test_from_publishing_to_the_end_of_the_process_no_signal_changes_the_status(
    environment: dict[str, str], client: Any, key: str, which: signal.Signals, seconds: float
) -> None:
    child = subprocess.Popen([*COMMAND, "put", at(key), "--", "echo", "hello"], env=environment, stderr=subprocess.PIPE)
    while content(client, key) is None:
        time.sleep(0.005)
    time.sleep(seconds)
    child.send_signal(which)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")


def test_a_signal_in_the_very_moment_after_publishing_changes_nothing(
    environment: dict[str, str], client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled() -> None:
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("s3writer.cli.signals.ignore", signalled)
    code, out, _ = call(environment, "put", at(key), "--json", given=PAYLOAD)
    assert (code, json.loads(out)["outcome"]) == (0, "published")
    assert content(client, key) == PAYLOAD


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
@pytest.mark.traces_processes
def test_what_is_for_machines_stays_json_whoever_listens_to_standard_error(
    environment: dict[str, str], key: str, closed: str
) -> None:
    line = f"{shlex.join([*COMMAND, 'put', at(key), '--json', '--', 'false'])} {closed}"
    ended = subprocess.run(["bash", "-c", line], env=environment, stdout=subprocess.PIPE, check=False)
    assert (ended.returncode, json.loads(ended.stdout)["outcome"]) == (1, "not published")


def test_many_open_files_do_no_harm(environment: dict[str, str], client: Any, key: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2048, limit[0]), limit[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(1030):
            stack.enter_context(Path(os.devnull).open())
        assert call(environment, "put", at(key), "--", "echo", "hello") == (0, "", "")
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert content(client, key) == b"hello\n"


def test_a_failure_with_keep_says_how_to_go_on(environment: dict[str, str], client: Any, key: str) -> None:
    script = "import sys; sys.stdout.write('x' * 11 * 1024 ** 2); sys.exit(1)"
    code, _, err = call(environment, "put", at(key), "--keep", "--", sys.executable, "-c", script)
    assert (code, err.count("\n")) == (1, 3)
    [upload_id] = uploads(client, key)
    assert err.splitlines()[-1].startswith(f"s3writer resume {shlex.quote(at(key))} {upload_id} --token ")
    assert call(environment, "abort", at(key), upload_id, "--json")[0] == 0
    assert uploads(client, key) == []


def test_how_to_go_on_without_checksums_is_said_too(environment: dict[str, str], client: Any, key: str) -> None:
    script = "import sys; sys.stdout.write('x' * 11 * 1024 ** 2); sys.exit(1)"
    command = ["put", at(key), "--keep", "--checksum", "none", "--", sys.executable, "-c", script]
    assert "--checksum none" in call(environment, *command)[2]
    [upload_id] = uploads(client, key)
    assert call(environment, "abort", at(key), upload_id)[0] == 0


def test_what_was_prepared_is_committed_later(
    environment: dict[str, str], client: Any, key: str, tmp_path: Path
) -> None:
    files = [str(tmp_path / name) for name in ("a", "b")]
    for file in files:
        assert call(environment, "put", at(key + file[-1]), "--prepare", file, given=PAYLOAD) == (0, "", "")
    assert content(client, key + "a") is None
    code, out, err = call(environment, "commit", *files, "--json")
    assert (code, err) == (0, "")
    assert [one["key"] for one in json.loads(out)["published"]] == [key + "a", key + "b"]
    assert [content(client, key + name) for name in ("a", "b")] == [PAYLOAD, PAYLOAD]


def test_what_was_prepared_can_be_aborted(environment: dict[str, str], client: Any, key: str) -> None:
    code, out, err = call(environment, "put", at(key), "--prepare", "-", given=PAYLOAD)
    assert (code, err) == (0, "")
    assert call(environment, "abort", "-", given=out.encode()) == (0, "", "")
    code, _, err = call(environment, "abort", "-", given=b"{}")
    assert (code, "standard input was not written by put --prepare" in err) == (2, True)
    assert uploads(client, key) == []
    code, _, err = call(environment, "commit", "-", given=b"{}")
    assert (code, err) == (
        2,
        "s3writer: wrong usage: standard input was not written by put --prepare: it has no 'format'\n",
    )


@pytest.mark.parametrize("command", ["commit", "abort"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"format": 0}'])
def test_a_file_that_put_has_not_written_is_named(
    environment: dict[str, str], tmp_path: Path, command: str, content: bytes
) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    code, out, err = call(environment, command, str(tmp_path / "bad.json"))
    assert (code, out) == (2, "")
    assert err.startswith(f"s3writer: wrong usage: {tmp_path / 'bad.json'} was not written by put --prepare: ")


def test_a_prepared_upload_that_can_not_be_written_down_is_aborted(
    environment: dict[str, str], client: Any, key: str
) -> None:
    code, _, err = call(environment, "put", at(key), "--prepare", "/dev/full", given=PAYLOAD)
    assert code == 1
    assert "No space left" in err
    assert uploads(client, key) == []


def test_unfinished_uploads_are_shown_and_swept(environment: dict[str, str], client: Any, key: str) -> None:
    ids = [client.create_multipart_upload(Bucket=BUCKET, Key=f"{key}/{name}")["UploadId"] for name in "ab"]
    code, out, _ = call(environment, "uploads", at(key))
    assert code == 0
    assert all(upload_id in out for upload_id in ids)
    assert [one["parts"] for one in listed(environment, key)] == [0, 0]
    for one in listed(environment, key):
        begun = dt.datetime.fromisoformat(one["initiated"])
        assert (one["initiated"][10], begun.utcoffset()) == ("T", dt.timedelta(0))
        assert re.fullmatch(r"PT\d+S", one["age"])
    assert call(environment, "sweep", at(key), "--older-than", "1h", "--yes")[0] == 0
    assert len(listed(environment, key)) == 2
    code, out, _ = call(environment, "sweep", at(key), "--older-than", "0s", "--dry-run", "--json")
    assert (code, json.loads(out)["outcome"], len(json.loads(out)["uploads"])) == (0, "listed", 2)
    code, out, err = call(environment, "sweep", at(key), "--older-than", "0s", given=b"n\n")
    assert (code, "Abort 2 uploads?" in err) == (1, True)
    assert len(listed(environment, key)) == 2
    code, _, err = call(environment, "sweep", at(key), "--older-than", "0s")
    assert (code, err.splitlines()[-1]) == (
        1,
        "s3writer: failed: nobody answers on standard input: give --yes or --dry-run",
    )
    assert len(listed(environment, key)) == 2
    assert call(environment, "sweep", at(key), "--older-than", "0s", given=b"y\n")[0] == 0
    assert listed(environment, key) == []
    client.create_multipart_upload(Bucket=BUCKET, Key=key)
    assert call(environment, "sweep", at(key), "--older-than", "0s", "--yes")[0] == 0
    assert listed(environment, key) == []
    client.create_multipart_upload(Bucket=BUCKET, Key=key)
    code, shown = on_a_terminal(environment, "sweep", at(key), "--older-than", "0s", given=b"y\n")
    assert (code, "Abort 1 upload?" in shown, shown.endswith("1 upload aborted\r\n")) == (0, True, True)
    assert uploads(client, key) == []
    assert call(environment, "sweep", f"s3://{BUCKET}", "--older-than", "1d", "--json", "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["put", "https://bucket/key"], "not of the form s3://bucket/key"),
        (["put", "s3://bucket"], "not of the form s3://bucket/key"),
        (["put", "s3://bucket/key", "--part-size", "1kB"], "--part-size 1000 is out of its limits"),
        (["put", "s3://bucket/key", "--part-size", "much"], "'much' is not a size"),
        (["put", "s3://bucket/key", "--metadata", "a"], "'a' is not of the form name=value"),
        (["put", "s3://bucket/key", "--argument", "Contenttype=a"], "did you mean ContentType?"),
        (["put", "s3://bucket/key", "--argument", "encoding=a"], "they begin with a capital"),
        (["put", "s3://bucket/key", "--"], "there is no COMMAND behind --"),
        (["put", "s3://bucket/key", "pg_dump"], "write -- before COMMAND"),
        (["put", "s3://bucket/key", "-", "pg_dump"], "write -- before COMMAND"),
        (["put", "s3://bucket/key", "-", "pg_dump", "-h", "localhost"], "write -- before COMMAND"),
        (["uploads", "s3://"], "has no bucket: give s3://bucket/key"),
        (["uploads", "bucket"], "'bucket' is not of the form s3://bucket/key"),
        (["put", "s3://bucket/key", "pg_dump", "--", "mydb"], "write -- before COMMAND"),
        (["put", "s3://bucket/key", "pg_dump", "-h", "localhost"], "write -- before COMMAND"),
        (["put", "s3://bucket/key", "--gzip", "pg_dump", "-Fc", "mydb"], "write -- before COMMAND"),
        (["resume", "s3://bucket/key", "id", "tar", "--create", "."], "write -- before COMMAND"),
        (["put", "--nonsense", "s3://bucket/key"], "No such option"),
        (["put", "s3://bucket/key", "--gzip", "--zstd"], "--gzip and --zstd can't both be given"),
        (["put", "s3://bucket/key", "--checksum", "md5"], "'md5' is not one of CRC32, "),
        (["resume", "s3://bucket/key", "--", "pg_dump", "mydb"], "Missing argument 'UPLOAD_ID'"),
        (["put", "s3://bucket/key", "--prepare", "-", "--json"], "needs standard output for itself"),
        (["resume", "s3://bucket/key", "id", "--no-verify", "--gzip"], "leave out --no-verify"),
        (["abort", "s3://bucket/key"], "there is no UPLOAD_ID"),
        (["sweep", "s3://bucket/", "--older-than", "9" * 15 + "d"], "is too long ago"),
        (["sweep", "s3://bucket/", "--older-than", "1d", "--json"], "give --yes or --dry-run"),
        (["sweep", "s3://bucket/", "--older-than", "soon"], "'soon' is not an age"),
        (["resume", "s3://bucket/key", "id", "--no-commit-token"], "No such option"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(environment: dict[str, str], arguments: list[str], message: str) -> None:
    code, out, err = call(environment, *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_failure_is_a_line_and_a_traceback_only_if_it_is_asked_for(environment: dict[str, str], key: str) -> None:
    nowhere = ["--endpoint-url", "http://127.0.0.1:9"]
    code, _, err = call(environment, "put", at(key), *nowhere, given=b"x")
    assert (code, err.count("\n")) == (1, 1)
    assert "Check the network and --endpoint-url." in err
    code, _, err = call(environment, "put", at(key), *nowhere, "--debug", given=b"x")
    assert (code, "Traceback" in err) == (1, True)
    code, _, err = call(environment, "put", at(key), "--profile", "no-such", given=b"x")
    said = "there is no profile no-such: check --profile and the AWS configuration files"
    assert (code, err) == (2, f"s3writer: wrong usage: {said}\n")
    code, out, _ = call({**environment, "AWS_PROFILE": "no-such"}, "uploads", at(key), "--json")
    assert (code, json.loads(out)["message"]) == (2, said.replace("--profile", "AWS_PROFILE"))


def on_a_terminal(environment: dict[str, str], *arguments: str, given: bytes | None) -> tuple[int, str]:
    """Exit status of a command whose standard error (and input, if none is given) is a terminal, and what it shows."""
    ours, theirs = pty.openpty()
    stdin = theirs if given is None else subprocess.PIPE
    child = subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdin=stdin, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    if given is not None:
        assert child.stdin
        child.stdin.write(given)
        child.stdin.close()
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass
    os.close(ours)
    return child.wait(60), shown.decode()


def test_without_uploads_a_person_is_told_so(environment: dict[str, str], key: str) -> None:
    assert call(environment, "uploads", at(key)) == (0, "", "")
    assert on_a_terminal(environment, "uploads", at(key), given=None) == (0, "no unfinished uploads\r\n")
    sweep = ["sweep", at(key), "--older-than", "1d"]
    assert on_a_terminal(environment, *sweep, given=None) == (0, "no unfinished uploads that old\r\n")


@pytest.mark.parametrize("no_color", [False, True])
def test_progress_is_shown_on_a_terminal(environment: dict[str, str], key: str, no_color: bool) -> None:
    if no_color:
        environment = {**environment, "NO_COLOR": "1"}
    code, shown = on_a_terminal(environment, "put", at(key), "--expected-size", "11MiB", given=PAYLOAD)
    assert code == 0
    for label in ("read", "in S3", "part"):
        assert label in shown
    assert "11.5 MB of 11.5 MB" in shown
    assert "in flight" in shown
    assert "elapsed" in shown
    assert f"{at(key)} published: 11.5 MB in 3 parts" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) is not no_color


@pytest.mark.traces_processes
def test_nothing_is_read_from_a_terminal(environment: dict[str, str], key: str) -> None:
    code, shown = on_a_terminal(environment, "put", at(key), given=None)
    assert code == 2
    assert "standard input is a terminal: pipe something in, or name a COMMAND after --" in shown


@pytest.mark.traces_processes
def test_nothing_is_read_from_a_closed_standard_input(environment: dict[str, str], key: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{shlex.join([*COMMAND, 'put', at(key)])} <&-"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2
    assert b"standard input is closed: " in ended.stderr


def test_without_a_size_no_total_is_shown(environment: dict[str, str], key: str) -> None:
    code, shown = on_a_terminal(environment, "put", at(key), given=PAYLOAD)
    assert code == 0
    assert "11.5 MB" in shown
    assert not re.search(r" of | left|━", shown)


def test_more_than_was_expected_hides_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    bar, read = Bar(4_000_000, is_shown=True), [1_000_000]
    console = bar._progress.console
    with bar.shown(lambda: read[0]):
        console.print(bar._progress.get_renderable())
        read[0] = 5_000_000
        console.print(bar._progress.get_renderable())
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert first.startswith("read 1.0 MB of 4.0 MB ━")
    assert second.split() == ["read", "5.0", "MB", *second.split()[3:]]
    assert "of" not in second


def test_progress_counts_what_was_read_and_what_s3_has(
    client: Any, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for is_compressed in (False, True):
        bar = Bar(4_000_000, is_shown=True, is_compressed=is_compressed)
        with writer(client, key, progress=bar) as stream, bar.shown(lambda: 3_000_000):
            stream.write(bytes(2_000_000))
            bar.follow(stream)
            bar._progress.console.print(bar._progress.get_renderable())
        read, in_s3 = (line.split() for line in capsys.readouterr().err.splitlines()[:2])
        assert read[:6] == ["read", "3.0", "MB", "of", "4.0", "MB"]
        assert in_s3[:4] == ["in", "S3", "2.0", "MB"]
        assert ("of" in in_s3) is not is_compressed
        assert in_s3[-4:] == ["0", "parts", "in", "flight"]


def test_the_time_that_is_left_is_shown_once_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    bar, read = Bar(100_000_000, is_shown=True), [0]
    now = 0.0
    bar._progress.get_time = lambda: now
    with bar.shown(lambda: read[0]):
        for now in (0.0, 1.0, 2.0, 3.0):
            read[0] = int(now * 10_000_000)
            shown = bar._progress.get_renderable()
        bar._progress.console.print(shown)
    assert "10.0 MB/s 0:00:03 elapsed, 0:00:07 left" in capsys.readouterr().err


@pytest.mark.traces_processes
def test_a_command_s_errors_do_not_tear_the_bar(environment: dict[str, str], client: Any, key: str) -> None:
    script = """
import sys, time
for n in range(3):
    print(f"warning {n}", file=sys.stderr, flush=True)
sys.stderr.write("10 %\\r20 %\\r30 %\\r\\n")
sys.stderr.write("Are you sure? ")
sys.stderr.flush()
time.sleep(1.5)
sys.stderr.write("last words")
print("data")
"""
    code, shown = on_a_terminal(environment, "put", at(key), "--", sys.executable, "-c", script, given=b"")
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").split("\n")]
    said = [line for line in lines if re.search("warning|%|sure|last", line)]
    assert (code, said) == (0, ["warning 0", "warning 1", "warning 2", "30 %", "Are you sure?", "last words"])
    assert content(client, key) == b"data\n"
    assert shown.endswith(f"{at(key)} published: 5 bytes in 1 part\r\n")


@pytest.mark.traces_processes
def test_on_a_terminal_that_can_draw_no_bar_a_command_s_errors_are_left_alone(
    environment: dict[str, str], key: str
) -> None:
    script = "import sys; sys.stderr.write(f'{sys.stderr.isatty()}')"
    for term, is_terminal in (("dumb", "True"), ("xterm", "False")):
        command = ["put", at(key), "--", sys.executable, "-c", script]
        code, shown = on_a_terminal({**environment, "TERM": term}, *command, given=b"")
        assert (code, is_terminal in shown) == (0, True)


def test_a_command_s_errors_go_to_its_own_standard_error_if_nobody_can_relay_them(
    environment: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer.cli.sources.Job.start", lambda *_, **__: False)
    told: list[str] = []
    with produced(["sh", "-c", "echo data; echo warning >&2"], told.append) as producer:
        assert producer.output.read(100) == b"data\n"
        producer.finish()
    assert told == []


@pytest.mark.traces_processes
def test_the_bar_is_gone_after_ctrl_c(environment: dict[str, str], client: Any, key: str) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen([*COMMAND, "put", at(key)], env=environment, stdin=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert child.stdin
    child.stdin.write(PAYLOAD)
    child.stdin.flush()
    while not uploads(client, key):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    child.stdin.close()
    assert child.wait(60) == 130
    behind = shown.rpartition(b"\x1b[?25h")[2]  # the cursor is shown again
    assert b"read" in shown
    assert b"s3writer: interrupted, not published" in behind
    assert b"elapsed" not in behind
    assert uploads(client, key) == []


@pytest.mark.parametrize(
    ("suffix", "options", "given", "hint"),
    [
        (
            ".sql.gz",
            [],
            b"plain",
            "the key ends in .gz, but the bytes are not compressed: give --gzip, or choose another key",
        ),
        (".ZST", [], b"plain", "the bytes are not compressed: give --zstd"),
        (".xz", [], b"plain", "the bytes are not compressed: pipe them through xz"),
        (".gz", ["--zstd"], b"plain", "the key ends in .gz, but --zstd compresses the bytes with zstd"),
        (".gz", ["--gzip"], b"plain", ""),
        (".gz", [], gzip.compress(b"plain", mtime=0), ""),
        (".bz2", [], bz2.compress(b"plain"), ""),
        (".xz", [], lzma.compress(b"plain"), ""),
        (".zst", [], zstandard.compress(b"plain"), ""),
        (".sql", [], b"plain", ""),
        (".gz", [], b"", ""),
    ],
)
@pytest.mark.traces_processes
def test_a_suffix_that_promises_another_compression_is_hinted_at(
    environment: dict[str, str], client: Any, key: str, suffix: str, options: list[str], given: bytes, hint: str
) -> None:
    code, shown = on_a_terminal(environment, "put", at(key + suffix), *options, given=given)
    words = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split())
    assert (code, hint in words, "the key ends in" in words) == (0, True, bool(hint))
    if not options:
        assert content(client, key + suffix) == given
    code, out, err = call(environment, "put", at(key + suffix), *options, given=given)
    assert (code, out, err) == (0, "", "")


def test_without_a_package_for_the_suffix_nothing_is_hinted(
    environment: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3writer.cli.sending.is_terminal", lambda stream: stream is sys.stderr)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    code, _, err = call(environment, "put", at(key + ".zst"), given=b"plain")
    assert (code, "the key ends" in err) == (0, False)


def test_a_checksum_is_chosen_in_small_letters_too(environment: dict[str, str], client: Any, key: str) -> None:
    for name in ("crc64nvme", "Sha256"):
        code, out, _ = call(environment, "put", at(key), "--checksum", name, "--json", given=b"x")
        assert (code, json.loads(out)["computed_checksum"].partition(":")[0]) == (0, name.upper())


def test_a_checksum_that_needs_a_package_says_which(
    environment: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {name: algorithms()[name] for name in ("CRC32", "SHA1", "SHA256")}
    monkeypatch.setattr("s3writer.cli.parameters.algorithms", lambda: some)
    code, _, err = call(environment, "put", at(key), "--checksum", "crc32c", given=b"x")
    said = "'crc32c' is not one of CRC32, SHA1, SHA256, none (it needs awscrt: pip install 's3writer[crt]')"
    assert (code, said in err) == (2, True)
    assert "[CRC32|SHA1|SHA256|none]" in call(environment, "put", "-h")[1]


@pytest.mark.parametrize("command", ["put", "resume", "commit", "abort", "uploads", "sweep", "check-store"])
def test_each_command_has_an_example_and_groups_of_options(environment: dict[str, str], command: str) -> None:
    code, out, _ = call(environment, command, "-h")
    assert (code, "Options:" in out) == (0, False)
    assert f"\n  s3writer {command} " in out
    assert out.index("\nS3:\n") < out.index("\nOutput:\n")


def completed(environment: dict[str, str], shell: str, *words: str) -> list[str]:
    """What click offers for the last of the words, by its protocol for the shell."""
    line = ["s3writer", *words]
    asked = {"_S3WRITER_COMPLETE": f"{shell}_complete", "COMP_WORDS": shlex.join(line), "COMP_CWORD": str(len(words))}
    if shell == "fish":
        asked |= {"COMP_WORDS": shlex.join(line[:-1]), "COMP_CWORD": words[-1]}
    code, out, err = spawn({**environment, **asked})
    assert (code, err) == (0, "")
    lines = out.splitlines()
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2].partition("\t")[0] for line in lines if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sw"], ["sweep"]),
        (["put", "s3://bucket/key", "--content"], ["--content-type"]),
        (["put", "s3://bucket/key", "--checksum", "crc64"], ["CRC64NVME"]),
        (["put", "s3://bucket/key", "--", "cat", "READ"], ["READ"]),
        (["abort", "up"], ["up"]),
    ],
)
@pytest.mark.traces_processes
def test_each_shell_is_offered_what_fits(
    environment: dict[str, str], shell: str, words: list[str], offered: list[str]
) -> None:
    assert completed(environment, shell, *words) == offered


@pytest.mark.traces_processes
def test_bash_completes_behind_a_url(environment: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "s3writer"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(_S3WRITER_COMPLETE=bash_source s3writer)"
COMP_WORDS=(s3writer put s3 : //bucket/key --equal) COMP_CWORD=5
$(complete -p s3writer | sed 's/.*-F \\([^ ]*\\).*/\\1/') s3writer --equal //bucket/key
echo "${COMPREPLY[@]}"
"""
    environment = {**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "--equal-parts\n", "")


def test_shells_complete_it(environment: dict[str, str]) -> None:
    code, out, _ = spawn({**environment, "_S3WRITER_COMPLETE": "bash_source"})
    assert code == 0
    assert "complete -o nosort" in out


@pytest.mark.traces_processes
def test_ctrl_c_while_it_is_still_starting_is_no_traceback(environment: dict[str, str]) -> None:
    script = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "s3writer.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
import s3writer.__main__
sys.exit(s3writer.__main__.main())
"""
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, b"")


@pytest.mark.traces_processes
def test_without_its_packages_it_says_what_to_install(environment: dict[str, str]) -> None:
    script = "import sys; sys.modules['click'] = None; import s3writer.__main__ as m; sys.exit(m.main())"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "pip install 's3writer[cli]'" in ended.stderr


@pytest.mark.parametrize(
    ("operation", "fault", "code", "message"),
    [
        ("CompleteMultipartUpload", cut, 3, "not known whether"),
        ("UploadPart", refuse(403, "AccessDenied"), 1, "not published"),
        ("CompleteMultipartUpload", interrupt, 130, "interrupted"),
    ],
)
def test_each_outcome_has_an_exit_status(
    client: Any,
    key: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    operation: str,
    fault: Any,
    code: int,
    message: str,
) -> None:
    (tmp_path / "input").write_bytes(PAYLOAD)
    given = (tmp_path / "input").open()
    monkeypatch.setattr("sys.stdin", given)
    wire = Wire(client)
    wire.on(operation, fault)
    if code == 3:
        wire.on("HeadObject", refuse(403, "AccessDenied"))
    with given, mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert run(["put", at(key), "--json"]) == code
    out, err = capsys.readouterr()
    assert message in json.loads(out)["outcome"]
    assert message in err


def test_a_command_that_will_not_stop_is_killed_once_a_part_has_failed(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
os.write(1, b"x" * 6 * 1024 ** 2)
while True:
    time.sleep(0.2)
    try:
        os.write(1, b"x")
    except BrokenPipeError:
        pass
"""
    monkeypatch.setattr("s3writer.cli.sources._PATIENCE_SECONDS", 0.2)
    Wire(client).on("UploadPart", refuse(403, "AccessDenied"))
    with mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert run(["put", at(key), "--", sys.executable, "-c", script, str(tmp_path / "pid")]) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_of_several_the_published_ones_are_told(
    client: Any, key: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in "ab":
        with writer(client, key + name) as stream:
            stream.write(b"prepared")
            (tmp_path / name).write_text(stream.prepare().to_json())
    Wire(client).on("CompleteMultipartUpload", refuse(403, "AccessDenied"), nth=2)
    with mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert run(["commit", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in told["published"]] == [key + "a"]
    assert told["failed"]["key"] == key + "b"
    with mock.patch("s3writer._s3.client.default_client", return_value=client):
        assert run(["abort", str(tmp_path / "b")]) == 0
    assert uploads(client, key + "b") == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", MIB), ("64MiB", 64 * MIB), ("64 mib", 64 * MIB), ("5GB", 5 * 10**9), ("1.5k", 1500)],
)
def test_sizes_are_understood(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size
    assert Size().convert(size, None, None) == size


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("36h", 36), ("7d", 168), ("2w", 336), ("3600s", 1)])
def test_ages_are_understood(text: str, hours: float) -> None:
    assert Age().convert(text, None, None) == dt.timedelta(hours=hours)
    assert Age().convert(dt.timedelta(hours=hours), None, None) == dt.timedelta(hours=hours)


def test_places_and_pairs_are_understood() -> None:
    assert Url().convert("s3://bucket/a/b", None, None) == ("bucket", "a/b")
    assert Url(is_prefix=True).convert("s3://bucket", None, None) == ("bucket", "")
    assert Pair().convert("a=b=c", None, None) == ("a", "b=c")
    for kind, text in ((Url(), "s3://bucket"), (Pair(), "=b"), (Age(), "7"), (Size(), "-1")):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


def test_a_bar_leaves_standard_output_to_what_was_asked_for(client: Any, key: str) -> None:
    bar, before = Bar(is_shown=True), sys.stdout
    with writer(client, key) as stream, bar.shown():
        bar.follow(stream)
        assert sys.stdout is before


def test_each_line_of_a_command_is_told_once(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    for ending, last in ((b"", ["the last, not ended"]), (b"\n", ["the last, not ended"])):
        told: list[str] = []
        lines.write_bytes(b"one\r\nstate 1\rstate 2\nthe last, not ended" + ending)
        sources._tell_lines(os.open(lines, os.O_RDONLY), told.append)
        assert "\n".join(told).split("\n") == ["one", "state 2", *last]


def test_a_warning_that_is_not_about_a_kept_upload_has_no_way_to_resume() -> None:
    warnings = endings.Warnings()
    warnings.emit(logging.LogRecord("s3writer", logging.WARNING, "", 0, "a warning", (), None))
    assert (warnings.messages, warnings.kept) == (["a warning"], {})


@pytest.mark.parametrize("how_many", [1, 20_000])
def test_the_last_line_of_a_command_that_failed_is_shown_on_a_terminal(
    environment: dict[str, str], key: str, how_many: int
) -> None:
    script = f"""
import sys
sys.stderr.write("a line\\n" * {how_many} + "FATAL: no space left\\n")
sys.exit(1)
"""
    code, shown = on_a_terminal(environment, "put", at(key), "--", sys.executable, "-c", script, given=None)
    assert code == 1
    assert "FATAL: no space left" in shown


@pytest.mark.parametrize("first", [b"\x1f", b"\x1f\x8b", b""])
def test_the_first_byte_of_a_format_may_be_its_beginning(first: bytes) -> None:
    assert sources.begins_as(memoryview(first), "gzip")
    assert not sources.begins_as(memoryview(b"\x1fx"), "gzip")
