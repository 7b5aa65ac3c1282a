"""What every part of an import works with, and what several of them do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from everfit.foreign.model import Count, ForeignStore, Kind, Report
from everfit.foreign.places import Copied, Places
from everfit.kernel import Transaction, Workspace
from everfit.mlflow_api.artifacts import UNKNOWN_MEDIA
from everfit.tracking import Experiment, files_below, put_file
from everfit.tracking.sift import wrong_id

# So many runs or logged models are read at once.
AT_ONCE = 100
Tell = Callable[[Kind, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One import: from where, to where, and what it came to so far.

    ``homes`` holds by the id of there the experiment of here, ``tell`` is told how many of a kind
    are done.
    """

    workspace: Workspace
    store: ForeignStore
    places: Places
    report: Report
    tell: Tell
    homes: dict[str, Experiment] = field(default_factory=dict)
    kept_away: dict[str, int] = field(default_factory=dict)

    def count(self, kind: Kind) -> Count:
        """Return the count of a kind."""
        return self.report.counts[kind]

    def parts(self, kind: Kind, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield the ids of a kind part by part, and tell of each part once it was brought over."""
        self.count(kind).source += len(ids)
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            yield part
            self.tell(kind, start + len(part), len(ids))

    def home(
        self,
        what: str,
        id: str,
        experiment: str,
        *,
        wrong: Callable[[str], str | None] = wrong_id,
    ) -> Experiment | None:
        """Return the experiment of here that an entity belongs to; None if it cannot come over."""
        home = self.homes.get(experiment)
        reason = wrong(id) if home is not None else "its experiment did not come over"
        if reason is not None:
            self.report.refuse(f"{what} {id[:100]!r}", "it cannot come over", reason)
            return None
        return home

    def folder(self, subject: str, uri: str, kept: str | None, beside: Path | None) -> Path | None:
        """Return where files lie, None where there are none on this machine.

        What clients reach by themselves stays where it is, if its URI is the one that is ``kept``.
        """
        if self.places.remote(uri):
            if uri == kept:
                place = uri.split("://", maxsplit=1)[0] + "://"
                self.kept_away[place] = self.kept_away.get(place, 0) + 1
            else:
                remedy = "copy them to a folder and name it with --artifacts"
                self.report.refuse(subject, f"artifacts at {uri}", remedy)
        return self.places.folder(uri, beside=beside)

    def note_files(self, subject: str, copied: Copied) -> None:
        """Count the files of a folder, and note those that cannot come over or differ."""
        count = self.count(Kind.FILES)
        count.source += copied.count
        count.differs += len(copied.differing)
        for name, wrong in copied.refused.items():
            self.report.refuse(f"{subject} file {name!r}", wrong, "rename or replace it")
        for name in copied.differing:
            found = "another content here"
            self.report.refuse(f"{subject} file {name!r}", found, "keep one of the two")

    def put_files(self, tx: Transaction, tree: str, copied: Copied) -> None:
        """Name what was copied in the tree."""
        for file in copied.new:
            path = f"{tree}/{file.name}"
            put_file(tx, path, file.digest, bytes=file.bytes, media=UNKNOWN_MEDIA)

    def check_files(self, tx: Transaction, tree: str, copied: Copied) -> None:
        """Count which of the files are in the tree now, with the digest they have there."""
        if not copied.names:
            return
        new = {file.name for file in copied.new}
        for file in files_below(tx, tree):
            name = file.name.removeprefix(f"{tree}/")
            if copied.names.get(name) == file.digest or name in copied.differing:
                self.count(Kind.FILES).found(1, new=name in new)
