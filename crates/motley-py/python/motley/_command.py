"""The command `motley`."""

import signal
import sys

from . import _native


def main() -> None:
    """Runs the command line; environments named on it run with this interpreter unless MOTLEY_PYTHON names another."""
    # Ctrl-C is the engine's: Python's own handler would raise beside it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _native.command(["motley", *sys.argv[1:]])
    sys.stdout.flush()
    sys.exit(code)
