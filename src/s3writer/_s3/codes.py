"""S3's error codes: the type of our error for each, and what helps.

The codes are those of S3's API reference ("Error responses"), of AWS KMS as S3 passes them on, and of other stores. A
refusal that the same call would meet again gets no advice to write anew: no advice is better than one that can't help.
"""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

from s3writer import _errors as errors
from s3writer._s3.operations import PART, PUT, Operation


class Row(NamedTuple):
    """Codes that mean the same: the type of the error, and the advice."""

    kind: type[errors.NotCommittedError]
    advice: str
    codes: str


_ANEW = "Write the object anew, from its first byte."
_SMALLER_PARTS = "Send smaller parts: equal_parts=True with a smaller part_size."
_CHECKSUM = 'The store does not take this checksum: try checksum="SHA256" or checksum=None.'

#: S3's message may name the permission.
_DENIED = Row(errors.AccessDeniedError, "The credentials need a permission that they lack.", "AccessDenied")

ROWS = (
    Row(
        errors.NotCommittedError,
        _ANEW,
        "IncompleteBody InternalError InvalidPart InvalidPartOrder NoSuchUpload RequestTimeout",
    ),
    Row(
        errors.ThrottledError,
        "Write the object anew later, with a smaller max_concurrency or more retries.",
        "EC2ThrottledException RequestLimitExceeded ServiceUnavailable SlowDown Throttling ThrottlingException "
        "TooManyRequests TooManyRequestsException",
    ),
    Row(
        errors.ThrottledError,
        "KMS is the limit: write the object anew later. BucketKeyEnabled=True makes fewer calls of KMS.",
        "KMS.ThrottlingException",
    ),
    _DENIED,
    Row(
        errors.AccessDeniedError,
        "Ask whoever pays for the account: S3 has closed it.",
        "AccountProblem AllAccessDisabled",
    ),
    Row(errors.CredentialsError, "Sign the account up for S3.", "NotSignedUp"),
    Row(
        errors.CredentialsError,
        "Check the credentials: boto3 takes those of the client, or else of the environment, a profile or a role.",
        "ExpiredToken ExpiredTokenException InvalidAccessKeyId InvalidClientTokenId InvalidSecurity InvalidToken "
        "SignatureDoesNotMatch TokenRefreshRequired UnrecognizedClientException",
    ),
    Row(
        errors.CredentialsError,
        "Set this machine's clock: it differs from S3's by more than 15 minutes.",
        "RequestExpired RequestTimeTooSkewed",
    ),
    Row(
        errors.WrongRegionError,
        "Make the client with the bucket's region_name.",
        "AuthorizationHeaderMalformed IllegalLocationConstraintException IncorrectEndpoint PermanentRedirect Redirect "
        "TemporaryRedirect",
    ),
    Row(
        errors.BucketNotFoundError,
        "Create the bucket, or check its name and the client's endpoint.",
        "NoSuchAccessPoint NoSuchBucket",
    ),
    Row(errors.PreconditionFailedError, "Read the object again and decide anew.", "PreconditionFailed"),
    Row(errors.ConflictError, "Write the object anew, all of it.", "ConditionalRequestConflict OperationAborted"),
    Row(
        errors.ChecksumMismatchError,
        "Write the object anew. If it happens again, something on the way alters bytes.",
        "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch",
    ),
    Row(errors.ObjectTooLargeError, _SMALLER_PARTS, "EntityTooLarge MaxMessageLengthExceeded"),
    Row(
        errors.NotCommittedError,
        "Set a larger part_size.",
        "EntityTooSmall TooManyParts",
    ),
    Row(
        errors.NotCommittedError,
        "Leave out ACL and the Grant arguments: the bucket takes none.",
        "AccessControlListNotSupported InvalidACL MalformedACLError UnresolvableGrantByEmailAddress",
    ),
    Row(errors.NotCommittedError, "Check Tagging.", "InvalidTag InvalidTagError"),
    Row(
        errors.NotCommittedError,
        "Check StorageClass: the store or the bucket has none of that name.",
        "InvalidStorageClass",
    ),
    Row(
        errors.NotCommittedError,
        "Make room, or have the quota raised.",
        "InsufficientStorage InsufficientStorageSpace QuotaExceeded StorageFull XMinioAdminBucketQuotaExceeded "
        "XMinioStorageFull",
    ),
    Row(
        errors.NotCommittedError,
        "Check the ObjectLock arguments, and whether the bucket has object lock.",
        "InvalidBucketObjectLockConfiguration InvalidRetentionPeriod NoSuchObjectLockConfiguration "
        "ObjectLockConfigurationNotFoundError ObjectLocked",
    ),
    Row(
        errors.NotCommittedError,
        "Check ServerSideEncryption, the SSECustomer arguments and SSEKMSKeyId.",
        "InvalidEncryptionAlgorithmError InvalidEncryptionMethod InvalidSSECustomerAlgorithm InvalidSSECustomerKey "
        "SSECustomerKeyMD5Mismatch ServerSideEncryptionConfigurationNotFoundError",
    ),
    Row(
        errors.NotCommittedError,
        "Check the KMS key: that it is there, in the bucket's region, enabled, and of a kind that encrypts.",
        "KMS.DisabledException KMS.IncorrectKeyException KMS.InvalidArnException KMS.InvalidGrantTokenException "
        "KMS.InvalidKeyUsageException KMS.InvalidStateException KMS.KMSInvalidStateException "
        "KMS.KeyUnavailableException KMS.NotFoundException",
    ),
    Row(
        errors.NotCommittedError,
        "KMS or its key store does not answer. " + _ANEW,
        "KMS.DependencyTimeoutException KMS.KMSInternalException KMS.XksKeyNotFoundException",
    ),
    Row(
        errors.NotCommittedError,
        "Send less Metadata: S3 takes 2 KB of it.",
        "MetadataTooLarge RequestHeaderSectionTooLarge",
    ),
    Row(errors.NotCommittedError, "Use a shorter key.", "KeyTooLong KeyTooLongError"),
    Row(
        errors.NotCommittedError,
        "",
        "BadRequest InvalidArgument InvalidBucketName InvalidBucketState InvalidObjectState InvalidRequest InvalidURI "
        "MalformedXML MethodNotAllowed MissingContentLength MissingSecurityHeader NoSuchKey NotImplemented "
        "NotSupported RequestIsNotMultiPartContent UnexpectedContent UnsupportedArgument UserKeyMustBeSpecified",
    ),
)

