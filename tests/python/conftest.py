"""What the Python tests share: the programs that they run, built beforehand by scripts/test."""

import os
import pathlib
import shutil
import subprocess

import pytest

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
