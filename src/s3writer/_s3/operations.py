"""S3's operations, as this package uses them: one row for each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """One of S3's operations.

    Attributes:
        name: S3's name for it.
        method: boto3's name for it.
        writes: whether the operation helps to make an object. Then it gets all arguments of the caller that it takes.
            Other operations, which look or abort, get only those that UploadPart takes as well: SSE-C keys, owner and
            payer, but no conditions.
        permission: IAM's name for the permission that it needs.

    """

    name: str
    method: str
    writes: bool
    permission: str


PUT = Operation("PutObject", "put_object", writes=True, permission="s3:PutObject")
CREATE = Operation("CreateMultipartUpload", "create_multipart_upload", writes=True, permission="s3:PutObject")
PART = Operation("UploadPart", "upload_part", writes=True, permission="s3:PutObject")
COMPLETE = Operation("CompleteMultipartUpload", "complete_multipart_upload", writes=True, permission="s3:PutObject")
ABORT = Operation("AbortMultipartUpload", "abort_multipart_upload", writes=False, permission="s3:AbortMultipartUpload")
LIST = Operation("ListParts", "list_parts", writes=False, permission="s3:ListMultipartUploadParts")
HEAD = Operation("HeadObject", "head_object", writes=False, permission="s3:GetObject")
UPLOADS = Operation(
    "ListMultipartUploads", "list_multipart_uploads", writes=False, permission="s3:ListBucketMultipartUploads"
)
READ_RULES = Operation(
    "GetBucketLifecycleConfiguration",
    "get_bucket_lifecycle_configuration",
    writes=False,
    permission="s3:GetLifecycleConfiguration",
)
WRITE_RULES = Operation(
    "PutBucketLifecycleConfiguration",
    "put_bucket_lifecycle_configuration",
    writes=False,
    permission="s3:PutLifecycleConfiguration",
)

#: The operations that get the caller's arguments.
ON_OBJECTS = (PUT, CREATE, PART, COMPLETE, ABORT, LIST, HEAD, UPLOADS)
BY_NAME = {operation.name: operation for operation in (*ON_OBJECTS, READ_RULES, WRITE_RULES)}
