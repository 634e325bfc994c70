"""A Celery worker's task."""

import os

from celery import Celery

from tests.servers.app import write

place = os.environ["CELERY_PLACE"]
celery = Celery(
    "tasks",
    broker="filesystem://",
    backend=f"file://{place}/results",
    broker_transport_options={
        "data_folder_in": f"{place}/queue",
        "data_folder_out": f"{place}/queue",
        "control_folder": f"{place}/control",
    },
)
export = celery.task(name="export")(write)
