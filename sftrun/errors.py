"""Everything that can go wrong in the world outside, as one tree of exceptions with exit codes.

    SftrunError                 1   a broken world: says what, where, and the next step
    ├── UsageError              2   the command line can't be understood
    ├── RecipeRejected          1   the recipe has errors (they were shown as diagnostics)
    ├── LedgerError             1   the ledger is damaged, locked away or not writable
    ├── RunNotFound             1   no run of that name, or several
    ├── MissingPackages         1   a package that running here needs is not installed
    ├── RunFailed               3   the job ended with an error
    ├── RunStopped              4   the job was stopped before its end; it can be resumed
    ├── BudgetRefused           5   the estimate is above the budget, nothing was started
    ├── RunBusy                 6   somebody else is at this very run
    ├── RemoteError             7   Modal or the Hub refused, or can't be reached
    └── GateClosed              8   the tuned model has not gained what the recipe's gate asks for

A wrong recipe is no exception while it is judged: checks yield `Diagnostic`s. Exit code 0 is success, 70 a bug of
ours, 130 a second Ctrl-C. The standard library only: `job` imports this on the GPU's machine.

A fact that can't be known is no exception either: it is a `Problem`, a value that a check says at its place.
"""

from typing import Literal, NamedTuple


class Problem(NamedTuple):
    """Why a fact could not be known: what and where, and one thing to do.

    `unreachable`, `unknown` and `quantised` are no fault of the recipe: the same run may work elsewhere.
    """

    kind: Literal["missing", "malformed", "unsafe", "unreachable", "unknown", "quantised"]
    message: str
    help: str


class SftrunError(Exception):
    """Something outside this program is wrong. `message` says what and where, `help` one thing to do."""

    exit_code = 1

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.help))


def _rebuild(kind: type[SftrunError], message: str, help: str | None) -> SftrunError:
    return kind(message, help=help)


class UsageError(SftrunError):
    """The command line can't be understood."""

    exit_code = 2


class RecipeRejected(SftrunError):
    """The recipe has errors; they have been shown already."""


class LedgerError(SftrunError):
    """The ledger is damaged, not readable or not writable."""


class RunNotFound(SftrunError):
    """No run answers to the name given, or more than one does."""


class MissingPackages(SftrunError):
    """Running on this machine needs packages that are not installed."""


class RunFailed(SftrunError):
    """The job ended with an error."""

    exit_code = 3


class RunStopped(SftrunError):
    """The job was stopped before its end and can be resumed."""

    exit_code = 4


class BudgetRefused(SftrunError):
    """The estimate is above the budget; nothing was started."""

    exit_code = 5


class RunBusy(SftrunError):
    """Another process is at this very run."""

    exit_code = 6


class RemoteError(SftrunError):
    """Modal or the Hub refused, or can't be reached."""

    exit_code = 7


class GateClosed(SftrunError):
    """The tuned model has not gained what the gate of its evaluation asks for."""

    exit_code = 8


EXIT_BUG = 70
EXIT_INTERRUPTED = 130
