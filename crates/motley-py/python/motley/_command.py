"""The command `motley`."""

import os
import signal
import sys

from . import _native


def main() -> None:
    """Runs the command line; environments named on it run with this interpreter unless MOTLEY_PYTHON names another."""
    os.environ.setdefault("MOTLEY_PYTHON", sys.executable)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    code = _native.command(["motley", *sys.argv[1:]])
    sys.stdout.flush()
    sys.exit(code)
