"""Translates botocore's exceptions into this package's errors. No other module does that."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from s3writer import _errors as errors
from s3writer._s3 import codes
from s3writer._s3.attempts import Attempts
from s3writer._s3.lazy import Lazy
from s3writer._s3.operations import BY_NAME, COMPLETE, HEAD, PUT, Operation

botocore = Lazy("botocore.exceptions")

#: The names of botocore's types.
_BY_TYPE: dict[type[errors.NotCommittedError], str] = {
    errors.CredentialsError: (
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOError"
    ),
    errors.WrongRegionError: "NoRegionError InvalidRegionError",
    errors.ConnectionFailedError: "ConnectionError HTTPClientError",
}

#: What helps against errors of botocore's own, before S3 has answered.
_ADVICE: dict[type[errors.NotCommittedError], str] = {
    errors.NotCommittedError: "Write the object anew, from its first byte.",
    errors.CredentialsError: (
        "Give credentials: boto3 takes those of the client, or else of the environment, a profile or a role."
    ),
    errors.WrongRegionError: "Make the client with the bucket's region_name.",
    errors.ConnectionFailedError: "Check the network and the client's endpoint_url.",
}
_KEY_EXISTS = "The key exists: choose another one, or leave out exclusive=True to overwrite."

#: A user name and a password in an endpoint's URL. They must not get into messages.
_USER_INFO = re.compile(r"(//|endpoint: )(?:[^/\s]+|[^/\s:@]*:(?!\d+/)\S+)@")

#: If there is no object for If-Match to match, S3 refuses these with NoSuchKey.
_CONDITIONAL = {PUT.name, COMPLETE.name}

#: After these answers, all with status 4xx, nobody knows whether the call acted.
_UNDECIDED = {"RequestTimeout", "408"}
#: And after these to a CompleteMultipartUpload: the upload is gone too if an earlier call has published it.
_CONSUMED = {"NoSuchUpload", "404"}

#: botocore raises these if it could not connect, and so has sent nothing. (With ProxyConnectionError it may have: in
#: urllib3 1.26 each error of a socket becomes one if there is a proxy.)
_UNCONNECTED = ("EndpointConnectionError", "ConnectTimeoutError")

#: With status 501: a refusal, other than all answers of 500 and more.
_NEVER = "NotImplemented"

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
    told = f"{error.operation_name} was answered with HTTP {status}{phrase} and no error code of S3's"
    return f"{told}, perhaps by a server in between" if status else ""


def _is_foreign(error: BaseException) -> bool:
    return not code(error) or code(error).isdecimal()


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def redacted(text: str) -> str:
    """``text`` without user name and password in a URL."""
    return _USER_INFO.sub(r"\1", text)


def is_refusal(error: BaseException | None, operation: Operation, attempts: Attempts | None = None) -> bool:
    """Whether the call of ``operation`` certainly did nothing: boto never sent it, or S3 said no to the only attempt
    that reached it. Without ``attempts``, the call's, any attempt before the last may have reached it.
    """
    if isinstance(error, botocore.ClientError) and error.operation_name == operation.name:
        status = _status(error)
        says_no = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR or code(error) == _NEVER
        undecided = _UNDECIDED | _CONSUMED if operation is COMPLETE else _UNDECIDED
        is_decided = (code(error) or str(status)) not in undecided
        return says_no and is_decided and reached_once(error.response, attempts or ())
    if attempts is None:
        return False
    # An error from before an attempt, such as one of a call for new credentials, says nothing of the attempts before.
    kinds = (botocore.ParamValidationError, botocore.NoCredentialsError, botocore.ClientError)
    return (isinstance(error, kinds) or error in attempts[-1:]) and _never_left(attempts)


def reached_once(answer: Mapping[str, Any], attempts: Attempts) -> bool:
    """Whether no attempt before that of the ``answer`` can have reached S3."""
    retried = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return not retried or (len(attempts) == retried + 1 and _never_left(attempts[:-1]))


def _never_left(attempts: Attempts) -> bool:
    kinds = tuple(getattr(botocore, name) for name in _UNCONNECTED)
    return all(isinstance(each, kinds) for each in attempts)


def says_gone(error: BaseException) -> bool:
    """Whether S3 said that there is no such upload or object."""
    return isinstance(error.__cause__, botocore.ClientError) and code(error.__cause__) in _GONE


def code(error: BaseException | None) -> str:
    """S3's error code, "" where there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, botocore.ClientError) else ""


def _advice(kind: type[errors.NotCommittedError], error: Exception) -> str:
    if kind is errors.KeyExistsError:
        return _KEY_EXISTS
    operation = BY_NAME.get(getattr(error, "operation_name", ""), PUT)
    if isinstance(error, botocore.ClientError):
        found = codes.advice(_row(error), error.response, operation)
    else:
        found = _ADVICE[kind]
    return "" if "anew" in found and not operation.writes else found


def _row(error: Any) -> codes.Row:
    is_conditional = code(error) == "NoSuchKey" and error.operation_name in _CONDITIONAL
    return codes.row_for("PreconditionFailed" if is_conditional else code(error), _status(error))


def _kind(error: Exception) -> type[errors.NotCommittedError]:
    if isinstance(error, botocore.ClientError):
        return _row(error).kind
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
