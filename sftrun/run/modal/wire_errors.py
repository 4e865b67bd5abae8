"""Modal's exceptions -> ours, in one context manager: what is wrong, where, and the next step.

The table names every exception that modal 1.6 exports and that a client call can raise; a test walks `modal.exception`
and fails on one that is missing.  The most special class wins, so a new subclass still gets its parent's words.
Nothing of a token ever stands in a message: Modal's own texts are passed through `redacted`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sftrun.errors import RemoteError
from sftrun.recipe import secrets

_STATUS_PAGE = "see https://status.modal.com, then run the command again"

# class name -> (what is wrong, the next step); {text} is Modal's own message
WORDS: dict[str, tuple[str, str]] = {
    "AuthError": (
        "Modal does not know this machine: {text}",
        "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
    ),
    "PermissionDeniedError": (
        "Modal refuses: {text}",
        "ask the workspace's owner for access, or choose another with MODAL_ENVIRONMENT",
    ),
    "NotFoundError": (
        "Modal has no such thing: {text}",
        "check the names under `secrets`, `volumes` and MODAL_ENVIRONMENT",
    ),
    "AlreadyExistsError": ("it exists already on Modal: {text}", "choose another name"),
    "ConflictError": ("Modal is in another state than expected: {text}", "run `sftrun runs --refresh`, then try again"),
    "InvalidError": ("Modal does not accept the request: {text}", "change the key of the recipe that it names"),
    "ResourceExhaustedError": (
        "the workspace is at a limit: {text}",
        "wait for other runs to end, name a second GPU under `compute.gpu`, or raise the limit at modal.com/settings",
    ),
    "ServiceError": ("Modal did not answer: {text}", _STATUS_PAGE),
    "ConnectionError": (
        "Modal can't be reached: {text}",
        "check the network; a run that was started goes on: `sftrun attach`",
    ),
    "InternalError": ("Modal failed inside: {text}", _STATUS_PAGE),
    "InternalFailure": ("Modal failed inside: {text}", _STATUS_PAGE),
    "DataLossError": ("Modal lost data: {text}", "run `sftrun apply` again: it goes on from the last checkpoint"),
    "UnimplementedError": (
        "this Modal server has no such call: {text}",
        "install the locked modal: `pip install modal==1.6.4`",
    ),
    "VersionError": ("Modal no longer takes this client: {text}", "upgrade with `pip install --upgrade sftrun`"),
    "ImageBuildError": (
        "the image could not be built: {text}",
        "see its log with `sftrun logs RUN --build`, and `compute.image` of the recipe",
    ),
    "RemoteError": (
        "the container failed: {text}",
        "see `sftrun logs`; `sftrun apply` goes on from the last checkpoint",
    ),
    "FunctionTimeoutError": (
        "the attempt ran into its timeout: {text}",
        "`sftrun apply` goes on from the last checkpoint",
    ),
    "OutputExpiredError": (
        "Modal no longer keeps the result: {text}",
        "`sftrun show` reads the run's record from its Volume",
    ),
    "VolumeUploadTimeoutError": (
        "the upload to the Volume took too long: {text}",
        "run the command again: it goes on where it stopped",
    ),
    "MountUploadTimeoutError": ("sftrun's own files could not be uploaded in time: {text}", "run the command again"),
    "TimeoutError": ("Modal took too long: {text}", "run the command again"),
    "ExecutionError": ("the container failed: {text}", "see `sftrun logs`"),
    "DeserializationError": ("an answer can't be read: {text}", "use the same Python version here as in the image"),
    "SerializationError": ("the request can't be written: {text}", "please open an issue with this message"),
    "RequestSizeError": ("the request is too large: {text}", "shorten `samples.prompts` or `trainer.extra`"),
    "LogsFetchError": ("too many lines of log were asked for: {text}", "ask for fewer with `sftrun logs --tail`"),
    "WorkspaceManagementError": ("the workspace refuses: {text}", "ask the workspace's owner"),
    "ClientClosed": ("the connection to Modal is closed: {text}", "run the command again"),
    "Error": ("Modal says: {text}", _STATUS_PAGE),
}
# never raised by what this program calls: sandboxes, interactive shells, in-container signals
NOT_OURS = re.compile(
    r"^(_.*|Sandbox.*|Snapshot.*|ExecTimeout.*|Interactive.*|InputCancellation|ModuleNotMountable|.*Warning|Deprecation.*)$"
)
_TOKEN = re.compile(
    r"\b(a[ks]-[A-Za-z0-9]{8})[A-Za-z0-9]+|\b(hf_[A-Za-z0-9]{4})[A-Za-z0-9]+|\b(sk-[A-Za-z0-9]{4})[A-Za-z0-9_-]+"
)


def redacted(text: str) -> str:
    """`text` with the rest of anything that looks like a token left out."""
    shortened = _TOKEN.sub(lambda match: f"{next(group for group in match.groups() if group)}…", text)
    return secrets.mask(shortened)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what Modal raises inside into our RemoteError."""
    import grpclib.exceptions
    import modal.exception

    try:
        yield
    except modal.exception.Error as error:
        raise translation(error) from error
    except (grpclib.exceptions.GRPCError, grpclib.exceptions.StreamTerminatedError, ConnectionError) as error:
        raise _filled("ConnectionError", str(error)) from error


def translation(error: BaseException) -> RemoteError:
    """Our words for one of Modal's exceptions, by the most special class that the table knows."""
    name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in WORDS), "Error")
    return _filled(name, str(error))


def _filled(name: str, text: str) -> RemoteError:
    message, help = WORDS[name]
    said = redacted(" ".join(text.split())) or "no reason given"
    return RemoteError(message.format(text=said), help=help)
