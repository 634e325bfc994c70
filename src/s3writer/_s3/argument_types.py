"""The types of S3's arguments. ``python -m tests.s3_arguments`` makes this file from botocore's model."""

import datetime as dt
from typing import Literal, TypedDict


class ListArguments(TypedDict, total=False):
    """The arguments that S3 takes when uploads are listed."""

    ExpectedBucketOwner: str
    RequestPayer: Literal["requester"] | str


class PartArguments(ListArguments, total=False):
    """The arguments that S3 takes with each part."""

    SSECustomerAlgorithm: str
    SSECustomerKey: str | bytes | bytearray
    SSECustomerKeyMD5: str


class CommitArguments(PartArguments, total=False):
    """The arguments that S3 takes once an upload has begun."""

    IfMatch: str


class S3Arguments(CommitArguments, total=False):
    """S3's own arguments, as a writer takes them. Names and values are those of boto3's ``put_object``."""

    ACL: (
        Literal[
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
        ]
        | str
    )
    BucketKeyEnabled: bool
    CacheControl: str
    ContentDisposition: str
    ContentEncoding: str
    ContentLanguage: str
    ContentType: str
    Expires: dt.datetime | str
    GrantFullControl: str
    GrantRead: str
    GrantReadACP: str
    GrantWriteACP: str
    Metadata: dict[str, str]
    ObjectLockEventHold: Literal["ON", "OFF"] | str
    ObjectLockEventHoldDurationDays: int
    ObjectLockEventHoldDurationYears: int
    ObjectLockLegalHoldStatus: Literal["ON", "OFF"] | str
    ObjectLockMode: Literal["GOVERNANCE", "COMPLIANCE"] | str
    ObjectLockRetainUntilDate: dt.datetime | str
    SSEKMSEncryptionContext: str
    SSEKMSKeyId: str
    ServerSideEncryption: Literal["AES256", "aws:fsx", "aws:backup", "aws:kms", "aws:kms:dsse"] | str
    StorageClass: (
        Literal[
            "STANDARD",
            "REDUCED_REDUNDANCY",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER",
            "DEEP_ARCHIVE",
            "OUTPOSTS",
            "GLACIER_IR",
            "SNOW",
            "EXPRESS_ONEZONE",
            "FSX_OPENZFS",
            "FSX_ONTAP",
            "AWS_BACKUP_WARM",
            "AWS_BACKUP_LOW_COST_WARM",
        ]
        | str
    )
    Tagging: str
    WebsiteRedirectLocation: str
