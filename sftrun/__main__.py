"""`python -m sftrun` is `sftrun`."""

from sftrun.cli.main import run

run()
