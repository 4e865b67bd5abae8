"""On PYTHONPATH: torchrun's agent loads the libraries once and forks its workers, where each would load them itself."""

import os
import sys
from pathlib import Path

if "sftrun.job.supervise.launch" in sys.orig_argv:
    given = os.environ["PYTHONPATH"].split(os.pathsep)
    sys.path.insert(len(given), str(Path(__file__).parents[3]))  # after the job's code, which is that of the container
    from tests.warm import server

    server.load()
