"""An upload that was left in S3, by a failure or a death, goes on where it stopped."""

import base64
import gc
import io
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from s3writer import (
    AbortedError,
    AccessDeniedError,
    ChecksumMismatchError,
    MultipartUploadWriter,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    S3WriterError,
)
from tests.conftest import Running, assert_nothing_left, join_aborts
from tests.helpers import MIB, Boom, content, data, logged, uploads, writer
from tests.stores import BUCKET, Store
from tests.wire import Wire, answer, cut, delay, interrupt, refuse

PAYLOAD = data(23 * MIB)


@pytest.fixture(params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest, running: Running) -> Iterator[Store]:
    """The stores that let a part be replaced; what was killed is resumed on all of them, in test_killed.py."""
    yield running[request.param]
    assert_nothing_left(running[request.param])


@pytest.fixture
def client(server: Store) -> Any:
    """A client of the store."""
    return server.client()


def resumed(client: Any, key: str, upload_id: str | None, **options: Any) -> MultipartUploadWriter:
    return MultipartUploadWriter.resume(BUCKET, key, str(upload_id), client=client, **options)


def left(server: Store, key: str, size: int = 11 * MIB, **options: Any) -> str:
    """The id of an upload whose writer failed after ``size`` bytes and kept it; whole parts have arrived."""
    client = server.client()
    stream = writer(client, key, on_error="keep", **options)
    with pytest.raises(Boom), stream:
        stream.write(PAYLOAD[:size])
        stream._upload.pipeline.collect(0)
        raise Boom
    [upload_id] = uploads(client, key)
    return upload_id


def tell_checksums(client: Any, kind: str) -> None:
    """Let ListParts tell what S3 would: the checksum of each of ``PAYLOAD``'s parts, of which the object's is made."""

    def tell(parsed: dict[str, Any], **_: Any) -> None:
        parsed.update(ChecksumAlgorithm="CRC32", ChecksumType=kind)
        for part in parsed["Parts"]:
            part["ChecksumCRC32"] = crc32(PAYLOAD[(part["PartNumber"] - 1) * 5 * MIB :][: part["Size"]])

    client.meta.events.register("after-call.s3.ListParts", tell)


@pytest.mark.parametrize("name", ["localstack", "seaweedfs", "memory"])
@pytest.mark.parametrize(("size", "checksum"), [(0, "auto"), (5 * MIB, "auto"), (5 * MIB, "SHA256"), (0, None)])
@pytest.mark.no_cover
def test_an_upload_that_was_begun_without_checksums_is_committed_without_them(
    running: dict[str, Store], key: str, name: str, size: int, checksum: str | None
) -> None:
    client = running[name].client()
    named = {"Bucket": BUCKET, "Key": key}
    named["UploadId"] = client.create_multipart_upload(**named)["UploadId"]
    if size:
        client.upload_part(**named, PartNumber=1, Body=PAYLOAD[:size])
    with resumed(client, key, named["UploadId"], verify=io.BytesIO(PAYLOAD), checksum=checksum) as stream:
        assert stream.tell() == size
        stream.write(PAYLOAD[size:])
    assert content(client, key) == PAYLOAD
    assert_nothing_left(running[name])


def test_a_kept_upload_goes_on_from_the_byte_that_tell_names(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key, ContentType="text/csv")
    stream = resumed(client, key, upload_id)
    assert stream.tell() == 10 * MIB
    assert upload_id in repr(stream)
    with stream:
        stream.write(PAYLOAD[stream.tell() :])
    assert content(client, key) == PAYLOAD
    assert (stream.result.size, stream.result.parts) == (len(PAYLOAD), 5)
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentType"] == "text/csv"
    assert uploads(client, key) == []


