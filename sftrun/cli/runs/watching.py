"""Watch a run until it ends: what `apply` and `attach` share, Ctrl-C included.

The command is only a view: the run goes on when the terminal closes, and is stopped by a file that asks it to.
"""

import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Literal

from sftrun.errors import EXIT_INTERRUPTED, LedgerError, RunFailed, RunStopped
from sftrun.recipe.secrets import mask
from sftrun.report import verdicts
from sftrun.report.show.progress import JsonLines, Lines, Watcher, is_plain, stop_words
from sftrun.report.summary import Report, report
from sftrun.run import billing
from sftrun.run.backend import Backend
from sftrun.run.evaluations import FOLDER
from sftrun.run.execute import follow, load
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.lost import explain_loss
from sftrun.run.state import RunState, advance
from sftrun.run.tail import Tail

STOPPING = "stopping at the next step, with a checkpoint; press Ctrl-C again to stop at once"
OnInterrupt = Literal["stop", "detach"]


class Interrupts:
    """Counts Ctrl-C instead of raising, from before a run is started until it is no longer watched."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Interrupts":
        self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def watch(
    folder: RunFolder, backend: Backend, interrupts: Interrupts, *, form: str, on_interrupt: OnInterrupt, since: int = 0
) -> int:
    """Show the run from its first event on, to its end; returns the exit code.

    Events up to `since` are folded and not shown (an earlier attempt's, when this command resumed the run).
    """
    with watcher(folder, form) as view:
        left = _relay(folder, backend, interrupts, view, on_interrupt, since)
    if left is not None:
        return left
    state = load(folder, backend)
    summary = keep_report(folder, state)
    if form == "text":
        if is_plain(sys.stdout):
            sys.stdout.write("\n")  # after the lines; the live view has gone by now
        show(summary, with_help=False)
    return conclude(folder, state)


def watcher(folder: RunFolder, form: str) -> Watcher:
    """The live view on a terminal, plain lines elsewhere, events for machines."""
    if form == "json":
        return JsonLines(sys.stdout, sys.stderr)
    money = folder.job().money
    if is_plain(sys.stdout):
        return Lines(sys.stdout, money)
    from sftrun.report.show.terminal import live_view

    return live_view(sys.stdout, f"{folder.job().name} {folder.id}", money)


def keep_report(folder: RunFolder, state: RunState) -> Report:
    """The run's report; written beside its events once it has ended, so that other tools find it."""
    job = folder.job()
    found = verdicts.of_run(folder) if state.answered or (folder.path / FOLDER).exists() else None
    made = report(folder.manifest(), folder.plan(), state, job.output_dir, billing.read(folder), job.money, found)
    if state.outcome is not None:
        with suppress(LedgerError):  # derived: a ledger that can't be written can still be read
            folder.write({"report.json": mask(made.model_dump_json(indent=2)) + "\n"})
    return made


def show(summary: Report, *, with_help: bool = True) -> None:
    """The summary on stdout."""
    from sftrun.report.show.terminal_tables import console, run_summary

    console(sys.stdout).print(run_summary(summary, with_help=with_help))


def conclude(folder: RunFolder, state: RunState) -> int:
    """0 for a finished run; for others the exception that says what happened and what to do."""
    again = (
        f"`{folder.manifest().command}` {'goes on from the last checkpoint' if state.checkpoint else 'starts it again'}"
    )
    match state.outcome:
        case None:
            raise RunFailed(explain_loss(folder, state), help=again)
        case outcome if outcome.kind == "failed":
            raise RunFailed(f"run {folder.id} failed: {outcome.message}", help=outcome.help or f"see {folder.log}")
        case outcome if outcome.kind == "stopped":
            again = f"raise `budget.max_usd`; then {again}" if outcome.reason == "budget" else again
            raise RunStopped(
                f"run {folder.id} has stopped at step {outcome.step}: {stop_words(outcome.reason)}", help=again
            )
    if (judged := verdicts.of_run(folder)) is not None:
        verdicts.require_gain(judged, folder.id)
    return 0


def open_run(name: str) -> tuple[RunFolder, Backend]:
    """The run that `name` means, and its executor."""
    from sftrun.run.backend import choose
    from sftrun.run.listing import find

    ledger = Ledger.open()
    folder = ledger.folder(find(ledger.root, name))
    return folder, choose(folder.manifest().executor, ledger)


def _relay(
    folder: RunFolder, backend: Backend, interrupts: Interrupts, view: Watcher, on_interrupt: OnInterrupt, since: int
) -> int | None:
    """Events to the view until the run ends (None) or the person leaves (an exit code)."""
    state, tail, obeyed = RunState(), Tail(folder.events), 0
    for event in follow(folder, backend, tail):
        if event is not None:
            state = advance(state, event)
            if event.seq > since:
                view.heard(event, state)
        else:
            view.tick(state)
        if interrupts.count > obeyed:
            obeyed = interrupts.count
            code = _interrupted(folder, backend, view, on_interrupt, obeyed)
            if code is not None:
                return code
    if tail.skipped or tail.is_torn:
        view.say(
            f"warning: {tail.skipped + tail.is_torn} lines of `{folder.events}` could not be read, and were skipped"
        )
    return None


def _interrupted(folder: RunFolder, backend: Backend, view: Watcher, on: OnInterrupt, count: int) -> int | None:
    if on == "detach":
        view.say(f"detached; the run goes on: `sftrun attach {folder.id}`, or `sftrun cancel {folder.id}` to stop it")
        return 0
    if count == 1:
        backend.request_stop(folder)
        view.say(STOPPING)
        return None
    backend.kill(folder)
    view.say(f"stopped at once; `{folder.manifest().command}` goes on from the last checkpoint")
    return EXIT_INTERRUPTED
