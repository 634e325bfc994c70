"""A Django application: the commands ``s3dumpdata`` and ``s3loaddata``, with no file on the local disk. Beside it there
are ``uploads``, a handler for files of a form, and ``storage``, for django-storages.

Put ``"s3writer.django"`` into ``INSTALLED_APPS``. The setting ``S3WRITER`` may hold options of `MultipartUploadWriter`
for all dumps, such as ``{"ServerSideEncryption": "aws:kms"}``. Its ``"client"``, if there is one, is the dotted path of
a function that makes a boto3 S3 client. Loads get the options that reading takes, such as the key of SSE-C. Its
``"uploads"`` is a dict of options for the upload handler alone.
"""

from importlib import import_module

try:
    import_module("django")
except ImportError as error:
    raise ImportError(f"{error}; s3writer.django needs Django: pip install 's3writer[django]'") from error
