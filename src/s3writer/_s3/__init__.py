"""The calls of S3, and all that S3 and boto expect. No other package imports botocore."""
