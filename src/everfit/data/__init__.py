"""Data: sources, schemas, preparation, quality, segregation, leaks, dataset versions."""

from everfit.data.cells import Cells, Constant, Encoded
from everfit.data.clean import NULL_TEXTS, clean
from everfit.data.collect import collect
from everfit.data.encode import decode_frame, encode_frame
from everfit.data.expect import check, parse_expectations
from everfit.data.fingerprint import fingerprints
from everfit.data.infer import infer_schema, infer_task
from everfit.data.leaks import find_leaks
from everfit.data.model import (
    CheckResult,
    Column,
    ColumnProfile,
    DatasetVersion,
    Expectation,
    How,
    Leak,
    QualityReport,
    Role,
    Schema,
    Segregation,
    Source,
    Split,
    Task,
)
from everfit.data.prepare import prepare
from everfit.data.profile import profile
from everfit.data.segregate import check_split, segregate
from everfit.data.service import get_version, load_version, store_version
from everfit.data.table_stream import TableStream

__all__ = [
    "NULL_TEXTS",
    "Cells",
    "CheckResult",
    "Column",
    "ColumnProfile",
    "Constant",
    "DatasetVersion",
    "Encoded",
    "Expectation",
    "How",
    "Leak",
    "QualityReport",
    "Role",
    "Schema",
    "Segregation",
    "Source",
    "Split",
    "TableStream",
    "Task",
    "check",
    "check_split",
    "clean",
    "collect",
    "decode_frame",
    "encode_frame",
    "find_leaks",
    "fingerprints",
    "get_version",
    "infer_schema",
    "infer_task",
    "load_version",
    "parse_expectations",
    "prepare",
    "profile",
    "segregate",
    "store_version",
]
