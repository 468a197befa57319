"""When the background work runs: jobs with their retries, and schedules."""

from datetime import timedelta
from typing import Any

from mambo.jobs import Handler, Retries, Schedule
from mambo.maintenance.schemas import CheckUpload, DeleteObject
from mambo.maintenance.service import MaintenanceService

CHECK_RETRIES = Retries(longest=timedelta(minutes=5), attempts=None)
DELETE_RETRIES = Retries(attempts=None)


def handlers_of(maintenance: MaintenanceService) -> list[Handler[Any]]:
    """Return the handlers of the jobs."""
    return [
        Handler(CheckUpload, maintenance.check_upload, CHECK_RETRIES),
        Handler(DeleteObject, maintenance.delete_object, DELETE_RETRIES),
    ]


def schedules_of(maintenance: MaintenanceService) -> list[Schedule]:
    """Return the schedules, each of which runs once over all workers."""
    return [
        Schedule("check uploads", "*/2 * * * *", maintenance.queue_checks),
        Schedule("delete objects", "* * * * * */10", maintenance.queue_deletions),
        Schedule("remove old rows", "0 * * * *", maintenance.remove_old_rows),
    ]