_BY_CODE = {code: row for row in ROWS for code in row.codes.split()}

#: For answers without a code of S3's: those to HeadObject, which have no body, and those of gateways and proxies.
_BY_STATUS: dict[int, str] = {
    HTTPStatus.MOVED_PERMANENTLY: "PermanentRedirect",
    HTTPStatus.TEMPORARY_REDIRECT: "TemporaryRedirect",
    HTTPStatus.FORBIDDEN: "AccessDenied",
    HTTPStatus.CONFLICT: "OperationAborted",
    HTTPStatus.PRECONDITION_FAILED: "PreconditionFailed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "EntityTooLarge",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
_GATEWAY = Row(errors.ConnectionFailedError, "Check the network and the client's endpoint_url.", "")
_GATEWAYS = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
_SERVER = Row(errors.NotCommittedError, _ANEW, "")
_OTHER = Row(errors.NotCommittedError, "", "")

#: What AWS says in the message of an AccessDenied.
_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")


def row_for(code: str, status: int) -> Row:
    """The row of a code, or, if S3 has given none, of an HTTP status."""
    if code and not code.isdecimal():
        return _BY_CODE.get(code, _SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _OTHER)
    if status in _GATEWAYS:
        return _GATEWAY
    known = _BY_CODE.get(_BY_STATUS.get(status, ""))
    return known or (_SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _OTHER)


def advice(row: Row, response: dict[str, Any], operation: Operation) -> str:
    """What helps: the row's advice, or what S3's own message tells. "" if nothing is known to help."""
    message = str(response.get("Error", {}).get("Message", ""))
    if row is _DENIED:
        return _permission(message, operation)
    if row.kind is errors.WrongRegionError and (region := _region(response)):
        return f"Make the client with region_name={region!r}, the bucket's."
    if row.kind is errors.ObjectTooLargeError and operation is not PART:
        return "Set a smaller part_size, so that the object is sent in parts." if operation is PUT else ""
    if not row.advice and "checksum" in message.lower():
        return _CHECKSUM
    if not row.advice and "part number" in message.lower():
        return "The store takes fewer than 10,000 parts: set a larger part_size."
    return row.advice


def _permission(message: str, operation: Operation) -> str:
    if found := _ACTION.search(message):
        return f"The credentials need the permission {found[1]}."
    if "kms" in message.lower():
        return "The credentials need kms:GenerateDataKey and kms:Decrypt for the key."
    return f"The credentials need the permission {operation.permission}."


def _region(response: dict[str, Any]) -> str:
    """The bucket's region, if S3 has named it."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
