"""`check-store`: what it finds on each store is what the docs say of it, and it leaves nothing behind."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from s3writer._s3 import codes, faults
from s3writer.cli.check_store import _remove
from s3writer.cli.place import Place
from s3writer.cli.probes import PROBES, Finding, Probe, Verdict, check
from s3writer.cli.words import in_shell
from tests.helpers import uploads
from tests.stores import BUCKET, Store
from tests.test_cli import call, environment
from tests.wire import Action, Wire, answer, cut, interrupt, refuse

__all__ = ["environment"]  # a fixture

DOCS = Path(__file__).parents[1] / "docs" / "stores.md"
WORDS = {"✓": Verdict.HOLDS, "ignored": Verdict.IGNORED, "refused": Verdict.REFUSED}


def documented(store: str) -> dict[str, Verdict]:
    """The column of a store in the docs' table, by the promise."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    head = next(number for number, row in enumerate(rows) if row[0] == "promise")
    column = [name.lower() for name in rows[head]].index({"memory": "memorys3"}.get(store, store))
    return {row[0]: WORDS[row[column]] for row in rows[head + 2 :] if len(row) == len(rows[head])}


def checked(client: Any, prefix: str = "check/") -> tuple[Place, dict[str, Finding]]:
    place = Place(client, BUCKET, prefix)
    return place, {finding.promise: finding for finding in check(place)}


def shown(client: Any, prefix: str) -> list[Any]:
    """Objects and versions under a prefix."""
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    versions = client.list_object_versions(Bucket=BUCKET, Prefix=prefix)
    return [*found, *versions.get("Versions", []), *versions.get("DeleteMarkers", [])]


def test_each_promise_holds_on_each_store_as_the_docs_say(any_store: Store, key: str) -> None:
    client = any_store.client(request_checksum_calculation="when_required")
    place, findings = checked(client, f"{key}/")
    assert {promise: finding.verdict for promise, finding in findings.items()} == documented(any_store.name)
    quirks, found = any_store.quirks, {finding.name: finding.verdict is Verdict.HOLDS for finding in findings.values()}
    assert quirks.checks_checksums is found["crc32"]
    assert quirks.checks_conditions is found["exclusive-small"] is found["exclusive-large"]
    assert quirks.checks_customer_keys is found["customer-key"]
    assert quirks.marks_multipart_etags is found["etag"]
    assert quirks.takes_tags is found["tags"]
    assert place.remove() == []
    assert [name for name in place.keys if client.list_objects_v2(Bucket=BUCKET, Prefix=name).get("Contents")] == []


def test_no_version_is_left_in_a_bucket_that_keeps_them(versions: Any, key: str) -> None:
    place, findings = checked(versions, f"{key}/")
    assert {finding.verdict for finding in findings.values()} == {Verdict.HOLDS}
    assert shown(versions, key) != []
    assert place.remove() == []
    assert shown(versions, key) == []


