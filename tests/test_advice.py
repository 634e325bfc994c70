"""What an error advises helps against what S3 has said, or nothing is advised."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from s3writer import AccessDeniedError, CredentialsError, NotCommittedError
from s3writer._s3 import codes, faults
from s3writer._s3.operations import BY_NAME

ROOT = Path(__file__).parent.parent

#: Codes that a call of ours can meet; from S3's API reference, "Error responses", and KMS's.
CODES = """
    AccessControlListNotSupported AccessDenied AccountProblem AllAccessDisabled AuthorizationHeaderMalformed BadDigest
    BadRequest ConditionalRequestConflict EntityTooLarge EntityTooSmall ExpiredToken IllegalLocationConstraintException
    IncompleteBody InternalError InvalidAccessKeyId InvalidArgument InvalidBucketName InvalidBucketState InvalidDigest
    InvalidEncryptionAlgorithmError InvalidObjectState InvalidPart InvalidPartOrder InvalidRequest InvalidSecurity
    InvalidStorageClass InvalidTag InvalidToken InvalidURI KeyTooLongError MalformedACLError MalformedXML
    MaxMessageLengthExceeded MetadataTooLarge MethodNotAllowed MissingContentLength MissingSecurityHeader
    NoSuchAccessPoint NoSuchBucket
    NoSuchKey NoSuchUpload NotImplemented NotSignedUp ObjectLockConfigurationNotFoundError OperationAborted
    PermanentRedirect PreconditionFailed Redirect RequestIsNotMultiPartContent RequestTimeTooSkewed RequestTimeout
    ServiceUnavailable SignatureDoesNotMatch SlowDown TemporaryRedirect TokenRefreshRequired UnexpectedContent
    UnresolvableGrantByEmailAddress UserKeyMustBeSpecified
    KMS.DependencyTimeoutException KMS.DisabledException KMS.IncorrectKeyException KMS.InvalidArnException
    KMS.InvalidGrantTokenException KMS.InvalidKeyUsageException KMS.InvalidStateException KMS.KMSInternalException
    KMS.KMSInvalidStateException KMS.KeyUnavailableException KMS.NotFoundException KMS.ThrottlingException
"""
#: To write again may help against these alone.
PASSING = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "InvalidDigest",
    "InvalidPart",
    "InvalidPartOrder",
    "KMS.DependencyTimeoutException",
    "KMS.KMSInternalException",
    "KMS.ThrottlingException",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
}


def failed(
    code: str, message: str = "", operation: str = "UploadPart", status: int = 400, **told: Any
) -> NotCommittedError:
    """The error for an answer of S3."""
    about = {"HTTPStatusCode": status, "HTTPHeaders": told.pop("headers", {})}
    response: Any = {"Error": {"Code": code, "Message": message, **told}, "ResponseMetadata": about}
    return faults.translate(ClientError(response, operation), "uploading to", "bucket", "key")


@pytest.mark.parametrize("code", CODES.split())
def test_each_code_of_s3_has_a_row_and_only_what_passes_is_to_be_tried_anew(code: str) -> None:
    assert [row for row in codes.ROWS if code in row.codes.split()]
    for operation in ("PutObject", "UploadPart", "CompleteMultipartUpload"):
        assert ("object anew" in str(failed(code, operation=operation))) is (code in PASSING)


def test_an_account_that_is_not_signed_up_is_a_matter_of_credentials() -> None:
    assert isinstance(failed("NotSignedUp", status=403), CredentialsError)


def test_a_code_stands_in_one_row() -> None:
    known = [code for row in codes.ROWS for code in row.codes.split()]
    assert len(known) == len(set(known))


@pytest.mark.parametrize("code", [code for row in codes.ROWS for code in row.codes.split()])
def test_calls_that_write_nothing_advise_to_write_nothing(code: str) -> None:
    for operation in BY_NAME.values():
        if not operation.writes:
            assert "anew" not in str(failed(code, operation=operation.name))


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Access Denied", "The credentials need the permission s3:PutObject."),
        (
            "User: arn:aws:iam::1:user/a is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:x",
            "The credentials need the permission kms:Decrypt.",
        ),
        (
            "User: u is not authorized to perform: s3:PutObjectTagging on resource: r",
            "The credentials need the permission s3:PutObjectTagging.",
        ),
        ("The ciphertext refers to a KMS key that does not exist", "kms:GenerateDataKey and kms:Decrypt"),
    ],
)
def test_a_permission_is_the_one_that_s3_has_named(message: str, advice: str) -> None:
    error = failed("AccessDenied", message, status=403)
    assert isinstance(error, AccessDeniedError)
    assert str(error).endswith(advice) or advice in str(error)
    assert ("s3:PutObject." in str(error)) is (message == "Access Denied")


@pytest.mark.parametrize(
    ("code", "message", "operation", "status", "advice"),
    [
        ("EntityTooLarge", "", "UploadPart", 400, "Send smaller parts: equal_parts=True with a smaller part_size."),
        ("", "", "UploadPart", 413, "Send smaller parts: equal_parts=True with a smaller part_size."),
        ("EntityTooLarge", "", "PutObject", 400, "Set a smaller part_size, so that the object is sent in parts."),
        (
            "InvalidArgument",
            "Part number must be an integer between 1 and 1000, inclusive",
            "UploadPart",
            400,
            "The store takes fewer than 10,000 parts: set a larger part_size.",
        ),
        ("InvalidRequest", "Value for x-amz-checksum-algorithm is invalid.", "CreateMultipartUpload", 400, '"SHA256"'),
        ("NotImplemented", "checksum type FULL_OBJECT", "CreateMultipartUpload", 501, '"SHA256" or checksum=None'),
        ("RequestTimeTooSkewed", "", "UploadPart", 403, "Set this machine's clock"),
        ("InvalidAccessKeyId", "", "UploadPart", 403, "the environment, a profile or a role"),
        ("SomethingNew", "who knows", "UploadPart", 400, "who knows."),
        ("SomethingNew", "", "UploadPart", 500, "Write the object anew, from its first byte."),
    ],
)
def test_the_advice_fits_what_was_said(code: str, message: str, operation: str, status: int, advice: str) -> None:
    assert advice in str(failed(code, message, operation, status))


def test_the_region_that_s3_has_named_is_told() -> None:
    told = "region_name='eu-west-1', the bucket's."
    assert told in str(failed("AuthorizationHeaderMalformed", Region="eu-west-1"))
    assert told in str(failed("PermanentRedirect", status=301, headers={"x-amz-bucket-region": "eu-west-1"}))
    assert "with the bucket's region_name." in str(failed("PermanentRedirect", status=301))


def test_the_documentation_shows_the_table() -> None:
    lines = ["| S3's code | error | what helps |", "| --- | --- | --- |"]
    for row in codes.ROWS:
        shown = ", ".join(f"`{code}`" for code in row.codes.split())
        lines.append(f"| {shown} | `{row.kind.__name__}` | {row.advice} |")
    assert "\n".join(lines) in (ROOT / "docs" / "errors.md").read_text()
