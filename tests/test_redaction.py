"""No secret is in anything that a program may print, keep or send elsewhere."""

import base64
import hashlib
import logging
import pickle
import traceback

import pytest

from tests.helpers import MIB, data, uploads, writer
from tests.stores import BUCKET, SECRET, Store
from tests.wire import Action, Wire, cut, interrupt, refuse

TOKEN = "session-token-0123456789"
CUSTOMER_KEY = b"0123456789abcdef0123456789ABCDEF"
SECRETS = [
    SECRET,
    TOKEN,
    CUSTOMER_KEY.decode(),
    CUSTOMER_KEY.hex(),
    base64.b64encode(CUSTOMER_KEY).decode(),
    base64.b64encode(hashlib.md5(CUSTOMER_KEY).digest()).decode(),
    "Signature=",
    "AWS4-HMAC-SHA256",
]
FAULTS: dict[str, Action] = {
    "wrong signature": refuse(403, "SignatureDoesNotMatch"),
    "bad argument": refuse(400, "InvalidArgument"),
    "500": refuse(500, "InternalError"),
    "cut": cut,
    "interrupt": interrupt,
}
CALLS = ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_that_a_failure_tells_has_a_secret_in_it(
    running: dict[str, Store], key: str, caplog: pytest.LogCaptureFixture, call: str, fault: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="s3writer")
    client = running["moto"].client(aws_session_token=TOKEN)
    wire = Wire(client)
    wire.on(call, FAULTS[fault])
    if call == "AbortMultipartUpload":
        wire.on("UploadPart", refuse(403, "AccessDenied"))
    stream = writer(client, key, SSECustomerAlgorithm="AES256", SSECustomerKey=CUSTOMER_KEY)
    with pytest.raises(BaseException) as caught, stream:
        stream.write(data(1000 if call == "PutObject" else 6 * MIB))
    assert any(TOKEN in str(request.headers) for request in wire.requests)
    told = [caplog.text, repr(stream), str(vars(caught.value)), str(pickle.dumps(caught.value))]
    told += traceback.format_exception(caught.value)
    assert [secret for secret in SECRETS for text in told if secret in text] == []
    direct = running["moto"].client()
    for upload_id in uploads(direct, key):
        direct.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_published_object_s_result_has_no_secret_in_it(running: dict[str, Store], key: str) -> None:
    client = running["moto"].client(aws_session_token=TOKEN)
    with writer(client, key, SSECustomerAlgorithm="AES256", SSECustomerKey=CUSTOMER_KEY) as stream:
        stream.write(data(6 * MIB))
    told = [repr(stream), repr(stream.result), str(pickle.dumps(stream.result))]
    assert [secret for secret in SECRETS for text in told if secret in text] == []
