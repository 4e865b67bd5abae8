"""`python -m modal_plane --state DIR [--port N] [-- COMMAND…]`: a laptop without an account.

With a command: runs it against a fresh plane and exits as it does.  Without: prints the environment and waits.
"""

import argparse
import os
import shlex
import subprocess
import sys
import threading

from .plane import Plane


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    with Plane(options.state, port=options.port, python=options.python) as plane:
        for pair in options.secret:
            name, _, values = pair.partition(":")
            plane.add_secret(name, dict(each.split("=", 1) for each in values.split(",") if each))
        if options.command:
            return subprocess.run(options.command, env={**os.environ, **plane.client_env()}, check=False).returncode
        for key, value in plane.client_env().items():
            sys.stdout.write(f"export {key}={shlex.quote(value)}\n")
        sys.stdout.flush()
        _wait_for_interrupt()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m modal_plane", description=__doc__)
    parser.add_argument("--state", required=True, help="folder for Volumes and blobs")
    parser.add_argument("--port", type=int, default=0, help="port of the gRPC service; any free one by default")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the containers")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME:KEY=VALUE,…", help="a Secret to have")
    parser.add_argument("command", nargs="*", help="what to run, after --")
    return parser


def _wait_for_interrupt() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
