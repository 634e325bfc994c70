"""Translates botocore's exceptions into this package's errors. No other module does that."""

import re
from http import HTTPStatus
from typing import Any

from s3writer import _errors as errors
from s3writer._s3.lazy import Lazy
from s3writer._s3.operations import BY_NAME, COMPLETE, HEAD, PUT

botocore = Lazy("botocore.exceptions")

_BY_CODE: dict[str, type[errors.NotCommittedError]] = {
    code: kind
    for kind, codes in {
        errors.BucketNotFoundError: "NoSuchBucket",
        errors.AccessDeniedError: "AccessDenied AllAccessDisabled AccountProblem",
        errors.CredentialsError: (
            "ExpiredToken ExpiredTokenException InvalidAccessKeyId InvalidToken NotSignedUp RequestTimeTooSkewed "
            "SignatureDoesNotMatch TokenRefreshRequired"
        ),
        errors.WrongRegionError: (
            "AuthorizationHeaderMalformed IllegalLocationConstraintException IncorrectEndpoint "
            "PermanentRedirect Redirect TemporaryRedirect"
        ),
        errors.PreconditionFailedError: "PreconditionFailed",
        errors.ConflictError: "ConditionalRequestConflict OperationAborted",
        errors.ChecksumMismatchError: "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch",
        errors.ThrottledError: "SlowDown ServiceUnavailable RequestLimitExceeded Throttling ThrottlingException",
        errors.ObjectTooLargeError: "EntityTooLarge",
    }.items()
    for code in codes.split()
}

#: For answers without a code of S3's: those to HeadObject, which have no body, and those of gateways and proxies.
_BY_STATUS: dict[int, type[errors.NotCommittedError]] = {
    301: errors.WrongRegionError,
    307: errors.WrongRegionError,
    403: errors.AccessDeniedError,
    409: errors.ConflictError,
    412: errors.PreconditionFailedError,
    413: errors.ObjectTooLargeError,
    502: errors.ConnectionFailedError,
    503: errors.ThrottledError,
    504: errors.ConnectionFailedError,
}

#: The names of botocore's types.
_BY_TYPE: dict[type[errors.NotCommittedError], str] = {
    errors.CredentialsError: (
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOError"
    ),
    errors.WrongRegionError: "NoRegionError InvalidRegionError",
    errors.ConnectionFailedError: "ConnectionError HTTPClientError",
}

_ADVICE: dict[type[errors.NotCommittedError], str] = {
    errors.NotCommittedError: "Write the object anew, from its first byte.",
    errors.ObjectTooLargeError: "Set expected_size, or a larger part_size.",
    errors.BucketNotFoundError: "Create the bucket, or check its name and the client's endpoint.",
    errors.CredentialsError: "Give the client credentials that are valid.",
    errors.WrongRegionError: "Make the client with the bucket's region_name.",
    errors.ConnectionFailedError: "Check the network and the client's endpoint_url, then write the object anew.",
    errors.ThrottledError: "Write the object anew later, with a smaller max_concurrency or more retries.",
    errors.KeyExistsError: "Choose another key, or leave out exclusive=True to overwrite.",
    errors.PreconditionFailedError: "Read the object again and decide anew.",
    errors.ConflictError: "Write the object anew, all of it.",
    errors.ChecksumMismatchError: "Write the object anew. If it happens again, something on the way alters bytes.",
}

#: A user name and a password in an endpoint's URL. They must not get into messages.
_USER_INFO = re.compile(r"(//|endpoint: )(?:[^/\s]+|[^/\s:@]*:(?!\d+/)\S+)@")

#: If there is no object for If-Match to match, S3 refuses these with NoSuchKey.
_CONDITIONAL = {PUT.name, COMPLETE.name}

#: After these answers, all with status 4xx, nobody knows whether the call acted.
_UNDECIDED = {"RequestTimeout", "408"}
#: And after these to a CompleteMultipartUpload: the upload is gone too if an earlier call has published it.
_CONSUMED = {"NoSuchUpload", "404"}

_GONE = {"NoSuchUpload", "NoSuchKey", "404"}


