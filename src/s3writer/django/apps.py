"""What Django reads of an application."""

from django.apps import AppConfig


class S3WriterConfig(AppConfig):
    """Nothing but management commands."""

    name = "s3writer.django"
    label = "s3writer"
    verbose_name = "s3writer"
