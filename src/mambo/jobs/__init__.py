"""Background work: jobs in a queue in PostgreSQL, and schedules. PgQueuer keeps both; nothing else imports it.

A job is a `Job` struct. `enqueue` adds it to a transaction, and `running` runs the handlers in every server process.
A job runs at least once: twice if a process or the database ends between the work and the record of it, so a handler
must be repeatable.

PgQueuer's tables live in the PostgreSQL schema `jobs`. Models and Alembic's autogenerate know nothing about them.
"""

from mambo.jobs.queue import FailedJob as FailedJob
from mambo.jobs.queue import Job as Job
from mambo.jobs.queue import enqueue as enqueue
from mambo.jobs.queue import get_failed as get_failed
from mambo.jobs.queue import prune_log as prune_log
from mambo.jobs.queue import retry_failed as retry_failed
from mambo.jobs.queue import run_now as run_now
from mambo.jobs.rules import Retries as Retries
from mambo.jobs.worker import Handler as Handler
from mambo.jobs.worker import Schedule as Schedule
from mambo.jobs.worker import running as running
