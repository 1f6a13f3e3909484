"""Training from Python."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _native
from .runs import Run
from .team import setting, toml_value


def train(
    algo: str | None = None,
    task: str | Callable[[], Any] | None = None,
    config: dict[str, Any] | None = None,
    *,
    seed: int | None = None,
    total_steps: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | Run | None = None,
    progress: bool | Callable[[dict[str, Any]], None] = True,
    in_process: bool | None = None,
    crew: Any = None,
    retune: bool = False,
    trust: bool = False,
) -> Run:
    """Trains a team and returns its run.

    `task` is a name, or something to call that returns a PettingZoo, Gymnasium or SMAC-like environment. What can be imported
    by name runs in worker processes; a lambda, a local function or what was defined in a notebook runs in this process, one
    step at a time (`in_process` chooses). `config` holds settings, nested or dotted: `{"algo.lr": 3e-4, "num_envs": 40}`.
    `resume` goes on with a run; with `retune` settings of the algorithm (`algo.*`) may change, and are recorded. `progress` shows a
    bar, or is told of every event. Ctrl-C stops after a checkpoint. `crew` keeps the environments in other processes: `motley.ray`.
    A run folder whose task runs code (`py:`, `gym/`, `football/`) is taken up where Motley wrote it for you on this machine, or with
    `trust`.
    """
    words = [f"preset={value}" if name == "preset" else setting(name, value) for name, value in _leaves(config or {})]
    words += [setting(name, value) for name, value in (("seed", seed), ("total_steps", total_steps)) if value is not None]
    make, name = None, task
    if callable(task):
        path = _importable(task)
        local = path is None if in_process is None else in_process
        if not local and path is None:
            raise ValueError(f"{task!r} cannot be imported by name, so no worker can make it: leave out in_process=False")
        name = f"local/{getattr(task, '__name__', type(task).__name__)}" if local else f"py:{path}"
        make = (lambda: _Local(task)) if local else None
    elif resume is None and not (isinstance(algo, str) and isinstance(task, str)):
        raise ValueError("motley.train needs an algorithm and a task, or resume=RUN")
    folder = os.fspath(resume.path if isinstance(resume, Run) else resume) if resume is not None else None
    see = progress if callable(progress) else _Bar() if progress else (lambda event: None)
    try:
        done = _native.train(algo or "", name or "", None, words, os.fspath(out) if out is not None else None, folder, make, see, crew, retune, trust)
    finally:
        if isinstance(see, _Bar):
            see.close()
    return Run(done[0])


def _leaves(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name != "task.kwargs":
            found += _leaves(value, f"{name}.")
        else:
            toml_value(value)
            found.append((name, value))
    return found


def _importable(function: Any) -> str | None:
    """`module:name` where importing that gives the same object."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or module == "__main__" or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None


_adapters: types.ModuleType | None = None


def adapters() -> types.ModuleType:
    """The engine's adapters of other people's environments, as a module."""
    global _adapters
    if _adapters is None:
        module = types.ModuleType("motley._adapters")
        exec(compile(_native.ADAPTERS, "<motley adapters>", "exec"), module.__dict__)  # noqa: S102 - the engine's own source.
        _adapters = module
    return _adapters


class _Local:
    """An environment of this process, behind the engine's own arrays."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.adapter = adapters().adapt(make())
        self.json = json.dumps(self.adapter.spec)

    def bind(self, arrays: list[Any]) -> None:
        obs, state, rewards, avail, alive, self.actions = (np.asarray(array) for array in arrays)
        self.out = adapters().Views(obs, state, rewards, avail, alive)

    def _prepare(self) -> None:
        self.out.avail[:], self.out.alive[:], self.out.rewards[:] = 1, 1, 0.0

    def reset(self, seed: int) -> None:
        self._prepare()
        with _accounted():
            self.adapter.reset(seed, self.out)

    def step(self) -> tuple[int, bool]:
        """How the episode stands (0 running, 1 terminated, 2 truncated), and whether it was won."""
        self._prepare()
        with _accounted():
            status, won = self.adapter.step(self.actions, self.out)
            return status, bool(won)


class _Failed(Exception):
    """An environment's error with the adapters' account of it, which the engine reads."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


@contextlib.contextmanager
def _accounted() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Failed(json.dumps(adapters().told(error))) from error


def _plain(text: str) -> str:
    """Text of an environment without control characters, which a terminal would obey."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else ascii(c)[1:-1] for c in text)


class _Bar:
    """tqdm's bar where tqdm is installed (it suits notebooks), else a line now and then on standard error."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.total = 0
        self.shown = 0

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self.total = event["total_steps"]
            try:
                from tqdm.auto import tqdm

                self.bar = tqdm(total=self.total, initial=event["env_steps"], unit="step")
            except ImportError:
                self.bar = None
        elif kind == "progress":
            if self.bar is not None:
                self.bar.update(min(event["env_steps"], self.total) - self.bar.n)
                if event["episode_return"] is not None:
                    self.bar.set_postfix(return_=f"{event['episode_return']:.2f}")
            elif event["env_steps"] * 10 // self.total > self.shown:
                self.shown = event["env_steps"] * 10 // self.total
                print(f"{event['env_steps']}/{self.total} steps, {event['env_steps_per_second']:.0f} a second", file=sys.stderr)
        elif kind in ("evaluation", "warning"):
            text = event.get("text") or f"evaluation at {event['env_steps']}: return {event['eval_return_mean']:.2f}"
            text = _plain(text)
            (self.bar.write if self.bar is not None else lambda t: print(t, file=sys.stderr))(text)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
