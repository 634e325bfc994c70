"""What S3 and boto expect: the only place that knows botocore."""
