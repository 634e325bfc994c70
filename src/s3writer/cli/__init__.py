"""The command line. Its packages, click and rich, come with the extra ``cli``."""

from s3writer.cli.app import run

__all__ = ["run"]
