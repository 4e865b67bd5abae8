"""torchrun's agent, which dies with the supervisor, and its workers with it; it ends as the first of them that failed.

torchrun closes the descriptors of the processes that it starts: the pipe for events stays open here, and they find it
by the name of this process.
"""

import os
import signal
import sys
from contextlib import suppress

from sftrun.job.supervise.process import EVENTS, OWN_DESCRIPTORS, guard


def end_as(code: int) -> None:
    """With that exit code, or by that signal (negative, as subprocess gives it)."""
    sys.stderr.flush()
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler to be reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code or 1)


if __name__ == "__main__":
    guard()
    os.environ[EVENTS] = os.environ[EVENTS].replace(OWN_DESCRIPTORS, f"/proc/{os.getpid()}/fd/")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main()
    except ChildFailedError as error:
        sys.stderr.write(f"{error}\n")
        end_as(error.get_first_failure()[1].exitcode)