def translate(
    error: Exception, doing: str, bucket: str, key: str, *, exclusive: bool = False
) -> errors.NotCommittedError:
    """This package's error for botocore's ``error``, which becomes its cause. ``doing`` begins the message.

    botocore's error loses its traceback, some twenty frames that show none of the user's lines.
    """
    kind = _kind(error)
    if kind is errors.PreconditionFailedError and exclusive and code(error) != "NoSuchKey":
        kind = errors.KeyExistsError
    failure = kind(f"{doing} s3://{bucket}/{key} failed: {said(error)}. {_advice(kind, error)}".rstrip(), bucket, key)
    failure.__cause__ = _without_frames(error)
    return failure


def said(error: BaseException | None) -> str:
    """The message of ``error`` in one line, without user name and password in a URL."""
    try:
        text = _told_by_status(error) or str(error)
    except Exception:  # a user's event handler may raise an exception whose text can't be made
        text = ""
    return redacted(" ".join(text.split()) or type(error).__name__).rstrip(".")


def _told_by_status(error: BaseException | None) -> str:
    """What an answer says that has a status and no code of S3's, such as a gateway's page. "" for all others, and for
    answers to HeadObject, which have no body, and so no code.
    """
    if not isinstance(error, botocore.ClientError) or error.operation_name == HEAD.name or not _is_foreign(error):
        return ""
    status = _status(error)
    phrase = f" ({HTTPStatus(status).phrase})" if status in set(HTTPStatus) else ""
    told = f"the answer to {error.operation_name} is HTTP {status}{phrase}, without a code of S3's"
    return f"{told}: it may be that of a server in between" if status else ""


def _is_foreign(error: BaseException) -> bool:
    return not code(error) or code(error).isdecimal()


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def redacted(text: str) -> str:
    """``text`` without user name and password in a URL."""
    return _USER_INFO.sub(r"\1", text)


def is_refusal(error: BaseException | None) -> bool:
    """Whether the call certainly did nothing: boto never sent it, or S3 said no to the only attempt."""
    if isinstance(error, (botocore.ParamValidationError, botocore.NoCredentialsError)):
        return True
    if not isinstance(error, botocore.ClientError):
        return False
    if code(error) == "NotImplemented":  # with status 501
        return True
    about, status = error.response.get("ResponseMetadata", {}), _status(error)
    undecided = _UNDECIDED | _CONSUMED if error.operation_name == COMPLETE.name else _UNDECIDED
    return (
        HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        and not about.get("RetryAttempts")
        and (code(error) or str(status)) not in undecided
    )


def says_gone(error: BaseException) -> bool:
    """Whether S3 said that there is no such upload or object."""
    return isinstance(error.__cause__, botocore.ClientError) and code(error.__cause__) in _GONE


def code(error: BaseException | None) -> str:
    """S3's error code, "" where there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, botocore.ClientError) else ""


def _advice(kind: type[errors.NotCommittedError], error: Exception) -> str:
    operation = BY_NAME.get(getattr(error, "operation_name", ""), PUT)
    if kind is errors.AccessDeniedError:
        return f"The credentials need the permission {operation.permission}."
    return "" if kind is errors.NotCommittedError and not operation.writes else _ADVICE[kind]


def _kind(error: Exception) -> type[errors.NotCommittedError]:
    if isinstance(error, botocore.ClientError):
        if code(error) == "NoSuchKey" and error.operation_name in _CONDITIONAL:
            return errors.PreconditionFailedError
        by_status = _BY_STATUS.get(_status(error), errors.NotCommittedError)
        return by_status if _is_foreign(error) else _BY_CODE.get(code(error), errors.NotCommittedError)
    for kind, names in _BY_TYPE.items():
        if isinstance(error, tuple(getattr(botocore, name) for name in names.split())):
            return kind
    return errors.NotCommittedError


def _without_frames(error: BaseException) -> BaseException:
    """Remove the tracebacks of ``error``, and of its causes in botocore and the network. A user's exception keeps its
    traceback. Returns ``error``.
    """
    seen: BaseException | None = error if isinstance(error, (botocore.BotoCoreError, botocore.ClientError)) else None
    while seen is not None and (isinstance(seen, OSError) or _package(seen) in {"botocore", "urllib3"}):
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]
