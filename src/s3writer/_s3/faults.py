"""What botocore raises, said in this package's own errors: the one place where foreign exceptions are translated."""

import re
import string
from http import HTTPStatus

from s3writer import _errors as errors
from s3writer._s3.lazy import Lazy

botocore = Lazy("botocore.exceptions")

_BY_CODE: dict[str, type[errors.NotCommittedError]] = {
    code: kind
    for kind, codes in {
        errors.BucketNotFoundError: "NoSuchBucket",
        errors.AccessDeniedError: "AccessDenied AllAccessDisabled AccountProblem 403",
        errors.CredentialsError: (
            "ExpiredToken ExpiredTokenException InvalidAccessKeyId InvalidToken NotSignedUp RequestTimeTooSkewed "
            "SignatureDoesNotMatch TokenRefreshRequired"
        ),
        errors.WrongRegionError: (
            "301 307 AuthorizationHeaderMalformed IllegalLocationConstraintException IncorrectEndpoint "
            "PermanentRedirect Redirect TemporaryRedirect"
        ),
        errors.PreconditionFailedError: "PreconditionFailed 412",
        errors.ConflictError: "ConditionalRequestConflict OperationAborted 409",
        errors.ChecksumMismatchError: ("BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch"),
        errors.ThrottledError: "SlowDown ServiceUnavailable RequestLimitExceeded Throttling ThrottlingException 503",
        errors.ObjectTooLargeError: "EntityTooLarge",
    }.items()
    for code in codes.split()
}

#: The names of botocore's types.
_BY_TYPE: dict[type[errors.NotCommittedError], str] = {
    errors.CredentialsError: (
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOError"
    ),
    errors.WrongRegionError: "NoRegionError InvalidRegionError",
    errors.ConnectionFailedError: "ConnectionError HTTPClientError",
}

#: What IAM calls the permission for S3's other operations than those that write.
_PERMISSIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}

_ADVICE: dict[type[errors.NotCommittedError], str] = {
    errors.NotCommittedError: "Write the object anew, from its first byte.",
    errors.ObjectTooLargeError: "Set expected_size, or a larger part_size.",
    errors.BucketNotFoundError: "Create the bucket, or mend its name or the client's endpoint.",
    errors.CredentialsError: "Give the client credentials that are valid.",
    errors.WrongRegionError: "Make the client with the bucket's region_name.",
    errors.ConnectionFailedError: "Check the network and the client's endpoint_url, then write the object anew.",
    errors.ThrottledError: "Write the object anew later, with a smaller max_concurrency or more retries.",
    errors.KeyExistsError: "Choose another key, or leave out exclusive=True to overwrite.",
    errors.PreconditionFailedError: "Read the object again and decide anew.",
    errors.ConflictError: "Write the object anew, all of it.",
    errors.ChecksumMismatchError: "Write the object anew; if it happens again, something on the way alters bytes.",
}

#: A name and a password in an endpoint's URL, which nobody else must read.
_USER_INFO = re.compile(r"(//|endpoint: )(?:[^/\s]+|[^/\s:@]*:(?!\d+/)\S+)@")

#: What S3 refuses with NoSuchKey if there is no object for If-Match to match.
_CONDITIONAL = {"PutObject", "CompleteMultipartUpload"}

#: S3 has many words for "I have not decided", all of them 4xx.
_UNDECIDED = {"NoSuchUpload", "RequestTimeout", "404", "408"}


def translate(
    error: Exception, doing: str, bucket: str, key: str, *, exclusive: bool = False
) -> errors.NotCommittedError:
    """The error that says the same in this package's words; ``doing`` is what was being done."""
    kind = _kind(error)
    if kind is errors.PreconditionFailedError and exclusive and code(error) != "NoSuchKey":
        kind = errors.KeyExistsError
    return kind(f"{doing} s3://{bucket}/{key} failed: {said(error)}. {_advice(kind, error)}".rstrip(), bucket, key)


def said(error: BaseException | None) -> str:
    """What ``error`` says, in a line, without a name and a password in a URL."""
    return redacted(" ".join(str(error).split()) or type(error).__name__).rstrip(".")


def redacted(text: str) -> str:
    """``text`` without a name and a password in a URL."""
    return _USER_INFO.sub(r"\1", text)


def is_refusal(error: BaseException) -> bool:
    """Whether S3 has decided: it answered the one and only attempt, and its answer was no."""
    if isinstance(error, (botocore.ParamValidationError, botocore.NoCredentialsError)):
        return True
    if not isinstance(error, botocore.ClientError):
        return False
    about = error.response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    return (
        HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        and not about.get("RetryAttempts")
        and (code(error) or str(status)) not in _UNDECIDED
    )


def is_answer(error: BaseException) -> bool:
    """Whether ``error`` is what S3 itself has said, and not a server in between: that has no code, or its status for
    one.
    """
    return isinstance(error, botocore.ClientError) and bool(code(error).strip(string.digits))


def code(error: BaseException | None) -> str:
    """S3's error code, "" where there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, botocore.ClientError) else ""


def _advice(kind: type[errors.NotCommittedError], error: Exception) -> str:
    permission = _PERMISSIONS.get(getattr(error, "operation_name", ""))
    if kind is errors.AccessDeniedError:
        return f"The credentials need the permission {permission or 's3:PutObject'}."
    return "" if permission and kind is errors.NotCommittedError else _ADVICE[kind]


def _kind(error: Exception) -> type[errors.NotCommittedError]:
    if isinstance(error, botocore.ClientError):
        if code(error) == "NoSuchKey" and error.operation_name in _CONDITIONAL:
            return errors.PreconditionFailedError
        return _BY_CODE.get(code(error), errors.NotCommittedError)
    for kind, names in _BY_TYPE.items():
        if isinstance(error, tuple(getattr(botocore, name) for name in names.split())):
            return kind
    return errors.NotCommittedError
