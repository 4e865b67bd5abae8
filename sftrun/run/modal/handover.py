"""What the client hands to the container, and what comes back beside the record: all that the two sides agree on."""

from sftrun.contract.jobspec import JobSpec
from sftrun.strict import Strict

REFUSED = "refused: "  # before the last word of a run that can't begin


class Order(Strict):
    """What the client hands to the container.

    `volume` is the one that holds record and output, `cache` that of models and data; `ready` are marks that whoever
    prepares leaves there; `remote` and `files` are put beside the record, so that the run can be found from a machine
    that has nothing but its id.
    """

    job: JobSpec
    board: str
    volume: str
    cache: str
    ready: tuple[str, ...] = ()
    remote: str = "{}"
    files: dict[str, str] = {}
    environment: str | None = None


class JobCrashed(Exception):
    """What went wrong around the job, in words.  A class of ours: Modal's own, and OSError, mean a broken wire."""
