"""How the run of a training ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from everfit.errors import Cancelled, EverfitError, LeaseLost
from everfit.kernel import Workspace
from everfit.steps import StepLogs
from everfit.tracking import RunStatus, finish_run


@contextlib.contextmanager
def ending(workspace: Workspace, run_id: str, logs: StepLogs) -> Iterator[None]:
    """Write the run's end if it does not end well, and what its steps logged until then."""
    try:
        yield
    except LeaseLost:
        # Another attempt runs it now.
        raise
    except EverfitError as error:
        logs.deliver()
        status = RunStatus.CANCELLED if isinstance(error, Cancelled) else RunStatus.FAILED
        with workspace.transaction() as tx:
            finish_run(tx, run_id, status, error=error.message)
        raise
    # The journals of a run that may go on stay: they tell what was logged.
    logs.clear()
