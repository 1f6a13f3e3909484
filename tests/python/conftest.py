"""What the Python tests share: the programs that they run, built beforehand by scripts/test."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

# A shell without job control (some CI, `pytest &` in a script) starts its background jobs deaf to SIGINT, and whatever they start inherits
# that: tests that interrupt a program would wait for it for ever. A handler of our own is not inherited, deafness is.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rust_example():
    """Runs an example of a crate and gives its standard output; the environment variable may name a built program."""

    def run(package, example, variable):
        built = os.environ.get(variable)
        if built:
            command = [built]
        elif shutil.which("cargo"):
            command = ["cargo", "run", "--quiet", "-p", package, "--example", example]
        else:
            pytest.skip(f"no cargo, and {variable} names no built program")
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture(scope="session", autouse=True)
def settings_of_their_own(tmp_path_factory):
    """The key by which Motley knows its user's runs again does not go into the home folder of whoever runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("settings"))
