"""Modal's billing report of one run: the sum over its Apps, found by the tag `run` that each of them carries.

Not every plan of Modal's has reports, which is said in one sentence; nothing else of a run depends on them.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import modal

from sftrun.errors import RemoteError
from sftrun.run.billing import Billed
from sftrun.run.modal.wire_errors import redacted, translated

HOUR = 3600
TAG = "run"
# how a server may say that this workspace gets no reports
_REFUSALS = (
    modal.exception.PermissionDeniedError,
    modal.exception.InvalidError,
    modal.exception.NotFoundError,
    modal.exception.ResourceExhaustedError,
    modal.exception.UnimplementedError,
    modal.exception.WorkspaceManagementError,
)


def ask(run_id: str, since: float, now: float) -> Billed:
    """The whole hours from `since` to `now`; raises RemoteError where Modal has no answer."""
    start, end = (datetime.fromtimestamp(at // HOUR * HOUR, UTC) for at in (since, now))
    with translated():
        try:
            # its stubs are those of a class that is not exported
            workspace: Any = modal.Workspace.from_context()
            found = workspace.billing.report(start=start, end=end, resolution="h", tag_names=[TAG])
        except _REFUSALS as error:
            raise RemoteError(
                f"Modal gives this workspace no billing report: {redacted(str(error))}",
                help="leave --billed out; the computed figure stands (reports are a matter of the workspace's plan)",
            ) from error
    usd = sum((item.cost for item in found if item.tags.get(TAG) == run_id), Decimal(0))
    return Billed(usd=usd, through=end.timestamp(), asked_at=now)