def test_a_person_sees_what_holds_and_what_follows_where_it_does_not(
    environment: dict[str, str], client: Any, key: str
) -> None:
    code, out, err = call(environment, "check-store", f"s3://{BUCKET}/{key}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "holds    a small object arrives whole, and replaces the one before"
    assert "holds    `--exclusive` keeps a small object that is there" in lines
    where = lines.index("ignored  a commit with a wrong total size is refused")
    assert lines[where + 1] == "         it was published: the parts' ETags still count"
    assert client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", []) == []


def test_a_machine_sees_the_same(environment: dict[str, str], key: str) -> None:
    code, out, err = call(environment, "check-store", f"s3://{BUCKET}/{key}", "--json")
    assert (code, err) == (0, "")
    findings = json.loads(out)
    assert [finding["name"] for finding in findings] == [probe.name for probe in PROBES]
    assert {finding["promise"]: finding["verdict"] for finding in findings} == {
        promise: verdict.value for promise, verdict in documented("seaweedfs").items()
    }


def test_a_store_that_can_not_be_used_is_a_failure(
    environment: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(place: Place) -> None:
        raise KeyError("ETag")

    monkeypatch.setattr("s3writer.cli.probes.PROBES", [Probe("lose", "it is kept", lose, "it is lost", is_needed=True)])
    code, out, err = call(environment, "check-store", f"s3://{BUCKET}/{key}")
    assert (code, out) == (1, "refused  it is kept\n         KeyError: 'ETag': it is lost\n")
    assert err == "s3writer: failed: s3writer can't be used here: lose\n"
    code, out, _ = call(environment, "check-store", f"s3://{BUCKET}/{key}", "--json")
    answer = json.loads(out)
    assert (code, answer["outcome"], answer["left"]) == (1, "failed", "")
    assert [finding["verdict"] for finding in answer["findings"]] == ["refused"]


def test_what_says_nothing_of_the_promises_ends_it(environment: dict[str, str], key: str) -> None:
    code, out, err = call({**environment, "AWS_ACCESS_KEY_ID": "nobody"}, "check-store", f"s3://{BUCKET}/{key}")
    assert (code, out) == (1, "")
    assert err.startswith("s3writer: failed: publishing s3://")
    assert "InvalidAccessKeyId" in err
    assert err.splitlines()[1].endswith("/small may be left")


def test_an_interrupt_while_all_is_removed_says_where_something_may_be_left(client: Any, key: str) -> None:
    place = Place(client, BUCKET, f"{key}/")
    place.write(place.key("there"))
    Wire(client).on("DeleteObject", interrupt, 1)
    with pytest.raises(KeyboardInterrupt) as caught:
        _remove(place, None)
    assert caught.value.__notes__ == [f"objects and uploads may be left below s3://{BUCKET}/{key}/"]
    assert place.remove() == []


def test_what_can_not_be_reached_any_more_may_be_left(client: Any, key: str) -> None:
    place = Place(client, BUCKET, f"{key}/")
    place.write(place.key("there"))
    wire, error = Wire(client), ArithmeticError()
    wire.on("DeleteObject", cut, 1)
    _remove(place, error)
    assert error.__notes__ == [f"s3://{BUCKET}/{key}/there may be left"]
    assert place.remove() == []


def test_what_can_not_be_removed_is_named(client: Any, key: str) -> None:
    place = Place(client, BUCKET, f"{key}/")
    place.write(place.key("there"))
    place.key("never written")
    wire = Wire(client)
    wire.on("DeleteObject", refuse(403, "AccessDenied"), 1)
    assert place.remove() == [f"{key}/there"]
    assert place.remove() == []


def test_only_what_it_has_written_is_removed(client: Any, key: str) -> None:
    place = Place(client, BUCKET, f"{key}/")
    place.prepare(place.key("part"))
    other = {"Bucket": BUCKET, "Key": f"{key}/part"}
    upload_id = client.create_multipart_upload(**other)["UploadId"]
    assert place.remove() == []
    assert uploads(client, f"{key}/part") == [upload_id]
    client.abort_multipart_upload(**other, UploadId=upload_id)


def take_any_checksum(params: dict[str, Any], **_: Any) -> None:
    for name in [name for name in params if name.startswith("Checksum")]:
        del params[name]


@pytest.mark.parametrize(
    ("operation", "action", "probe", "verdict", "detail"),
    [
        ("AbortMultipartUpload", answer(204, b""), "abort", Verdict.REFUSED, "upload "),
        ("GetObject", refuse(403, "AccessDenied"), "small-object", Verdict.REFUSED, "AccessDenied: "),
        ("CompleteMultipartUpload", refuse(403, "AccessDenied"), "total-size", Verdict.REFUSED, "AccessDenied: "),
        ("UploadPart", answer(200, b""), "gaps", Verdict.REFUSED, "NoSuchUpload: "),
        ("CompleteMultipartUpload", cut, "total-size", Verdict.REFUSED, "whether s3://"),
        ("UploadPart", None, "crc32", Verdict.IGNORED, "a part with a wrong checksum was taken"),
    ],
)
def test_a_store_that_does_it_otherwise_is_found_out(
    client: Any, key: str, operation: str, action: Action | None, probe: str, verdict: Verdict, detail: str
) -> None:
    if action is None:
        client.meta.events.register(f"provide-client-params.s3.{operation}", take_any_checksum)
    else:
        wire = Wire(client)
        for nth in range(1, 4):
            wire.on(operation, action, nth)
    (tried,) = [each for each in PROBES if each.name == probe]
    place = Place(client, BUCKET, key)
    found = tried.find(place)
    assert place.remove() == []
    assert (found.verdict, found.detail.startswith(detail)) == (verdict, True), found


def test_a_store_that_knows_no_more_of_a_removed_object_is_content(client: Any, key: str) -> None:
    wire = Wire(client)
    place = Place(client, BUCKET, f"{key}/")
    place.key("never written")
    wire.on("DeleteObject", refuse(404, "NoSuchKey"))
    assert place.remove() == []


def test_all_advice_can_be_followed_in_a_shell() -> None:
    names = re.compile(r"\b(part_size|max_\w+|expected_size|equal_parts|checksum=|exclusive=|region_name|endpoint_url)")
    advice = [*(row.advice for row in codes.ROWS), codes._GATEWAY.advice, *faults._ADVICE.values(), faults._KEY_EXISTS]
    for said in advice + [f"{probe.promise} {probe.advice}" for probe in PROBES]:
        assert names.search(in_shell(said)) is None, in_shell(said)
        assert "the client" not in in_shell(said)


@pytest.mark.parametrize(
    ("said", "in_words"),
    [
        ("part_size=1 is out of its limits", "--part-size 1 is out of its limits"),
        ('try checksum="SHA256" or checksum=None.', "try --checksum SHA256 or --checksum none."),
        ("equal_parts=True with a smaller part_size.", "--equal-parts with a smaller --part-size."),
        ("Make the client with region_name='eu-west-1', the bucket's.", "Give --region eu-west-1, the bucket's."),
        ("s3://bucket/part_size was not published", "s3://bucket/part_size was not published"),
        ("the checksum is exclusive", "the checksum is exclusive"),
        ("exclusive=False and commit_token=True", "exclusive=False and commit_token=True"),
        ("checksum='None such'", "--checksum None such"),
        ("s3://b/a part_size was refused: set part_size", "s3://b/a part_size was refused: set --part-size"),
        ("say `commit_token=False`", "say `--no-commit-token`"),
    ],
)
def test_options_are_named_as_a_shell_has_them(said: str, in_words: str) -> None:
    assert in_shell(said, key="a part_size") == in_words


def test_a_key_that_is_part_of_a_sentence_leaves_it_in_the_words_of_the_shell() -> None:
    for key in ("size", "e", "client", "endpoint"):
        said = f"s3://bucket/{key} has part_size and key='{key}'. Check the client's endpoint_url"
        assert in_shell(said, key=key) == f"s3://bucket/{key} has --part-size and key='{key}'. Check --endpoint-url"
