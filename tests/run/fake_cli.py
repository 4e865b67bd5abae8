"""The real command line with the fake supervisor behind it: `python fake_cli.py apply recipe.yaml`."""

import signal
import sys
from pathlib import Path

from sftrun.job.supervise import answerer, examiner
from sftrun.run import local

here = Path(__file__).parent
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, whose children ignore it
local.SUPERVISOR = (sys.executable, str(here / "fake_supervisor.py"))
local.missing_packages = lambda **_: []
answerer.ANSWERER = (sys.executable, str(here / "fake_answer.py"))
examiner.EVALUATOR = (sys.executable, str(here / "fake_evaluator.py"))

from sftrun.cli.main import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
