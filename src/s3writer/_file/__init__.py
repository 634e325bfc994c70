"""What Python expects of a file. Knows no S3."""
