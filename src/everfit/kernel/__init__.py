"""Database, ledger, durable work, blobs, settings and clock: what every room stands on."""

from everfit.kernel.blobs import BlobReader, Blobs, BlobWriter, LocalBlobs
from everfit.kernel.clock import Clock, ManualClock, SystemClock, as_utc
from everfit.kernel.committer import Committer, Outcome
from everfit.kernel.database import (
    Json,
    Moment,
    canonical_json,
    insert_if_absent,
    locked_rows,
    metadata,
    microseconds,
    moment,
)
from everfit.kernel.framing import ARROW, CHECKED, Framing
from everfit.kernel.ids import new_id, time_part
from everfit.kernel.journal import Frame, Journal, Position, frames, sync_journal, trim
from everfit.kernel.ledger import Break, Event, verify
from everfit.kernel.ledger import head as ledger_head
from everfit.kernel.schedule import (
    UNIT_SECONDS,
    Schedule,
    enqueue_due,
    list_schedules,
    next_time,
    parse_duration,
    parse_every,
    schedule,
    unschedule,
)
from everfit.kernel.settings import Settings, load_settings, nearest_project, state_folder
from everfit.kernel.text import bytewise, ilike, like, matches
from everfit.kernel.work import Job, JobState, storable
from everfit.kernel.work_store import cancel, enqueue, get_job, hasten, list_jobs
from everfit.kernel.worker import Handler, Lease, Worker
from everfit.kernel.workspace import Transaction, Workspace, find_workspace, open_workspace

__all__ = [
    "ARROW",
    "CHECKED",
    "UNIT_SECONDS",
    "BlobReader",
    "BlobWriter",
    "Blobs",
    "Break",
    "Clock",
    "Committer",
    "Event",
    "Frame",
    "Framing",
    "Handler",
    "Job",
    "JobState",
    "Journal",
    "Json",
    "Lease",
    "LocalBlobs",
    "ManualClock",
    "Moment",
    "Outcome",
    "Position",
    "Schedule",
    "Settings",
    "SystemClock",
    "Transaction",
    "Worker",
    "Workspace",
    "as_utc",
    "bytewise",
    "cancel",
    "canonical_json",
    "enqueue",
    "enqueue_due",
    "find_workspace",
    "frames",
    "get_job",
    "hasten",
    "ilike",
    "insert_if_absent",
    "ledger_head",
    "like",
    "list_jobs",
    "list_schedules",
    "load_settings",
    "locked_rows",
    "matches",
    "metadata",
    "microseconds",
    "moment",
    "nearest_project",
    "new_id",
    "next_time",
    "open_workspace",
    "parse_duration",
    "parse_every",
    "schedule",
    "state_folder",
    "storable",
    "sync_journal",
    "time_part",
    "trim",
    "unschedule",
    "verify",
]
