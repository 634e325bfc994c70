"""One upload, from its first part to its ending. Knows no file and no botocore."""
