"""Runs as frames."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    import pandas

    from .policy import Policy


class Run:
    """A run folder: what happened, as pandas frames, and its policy."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        if not (self.path / "run.json").is_file():
            raise _native.ConfigError(f"{self.path} is no run folder: it has no run.json")

    @property
    def info(self) -> dict[str, Any]:
        """`run.json`: version, platform, algorithm, task, seed, status."""
        return json.loads((self.path / "run.json").read_text())

    def metrics(self) -> pandas.DataFrame:
        """One row a log point, indexed by env steps: what was logged of training and of an evaluation there."""
        return self._frame("metrics.jsonl").groupby("env_steps").first()

    def evaluations(self) -> pandas.DataFrame:
        """One row an evaluated episode."""
        return self._frame("eval.jsonl")

    def policy(self) -> Policy:
        """The policy of the best evaluation."""
        from .policy import Policy

        return Policy(self.path)

    def _frame(self, name: str) -> pandas.DataFrame:
        try:
            import pandas
        except ImportError as error:
            raise _native.MissingError("pandas is missing: from a checkout of Motley, pip install '.[pandas]'") from error
        lines = (self.path / name).read_text().splitlines() if (self.path / name).exists() else []
        rows = []
        for k, line in enumerate(lines):
            try:
                rows.append(json.loads(line))
            except ValueError:
                if k + 1 < len(lines):
                    raise
                # A run that is at work, or was killed, has half a line.
                warnings.warn(f"{self.path / name}: the last line is not whole and is left out", stacklevel=3)
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=["env_steps"])

    def __repr__(self) -> str:
        info = self.info
        return f"Run({str(self.path)!r}, {info['algo']} on {info['task']}, seed {info['seed']}, {info['status']})"


def run(path: str | os.PathLike[str]) -> Run:
    """An existing run."""
    return Run(path)
