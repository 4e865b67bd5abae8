"""What the processes share that ask a finished run's models: how they begin, and how they say what went wrong."""

import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from sftrun.contract.jobspec import JobSpec
from sftrun.job.failures import translate
from sftrun.job.supervise.process import DEFAULTS, guard, needs_hub


def set_environment(job: JobSpec) -> None:
    """Before the libraries are loaded: they read it then."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not needs_hub(job):
        os.environ["HF_HUB_OFFLINE"] = "1"


def run(main: Callable[[str], int]) -> NoReturn:
    """End with what `main` makes of the request file; a failure is the last line of stderr, with exit code 1."""
    gc.disable()  # as in `worker`
    guard()
    try:
        sys.exit(main(sys.argv[1]))
    except Exception as error:
        failure = translate(error)
        if failure.kind == "error":
            import traceback

            traceback.print_exc()
        print(failure.message + (f" ({failure.help})" if failure.help else ""), file=sys.stderr)  # noqa: T201
        sys.exit(1)
