"""Tests of `s3writer.fsspec` that need s3fs; `tests/test_fsspec.py` runs them with an interpreter that has it."""