def test_a_failed_part_keeps_the_upload_and_the_error_says_how_to_go_on(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", refuse(403, "AccessDenied"), nth=3)
    stream = writer(client, key, on_error="keep", max_concurrency=1, equal_parts=True)
    with logged() as log, pytest.raises(AccessDeniedError) as caught, stream:
        stream.write(PAYLOAD)
    [upload_id] = uploads(client, key)
    assert caught.value.upload_id == upload_id
    assert f"kept, {stream._intake.taken} bytes, upload {upload_id}" in repr(stream)
    [how] = [note for note in caught.value.__notes__ if "MultipartUploadWriter.resume(" in note]
    assert how in log
    call = how[how.index("MultipartUploadWriter.resume(") :].replace(")", ", client=client)")
    again: MultipartUploadWriter = eval(call, {"MultipartUploadWriter": MultipartUploadWriter, "client": client})
    with again:
        assert again.tell() == 10 * MIB
        again.write(PAYLOAD[again.tell() :])
    assert content(client, key) == PAYLOAD


def test_a_writer_that_failed_and_kept_its_upload_takes_nothing_more(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", refuse(403, "AccessDenied"), nth=1)
    stream = writer(client, key, on_error="keep", max_concurrency=1)
    with pytest.raises(AccessDeniedError):
        stream.write(PAYLOAD)
    with pytest.raises(AbortedError, match="resume") as caught:
        stream.write(b"more")
    assert uploads(client, key) == [caught.value.upload_id]
    stream.abort()
    assert uploads(client, key) == []
    assert "aborted" in repr(stream)


def test_nothing_is_kept_that_was_never_begun(client: Any, key: str) -> None:
    with pytest.raises(Boom), writer(client, key, on_error="keep") as stream:
        stream.write(b"small")
        raise Boom
    assert uploads(client, key) == []
    assert "aborted" in repr(stream)


def test_an_upload_whose_id_an_interrupt_has_lost_is_not_called_kept(client: Any, key: str) -> None:
    Wire(client).on("CreateMultipartUpload", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    assert [note for note in caught.value.__notes__ if "whose id was lost" in note]
    assert not [note for note in caught.value.__notes__ if "was kept" in note]


def test_an_explicit_abort_removes_what_a_failure_would_have_kept(server: Store, client: Any, key: str) -> None:
    stream = resumed(client, key, left(server, key))
    stream.abort()
    assert uploads(client, key) == []


def test_a_dropped_writer_keeps_its_upload_too(client: Any, key: str) -> None:
    stream = writer(client, key, on_error="keep")
    stream.write(PAYLOAD)
    stream._upload.pipeline.collect(0)
    with logged() as log, pytest.warns(ResourceWarning, match="was never closed"):
        del stream
        gc.collect()
        join_aborts()
    [upload_id] = uploads(client, key)
    assert any(upload_id in line for line in log)
    again = resumed(client, key, upload_id)
    assert again.tell() == 20 * MIB
    again.abort()


def test_a_commit_that_is_refused_keeps_the_upload(client: Any, key: str, server: Store) -> None:
    Wire(client).on("CompleteMultipartUpload", refuse(403, "AccessDenied"), nth=1)
    with pytest.raises(AccessDeniedError) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    with resumed(client, key, caught.value.upload_id) as again:
        again.write(PAYLOAD[again.tell() :])
    assert content(client, key) == PAYLOAD


@pytest.mark.parametrize("head", [None, refuse(403, "AccessDenied")], ids=["nothing shows", "nobody tells"])
def test_a_commit_whose_answer_was_lost_keeps_the_upload(client: Any, key: str, head: Any) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut, nth=1)
    if head:
        wire.on("HeadObject", head)
    with pytest.raises(OutcomeUnknownError) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    with resumed(client, key, caught.value.upload_id, token=caught.value.token) as again:
        again.write(PAYLOAD[again.tell() :])
    assert content(client, key) == PAYLOAD


def test_with_its_token_a_resumed_upload_s_lost_answer_is_settled(client: Any, key: str) -> None:
    stream = writer(client, key, on_error="keep")
    with pytest.raises(Boom) as caught, stream:
        stream.write(PAYLOAD[: 11 * MIB])
        stream._upload.pipeline.collect(0)
        raise Boom
    [upload_id] = uploads(client, key)
    token = caught.value.__notes__[0].partition("token='")[2].partition("'")[0]
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", wire.lose_answer)
    with resumed(client, key, upload_id, token=token) as again:
        again.write(PAYLOAD[again.tell() :])
    assert again.result.size == len(PAYLOAD)
    assert content(client, key) == PAYLOAD


def test_parts_behind_a_gap_are_sent_again(client: Any, key: str) -> None:
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    for number in (1, 2, 4):
        body = PAYLOAD[(number - 1) * 5 * MIB :][: 5 * MIB]
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
    with resumed(client, key, upload_id, equal_parts=True) as stream:
        assert stream.tell() == 10 * MIB
        stream.write(PAYLOAD[10 * MIB :])
    assert content(client, key) == PAYLOAD
    assert stream.result.parts == 5


def test_parts_of_another_size_behind_a_gap_never_become_part_of_the_object(
    server: Store, client: Any, key: str
) -> None:
    payload = data(40 * MIB)
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    for number, start in ((1, 0), (2, 8), (4, 24), (5, 32)):
        body = payload[start * MIB :][: 8 * MIB]
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
    for _ in range(2):
        with pytest.raises(Boom), resumed(client, key, upload_id, equal_parts=True) as stream:
            stream.write(payload[stream.tell() : stream.tell() + 6 * MIB])
            stream._upload.pipeline.collect(0)
            raise Boom
    with resumed(client, key, upload_id) as stream:
        assert stream.tell() in (21 * MIB, 26 * MIB)  # SeaweedFS lists what was replaced, too
        stream.write(payload[stream.tell() :])
    assert content(client, key) == payload


def test_an_error_about_another_object_does_not_name_the_upload_that_is_kept(client: Any, key: str) -> None:
    with pytest.raises(NotCommittedError) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
        raise NotCommittedError("the side failed", BUCKET, "side.bin", "its upload")
    assert caught.value.upload_id == "its upload"
    [upload_id] = uploads(client, key)
    assert upload_id in caught.value.__notes__[0]
    resumed(client, key, upload_id).abort()


def test_bytes_that_were_altered_on_their_way_are_not_kept(client: Any, key: str) -> None:
    def alter(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumCRC64NVME"] = parsed["ChecksumCRC32"] = "AAAAAAAAAAE="

    client.meta.events.register("after-call.s3.UploadPart", alter)
    with pytest.raises(ChecksumMismatchError), writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    assert uploads(client, key) == []


def test_nor_are_they_if_something_else_went_wrong_first(client: Any, key: str) -> None:
    def alter(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumCRC64NVME"] = parsed["ChecksumCRC32"] = "AAAAAAAAAAE="

    client.meta.events.register("after-call.s3.UploadPart", alter)
    with pytest.raises(Boom) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD[: 6 * MIB])
        while not stream._upload.pipeline.jobs.failures:
            time.sleep(0.01)
        raise Boom
    assert uploads(client, key) == []
    assert not any("was kept" in note for note in caught.value.__notes__)


def test_nor_are_they_if_an_earlier_part_has_failed_otherwise(client: Any, key: str) -> None:
    def alter(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumCRC64NVME"] = parsed["ChecksumCRC32"] = "AAAAAAAAAAE="

    client.meta.events.register("after-call.s3.UploadPart", alter)
    written = threading.Event()

    def refuse_the_first(request: Any) -> Any:
        written.wait(30)
        return refuse(403, "AccessDenied")(request) if "partNumber=1&" in f"{request.url}&" else None

    Wire(client).on("UploadPart", refuse_the_first)
    with pytest.raises(Boom), writer(client, key, on_error="keep", equal_parts=True) as stream:
        stream.write(PAYLOAD[: 11 * MIB])
        written.set()
        while len(stream._upload.pipeline.jobs.failures) < 2:
            time.sleep(0.01)
        raise Boom
    assert uploads(client, key) == []


def test_a_list_of_parts_that_does_not_go_on_is_read_once(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key)
    page = b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>"
    wire = Wire(client)
    wire.on("ListParts", answer(200, page))
    stream = resumed(client, key, upload_id)
    assert stream.tell() == 0
    assert wire.sent.count("ListParts") == 1
    wire.on("ListParts", lambda request: None)
    stream.abort()


def test_ctrl_c_while_a_lost_answer_is_looked_into_names_what_is_kept(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("CompleteMultipartUpload", cut)
    wire.on("HeadObject", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    [upload_id] = uploads(client, key)
    assert any(upload_id in note for note in caught.value.__notes__)
    resumed(client, key, upload_id).abort()


def test_the_way_to_go_on_names_what_guards_the_key(client: Any, key: str) -> None:
    with pytest.raises(Boom) as caught, writer(client, key, on_error="keep", exclusive=True, checksum="SHA1") as stream:
        stream.write(PAYLOAD)
        raise Boom
    assert "checksum='SHA1', exclusive=True)" in caught.value.__notes__[0]
    resumed(client, key, uploads(client, key)[0], checksum="SHA1").abort()


def test_a_composite_checksum_is_left_to_the_store(running: dict[str, Store], key: str) -> None:
    server = running["moto"]
    client = server.client()
    upload_id = left(server, key, checksum="CRC32")
    tell_checksums(client, "COMPOSITE")
    wire = Wire(client)
    with resumed(client, key, upload_id) as stream:
        stream.write(PAYLOAD[stream.tell() :])
    assert "x-amz-checksum-type" not in {name.lower() for name in wire.requests[-1].headers}
    assert content(client, key) == PAYLOAD


def test_a_short_last_part_is_sent_again(server: Store, client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(PAYLOAD[: 12 * MIB])
        pending = stream.prepare()
    assert [part.size for part in pending.parts] == [5 * MIB, 5 * MIB, 2 * MIB]
    with resumed(client, key, pending.upload_id) as again:
        assert again.tell() == 10 * MIB
        again.write(PAYLOAD[10 * MIB :])
    assert content(client, key) == PAYLOAD


def test_one_that_lacks_nothing_is_published_as_it_is(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key)
    with resumed(client, key, upload_id) as stream:
        assert stream.tell() == 10 * MIB
    assert content(client, key) == PAYLOAD[: 10 * MIB]
    assert stream.result.parts == 2


def test_one_that_has_no_part_yet_begins_at_the_first_byte(client: Any, key: str) -> None:
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    with resumed(client, key, upload_id) as stream:
        assert stream.tell() == 0
        stream.write(b"all of it")
    assert content(client, key) == b"all of it"


def test_what_was_resumed_can_be_prepared(server: Store, client: Any, key: str) -> None:
    with resumed(client, key, left(server, key)) as stream:
        stream.write(PAYLOAD[stream.tell() :])
        pending = stream.prepare()
    assert pending.commit(client=client).size == len(PAYLOAD)
    assert content(client, key) == PAYLOAD


def test_the_upload_s_checksum_goes_on_and_is_combined_from_the_stored_parts(
    running: dict[str, Store], key: str
) -> None:
    server = running["seaweedfs"]
    client = server.client()
    upload_id = left(server, key, checksum="CRC32")
    tell_checksums(client, "FULL_OBJECT")
    with pytest.raises(ChecksumMismatchError):
        resumed(client, key, upload_id, verify=io.BytesIO(PAYLOAD[::-1]))
    with resumed(client, key, upload_id, verify=io.BytesIO(PAYLOAD)) as stream:
        stream.write(PAYLOAD[stream.tell() :])
    assert stream.result.checksum == f"CRC32:{crc32(PAYLOAD)}"
    assert content(client, key) == PAYLOAD


def crc32(payload: bytes) -> str:
    return base64.b64encode(zlib.crc32(payload).to_bytes(4)).decode()


def test_stored_parts_are_verified_against_the_source(server: Store, client: Any, key: str) -> None:
    source = io.BytesIO(PAYLOAD)
    with resumed(client, key, left(server, key), verify=source) as stream:
        assert source.tell() == stream.tell() == 10 * MIB
        stream.write(source.read())
    assert content(client, key) == PAYLOAD


def test_a_source_is_read_no_further_than_the_parts_go(server: Store, client: Any, key: str) -> None:
    source = io.BytesIO(PAYLOAD)
    upload_id = left(server, key, part_size=5 * MIB + 1, equal_parts=True)
    with resumed(client, key, upload_id, verify=source) as stream:
        assert source.tell() == stream.tell() == 10 * MIB + 2
        stream.write(source.read())
    assert content(client, key) == PAYLOAD


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PAYLOAD[: 7 * MIB] + b"?" + PAYLOAD[7 * MIB + 1 :], "part 2 .* holds other bytes than the source"),
        (PAYLOAD[: 7 * MIB], f"part 2 .* has {3 * MIB} bytes more than the source"),
    ],
    ids=["another byte", "shorter"],
)
def test_a_source_that_has_changed_is_found_out(
    server: Store, client: Any, key: str, source: bytes, message: str
) -> None:
    upload_id = left(server, key)
    with pytest.raises(NotCommittedError, match=message) as caught:
        resumed(client, key, upload_id, verify=io.BytesIO(source))
    assert caught.value.upload_id == upload_id
    assert uploads(client, key) == [upload_id]
    resumed(client, key, upload_id).abort()


def test_a_part_whose_checksum_is_of_an_unknown_kind_is_verified_by_its_etag(
    server: Store, client: Any, key: str
) -> None:
    def label(parsed: dict[str, Any], **_: Any) -> None:
        for part in parsed["Parts"]:
            part["ChecksumXXHASH64"] = "AAAAAAAAAAA="

    client.meta.events.register("after-call.s3.ListParts", label)
    stream = resumed(client, key, left(server, key), verify=io.BytesIO(PAYLOAD))
    assert stream.tell() == 10 * MIB
    stream.abort()


def test_a_part_whose_etag_alone_differs_is_not_called_altered(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key)

    def hide(parsed: dict[str, Any], **_: Any) -> None:
        for part in parsed["Parts"]:
            for name in [name for name in part if name.startswith("Checksum")]:
                del part[name]

    client.meta.events.register("after-call.s3.ListParts", hide)
    with pytest.raises(NotCommittedError, match="or is encrypted, so that its ETag tells nothing") as caught:
        resumed(client, key, upload_id, verify=io.BytesIO(PAYLOAD[::-1]))
    assert not isinstance(caught.value, ChecksumMismatchError)
    resumed(client, key, upload_id).abort()


@pytest.mark.parametrize("etag", ['"not-an-md5"', '"0123abcd"'])
def test_parts_that_nothing_tells_about_can_not_be_verified(server: Store, client: Any, key: str, etag: str) -> None:
    upload_id = left(server, key)

    def hide(parsed: dict[str, Any], **_: Any) -> None:
        for part in parsed["Parts"]:
            part["ETag"] = etag
            for name in [name for name in part if name.startswith("Checksum")]:
                del part[name]

    client.meta.events.register("after-call.s3.ListParts", hide)
    with pytest.raises(NotCommittedError, match="can't be verified"):
        resumed(client, key, upload_id, verify=io.BytesIO(PAYLOAD))
    resumed(server.client(), key, upload_id).abort()


def test_a_part_that_is_listed_twice_otherwise_or_without_its_size_is_sent_again(
    server: Store, client: Any, key: str
) -> None:
    upload_id = left(server, key, size=16 * MIB)

    def spoil(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Parts"].append({**parsed["Parts"][2], "ETag": '"other"'})
        del parsed["Parts"][1]["Size"]

    client.meta.events.register("after-call.s3.ListParts", spoil)
    stream = resumed(client, key, upload_id)
    assert stream.tell() == 5 * MIB
    stream.abort()


def test_all_pages_of_parts_are_read(running: dict[str, Store], key: str) -> None:
    server = running["moto"]
    client = server.client()
    upload_id = left(server, key, size=21 * MIB)
    pages: list[str] = []

    def one_by_one(params: dict[str, Any], **_: Any) -> None:
        params["MaxParts"] = 1
        pages.append("a page")

    client.meta.events.register("provide-client-params.s3.ListParts", one_by_one)
    stream = resumed(client, key, upload_id)
    assert (stream.tell(), len(pages)) == (20 * MIB, 4)
    stream.abort()


def test_an_upload_that_is_gone_is_told(client: Any, key: str, server: Store) -> None:
    upload_id = left(server, key)
    resumed(client, key, upload_id).abort()
    with pytest.raises(OutcomeUnknownError, match="was published, was aborted, or has expired"):
        resumed(client, key, upload_id)


def test_an_upload_that_was_published_is_told(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(PAYLOAD)
        pending = stream.prepare()
    pending.commit(client=client)
    with pytest.raises(S3WriterError, match="was published before") as caught:
        resumed(client, key, pending.upload_id, token=pending.token)
    assert not isinstance(caught.value, NotCommittedError)
    Wire(client).on("HeadObject", refuse(403, "AccessDenied"))
    with pytest.raises(OutcomeUnknownError):
        resumed(client, key, pending.upload_id, token=pending.token)


def test_what_s3_refuses_to_list_can_not_be_resumed(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key)
    Wire(client).on("ListParts", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        resumed(client, key, upload_id)
    resumed(server.client(), key, upload_id).abort()


def test_a_part_that_is_under_way_when_its_upload_is_kept_never_arrives(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("UploadPart", delay(0.5))
    with pytest.raises(Boom), writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD[: 11 * MIB])
        while wire.sent.count("UploadPart") < 2:
            time.sleep(0.01)
        raise Boom
    assert wire.sent.count("UploadPart") == 2
    assert stream._upload.pipeline.jobs.running == 0
    [upload_id] = uploads(client, key)
    again = resumed(client, key, upload_id)
    assert again.tell() == 0
    again.abort()


def test_a_resume_that_is_refused_has_changed_no_part(client: Any, key: str) -> None:
    def parts() -> list[tuple[int, str, int]]:
        listed = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload_id)["Parts"]
        return [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed]

    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    for number in (1, 3):
        body = PAYLOAD[(number - 1) * 5 * MIB :][: 5 * MIB]
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
    before, wire = parts(), Wire(client)
    with pytest.raises(NotCommittedError, match="holds other bytes than the source"):
        resumed(client, key, upload_id, verify=io.BytesIO(PAYLOAD[::-1]))
    assert "UploadPart" not in wire.sent
    assert parts() == before
    resumed(client, key, upload_id).abort()


def test_what_was_settled_when_the_upload_began_is_refused(server: Store, client: Any, key: str) -> None:
    upload_id = left(server, key)
    with pytest.raises(TypeError, match="ContentType comes too late"):
        resumed(client, key, upload_id, ContentType="text/csv")
    with pytest.raises(ValueError, match="encoding='utf-16' keeps a state"):
        resumed(client, key, upload_id, encoding="utf-16")
    with pytest.raises(ValueError, match="on_error='resume' is neither"):
        resumed(client, key, upload_id, on_error="resume")
    assert uploads(client, key) == [upload_id]
    resumed(client, key, upload_id).abort()


def test_one_that_has_all_of_s3_s_parts_takes_no_byte_more(
    server: Store, client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = left(server, key)
    monkeypatch.setattr("s3writer._upload.ledger.MAX_PARTS", 2)
    with pytest.raises(ObjectTooLargeError), resumed(client, key, upload_id, on_error="abort") as stream:
        stream.write(b"one more")
    assert uploads(client, key) == []


def test_ctrl_c_during_the_commit_keeps_the_upload_and_names_it(client: Any, key: str) -> None:
    Wire(client).on("CompleteMultipartUpload", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    [upload_id] = uploads(client, key)
    assert any(upload_id in note for note in caught.value.__notes__)
    resumed(client, key, upload_id).abort()


def test_ctrl_c_while_it_is_kept_still_names_it(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", interrupt, nth=2)
    with pytest.raises(KeyboardInterrupt) as caught, writer(client, key, on_error="keep") as stream:
        stream.write(PAYLOAD)
    [upload_id] = uploads(client, key)
    assert any(upload_id in note for note in caught.value.__notes__)
    resumed(client, key, upload_id).abort()
