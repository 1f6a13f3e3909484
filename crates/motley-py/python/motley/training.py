"""Training from Python."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import types
import unicodedata
import warnings
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

    `task` is a name, or something to call that returns a new PettingZoo, Gymnasium or SMAC-like environment. What can be imported
    by name runs in worker processes, which find modules where this process does; a lambda, a local function or what was defined in a
    notebook runs in this process (`in_process` chooses): its copies are made, reset, stepped and closed one at a time, on threads of
    the engine, never on the one that called. `config` holds settings, nested or dotted: `{"algo.lr": 3e-4, "num_envs": 40}`.
    Variables `MOTLEY__A__B` are settings too, weaker ones. `resume` goes on with a run; with `retune` settings of the algorithm (`algo.*`) may change, and are recorded. `progress` shows a
    bar, or is told of every event, on a thread of the engine; with `False` warnings alone are shown, as `RuntimeWarning`. Ctrl-C stops
    after a checkpoint; a second one raises KeyboardInterrupt in an environment of this process that hangs, and a third ends the
    process. `crew` keeps the environments in other processes: `motley.ray`. A run that fails, or could not save all that it should,
    is `motley.Error`.
    A run folder whose task runs code (`py:`, `gym/`, `football/`) is taken up where Motley wrote it for you on this machine, or with
    `trust`.
    """
    words = [f"preset={value}" if name == "preset" else setting(name, value) for name, value in _leaves(config or {})]
    words += [setting(name, value) for name, value in (("seed", seed), ("total_steps", total_steps)) if value is not None]
    here, name = None, task
    if callable(task):
        path = _importable(task)
        local = path is None if in_process is None else in_process
        if not local and path is None:
            raise ValueError(f"{task!r} cannot be imported by name, so no worker can make it: leave out in_process=False")
        name = f"local/{getattr(task, '__name__', type(task).__name__)}" if local else f"py:{path}"
        here = _Here(task) if local else None
    elif resume is not None and out is not None:
        raise _native.ConfigError("resume goes on in the run's own folder: leave out `out`")
    elif resume is None and not (isinstance(algo, str) and isinstance(task, str)):
        raise ValueError("motley.train needs an algorithm and a task, or resume=RUN")
    folder = os.fspath(resume.path if isinstance(resume, Run) else resume) if resume is not None else None
    place = os.fspath(out) if out is not None else None
    with shown(progress) as see, _hurry(here) as hurry:
        done = _native.train(algo or "", name or "", None, words, place, folder, here, see, hurry, crew, retune, trust)
    return Run(done[0])


@contextlib.contextmanager
def _hurry(here: _Here | None) -> Iterator[Callable[[], None]]:
    """What a second Ctrl-C does: an environment of this process is interrupted, and Ctrl-C is the system's again, for what does not heed that."""
    before = signal.getsignal(signal.SIGINT)
    changed = False

    def hurry() -> None:
        nonlocal changed
        changed = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if here is not None:
            here.interrupt()

    try:
        yield hurry
    finally:
        if changed:
            signal.signal(signal.SIGINT, before)


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


class _Here:
    """The environments of a run that live in this process. The engine has many threads, which take turns in them: an environment is
    not written for others beside it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.lock = threading.Lock()
        # Who is in one of them now.
        self.thread: int | None = None
        self.interrupted = False

    def __call__(self) -> _Local:
        return _Local(self)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for a turn; what is raised in it becomes the adapters' account of it."""
        with self.lock:
            self.thread = threading.get_ident()
            try:
                yield
            except (Exception, SystemExit) as error:
                raise _Failed(json.dumps(adapters().told(error))) from error
            finally:
                self.thread = None

    def adapter(self) -> Any:
        """A new environment's."""
        self.go_on()
        return adapters().adapt(self.make())

    def go_on(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt("the environments were interrupted")

    def interrupt(self) -> None:
        """Raises KeyboardInterrupt in the environment that has its turn, once its Python code goes on, and in whatever is asked of any later."""
        self.interrupted = True
        thread = self.thread
        if thread is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


class _Local:
    """An environment of this process, behind the engine's own arrays. One that fails is closed, and another made at the next reset."""

    def __init__(self, here: _Here) -> None:
        self.here = here
        with here.turn():
            self.adapter = here.adapter()
            self.json = json.dumps(self.adapter.spec)

    def bind(self, arrays: list[Any]) -> None:
        obs, state, rewards, avail, alive, self.actions = (np.asarray(array) for array in arrays)
        self.out = adapters().Views(obs, state, rewards, avail, alive)

    @contextlib.contextmanager
    def _playing(self) -> Iterator[None]:
        self.out.avail[:], self.out.alive[:], self.out.rewards[:] = 1, 1, 0.0
        with self.here.turn():
            try:
                self.here.go_on()
                yield
            except (Exception, SystemExit):
                with contextlib.suppress(Exception, SystemExit):  # It is thrown away in any case.
                    self._drop()
                raise
            except BaseException:
                self.adapter = None  # What was interrupted may hang in its close() too.
                raise

    def reset(self, seed: int) -> None:
        with self._playing():
            if self.adapter is None:
                self.adapter = self.here.adapter()
                if json.dumps(self.adapter.spec) != self.json:
                    raise adapters().Invalid("made anew after a failure it is another team than before")
            self.adapter.reset(seed, self.out)

    def step(self) -> tuple[int, bool]:
        """How the episode stands (0 running, 1 terminated, 2 truncated), and whether it was won."""
        with self._playing():
            status, won = self.adapter.step(self.actions, self.out)
            return status, bool(won)

    def close(self) -> None:
        """The engine needs it no more."""
        try:
            with self.here.turn():
                self._drop()
        except _Failed as failed:
            said = adapters().describe_error(failed.__cause__)
            warnings.warn(f"an environment could not be closed: {said}", RuntimeWarning, stacklevel=2)

    def _drop(self) -> None:
        adapter, self.adapter = self.adapter, None
        if adapter is not None:
            adapter.close()


class _Failed(Exception):
    """An environment's error with the adapters' account of it, which the engine reads."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


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


def _warn(event: dict[str, Any]) -> None:
    """Shows warnings and nothing else."""
    if event["event"] == "warning":
        warnings.warn(_plain(event["text"]), RuntimeWarning, stacklevel=2)


@contextlib.contextmanager
def shown(progress: bool | Callable[[dict[str, Any]], None]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What is told of every event: the caller's function, a bar, or what shows warnings alone."""
    if callable(progress):
        yield progress
    elif progress:
        with contextlib.closing(_Bar()) as bar:
            yield bar
    else:
        yield _warn
