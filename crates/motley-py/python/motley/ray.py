"""Motley on many machines, by Ray (Core and Tune).

    motley.ray.train("happo", "mpe/simple_spread_v3", out="/shared/run")        # one run, its environments on all nodes
    motley.ray.sweep("plans/order.toml")                                        # many runs: motley sweep PLAN --launcher ray
    tune.Tuner(motley.ray.trainable, param_space={"algo": "happo", "task": "mpe/simple_spread_v3", "algo.lr": ...})

A run's environments lie with workers, as a rule one a node, each with its own engine and threads; they meet the learner once a
rollout. Every environment has random streams of its own, so a run has the same bits whatever the number of workers, and a
worker that is lost is replaced from where its environments last stood without a trace in the numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from . import _native
from .runs import Run
from .training import shown
from .training import train as _train_here

try:
    import ray
    from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError
except ImportError as error:
    raise _native.MissingError("ray is missing: from a checkout of Motley, pip install '.[ray]'") from error

# What says that a process or a node is gone, rather than that its work failed.
LOST = (RayActorError, ObjectLostError, OutOfMemoryError, WorkerCrashedError, NodeDiedError)
# A worker that is lost so often within one rollout is lost by what it does.
MOST_LOSSES = 3
# Exit code of a run that was asked to stop and has checkpointed.
STOPPED = 75

Tell = Callable[[dict[str, Any]], None]


def connect() -> None:
    """Joins the cluster that RAY_ADDRESS names or that runs on this machine, or starts one here."""
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        ray.init(log_to_driver=False)


class _Worker:
    """The actor that plays some of a run's environments."""

    def __init__(self, algo: str, task: str, config: str, first: int, end: int, threads: int) -> None:
        self.engine = _native.Worker(algo, task, config, first, end, threads)

    def begin(self, boundary: bytes | None) -> tuple[bytes, list[str]]:
        return self.engine.begin(boundary)

    def collect(self, weights: bytes, boundary: bytes | None) -> tuple[bytes, bytes, list[str]]:
        """One rollout; a replacement goes to its predecessor's boundary first."""
        warnings = self.engine.begin(boundary)[1] if boundary is not None else []
        return (*self.engine.collect(weights), warnings)

    def where(self) -> tuple[str, int]:
        return ray.get_runtime_context().get_node_id(), os.getpid()


class Crew:
    """The workers of a run: started over the nodes, watched, replaced. The learner calls `begin` once, then `order` and `gather` in turn."""

    def __init__(self, workers: int, cpus: int, patience: float, tell: Tell) -> None:
        self.size, self.cpus, self.patience, self.tell = workers, cpus, patience, tell
        self.job: tuple[str, str, str] | None = None
        self.ranges: list[tuple[int, int]] = []
        self.boundaries: list[bytes | None] = []
        self.actors: list[Any] = []
        # What every worker was asked for last, and the answers that are not there yet.
        self.asked: Callable[[int, bool], Any] | None = None
        self.pending: dict[Any, int] = {}
        self.replaced = 0

    def begin(self, algo: str, task: str, config: str, parts: list[tuple[int, int, bytes | None]]) -> list[tuple[bytes, list[str]]]:
        """Starts a worker for each part (first environment, end, boundary); what each says, in order."""
        self.job = (algo, task, config)
        self.ranges = [(first, end) for first, end, _ in parts]
        self.boundaries = [boundary for _, _, boundary in parts]
        self.actors = [self._start(k, self.cpus) for k in range(len(parts))]
        self._ask(lambda k, _: self.actors[k].begin.remote(self.boundaries[k]))
        begun = self._answers()
        self.boundaries = [boundary for boundary, _ in begun]
        return begun

    def order(self, weights: bytes) -> None:
        """Has every worker play one rollout; does not wait."""
        held = ray.put(weights)
        self._ask(lambda k, anew: self.actors[k].collect.remote(held, self.boundaries[k] if anew else None))

    def gather(self) -> list[tuple[bytes, bytes]]:
        """The rollout that was ordered: the lanes of every worker and where its environments stand then, in order."""
        played = self._answers()
        for _, _, warnings in played:
            self._warn(warnings)
        self.boundaries = [boundary for _, boundary, _ in played]
        return [(lanes, boundary) for lanes, boundary, _ in played]

    def places(self) -> list[tuple[str, int]]:
        """Node and process of every worker."""
        return ray.get([actor.where.remote() for actor in self.actors])

    def _warn(self, texts: list[str]) -> None:
        for text in texts:
            self.tell({"event": "warning", "text": text})

    def _start(self, k: int, cpus: int) -> Any:
        assert self.job is not None
        actor = ray.remote(_Worker).options(num_cpus=cpus, max_restarts=0, scheduling_strategy="SPREAD")
        return actor.remote(*self.job, *self.ranges[k], self.cpus)

    def _ask(self, order: Callable[[int, bool], Any]) -> None:
        """Gives every worker `k` an order (and whether it goes to a replacement)."""
        self.asked = order
        self.pending = {order(k, False): k for k in range(len(self.actors))}

    def _answers(self) -> list[Any]:
        """Waits for the answers to the last order. A worker that is lost is replaced and given the order anew."""
        assert self.asked is not None
        pending = self.pending
        answers: list[Any] = [None] * len(self.actors)
        losses = [0] * len(self.actors)
        since, told = time.monotonic(), False
        while pending:
            ready, _ = ray.wait(list(pending), timeout=self.patience / 4)
            for ref in ready:
                k = pending.pop(ref)
                try:
                    answers[k] = ray.get(ref)
                except RayTaskError as error:
                    raise RuntimeError(f"the worker with {self._named(k)} failed: {error.cause}") from error
                except LOST as error:
                    losses[k] += 1
                    if losses[k] > MOST_LOSSES:
                        raise RuntimeError(f"the worker with {self._named(k)} was lost {losses[k]} times in one rollout: {error}") from error
                    self._replace(k, error)
                    pending[self.asked(k, True)] = k
            if not told and pending and time.monotonic() - since > self.patience:
                told = True
                names = ", ".join(self._named(k) for k in sorted(pending.values()))
                self._warn([f"no answer for {self.patience:.0f} s from the workers with {names}; training waits for them"])
        return answers

    def _named(self, k: int) -> str:
        first, end = self.ranges[k]
        return f"environments {first} to {end - 1}"

    def _replace(self, k: int, error: Exception) -> None:
        """A new actor with the same environments. Where no node has room for it within the patience, it shares one."""
        began = time.monotonic()
        ray.kill(self.actors[k], no_restart=True)
        self.actors[k] = self._start(k, self.cpus)
        ready, _ = ray.wait([self.actors[k].where.remote()], timeout=self.patience)
        shared = ""
        if not ready:
            ray.kill(self.actors[k], no_restart=True)
            self.actors[k] = self._start(k, 0)
            shared = "; no node has room for it, so it shares the processors of one"
        self.replaced += 1
        lost = str(error).strip().splitlines()[0]
        self._warn([f"the worker with {self._named(k)} was lost ({lost}) and replaced after {time.monotonic() - began:.1f} s{shared}"])


class _Learner:
    """The actor that trains: it owns the workers, so that they go where it goes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: list[dict[str, Any]] = []
        self.asked = False
        self.crew: Crew | None = None

    def run(self, workers: int, cpus: int, patience: float, how: dict[str, Any]) -> str:
        self.crew = Crew(workers, cpus, patience, self._see)
        # Ray says one thread for the one processor of this actor; but the workers wait while it learns.
        os.environ.pop("OMP_NUM_THREADS", None)
        try:
            return os.fspath(_train_here(**how, progress=self._see, crew=self.crew).path)
        except KeyboardInterrupt as error:
            # An interrupt of the task would be taken for one of Ray's own.
            raise RuntimeError(str(error)) from error

    def poll(self) -> list[dict[str, Any]]:
        """What happened since this was last asked."""
        with self.lock:
            events, self.events = self.events, []
        return events

    def stop(self) -> None:
        """Asks for a checkpoint and an end."""
        self.asked = True

    def places(self) -> list[tuple[str, int]]:
        """Node and process of the learner, then of every worker."""
        here = (ray.get_runtime_context().get_node_id(), os.getpid())
        return [here, *(self.crew.places() if self.crew is not None else [])]

    def _see(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.events.append(event)
        if self.asked and event["event"] == "progress":
            raise KeyboardInterrupt


def train(
    algo: str | None = None,
    task: str | None = None,
    config: dict[str, Any] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | Run | None = None,
    seed: int | None = None,
    total_steps: int | None = None,
    workers: int | None = None,
    cpus: int | None = None,
    restarts: int = 3,
    patience: float = 60.0,
    progress: bool | Tell = True,
    placed: Callable[[Any], None] | None = None,
    trust: bool = False,
) -> Run:
    """One run over a Ray cluster; as `motley.train`, with the same bits, checkpoints and logs.

    The environments are dealt to `workers` (default: one a node) of `cpus` processors each (default: those of the smallest node,
    less one for the learner). A lost worker is replaced; the learner, itself an actor, is started again from its last checkpoint,
    `restarts` times at most. The run folder `out` must be seen by every node that the learner may be started on. Workers
    that do not answer for `patience` seconds are named. `placed` is given the handle of each learner (its `places` say where all
    processes are). `trust` is that of `motley.train`.
    """
    connect()
    if resume is None and (out is None or not isinstance(algo, str) or not isinstance(task, str)):
        raise ValueError("motley.ray.train needs an algorithm, the name of a task and out=FOLDER, or resume=RUN")
    folder = os.path.abspath(resume.path if isinstance(resume, Run) else resume if resume is not None else out)  # type: ignore[arg-type]
    workers, cpus = _shape(workers, cpus)
    begin = {"algo": algo, "task": task, "config": config, "seed": seed, "total_steps": total_steps, "out": folder}
    # What was begun here is taken up again wherever the learner goes, also where its user has another key.
    again = {"total_steps": total_steps, "resume": folder, "trust": trust or resume is None}
    if resume is not None:
        if out is not None:
            raise _native.ConfigError("resume goes on in the run's own folder: leave out `out`")
        again.update(algo=algo, task=task, config=config, seed=seed)
    how, lost = (again if resume is not None else begin), 0
    # A run that was there before is neither taken up unasked nor removed: to begin there is refused.
    taken = resume is None and bool(_written(folder))
    with shown(progress) as see:
        while True:
            try:
                return Run(_watch(workers, cpus, patience, how, see, placed))
            except LOST as error:
                lost += 1
                if lost > restarts:
                    raise RuntimeError(f"the learner of {folder} was lost {lost} times; go on with resume={folder!r}") from error
                if resume is not None:
                    _unlock(pathlib.Path(folder))
                elif not taken:
                    how = again if _can_resume(folder) else begin
                told = str(error).strip().splitlines()[0]
                see({"event": "warning", "text": f"the learner was lost ({told}); it is started again from its last checkpoint"})


def _shape(workers: int | None, cpus: int | None) -> tuple[int, int]:
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    nodes = [count for count in nodes if count > 0] or [1]
    return workers or len(nodes), cpus or max(1, min(nodes) - 1)


def _written(folder: str) -> list[pathlib.Path]:
    """What lies in a folder under the names that a run writes."""
    place = pathlib.Path(folder)
    names = ("config.toml", "run.json", "metrics.jsonl", "eval.jsonl", "checkpoints", "policy")
    return [place / name for name in names if (place / name).exists()] + list(place.glob("events.out.tfevents.*"))


def _unlock(place: pathlib.Path) -> None:
    """Empties a lock that names a process which is gone, maybe with its host, which only Ray knows. A link is left alone."""
    if not (place / ".lock").is_symlink():
        (place / ".lock").write_text("")


def _done(place: pathlib.Path) -> bool:
    """Whether a run has ended there, whose checkpoints its user may have removed since."""
    try:
        return json.loads((place / "run.json").read_text())["status"] == "done"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _can_resume(folder: str) -> bool:
    """Makes the folder of a run whose process is gone ready to be taken up; without a checkpoint, what it wrote there is removed."""
    place = pathlib.Path(folder)
    if _done(place) or (place / "checkpoints" / "latest").is_file() or any(place.glob("checkpoints/step-*")):
        _unlock(place)
        return True
    for path in [*_written(folder), place / ".lock"]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Others' files may lie there too.
        place.rmdir()
    return False


def _watch(
    workers: int, cpus: int, patience: float, how: dict[str, Any], see: Tell, placed: Callable[[Any], None] | None
) -> str:
    """Runs a learner to its end and shows what it tells."""
    learner = ray.remote(_Learner).options(num_cpus=1, max_restarts=0, max_concurrency=4).remote()
    done = learner.run.remote(workers, cpus, patience, how)
    if placed is not None:
        placed(learner)
    asked = False
    try:
        while True:
            try:
                ready, _ = ray.wait([done], timeout=0.5)
                for event in ray.get(learner.poll.remote()):
                    see(event)
                if ready:
                    return ray.get(done)
            except KeyboardInterrupt:
                if asked:
                    raise
                asked = True
                learner.stop.remote()
            except RayTaskError as error:
                if asked:
                    raise KeyboardInterrupt(str(error.cause)) from error
                known = isinstance(error.cause, (_native.ConfigError, _native.MissingError))
                raise (type(error.cause) if known else _native.Error)(str(error.cause)) from error
    finally:
        ray.kill(learner, no_restart=True)


def trainable(config: dict[str, Any]) -> None:
    """A function for `ray.tune.Tuner`: `config` holds `algo`, `task` and settings (`"algo.lr"`, `"seed"`, `"total_steps"`, ...).

    Each evaluation is reported (`eval_return_mean`, `env_steps`, ...), with the run's checkpoint where one was written just then:
    a trial that is paused goes on bit for bit, and one that takes over another's checkpoint with other settings of the algorithm
    (population-based training) goes on from there under those, which its `run.json` records.
    """
    from ray import tune

    words = {name: value for name, value in config.items() if name not in ("algo", "task")}
    held: dict[str, Any] = {}

    def report(folder: str | None) -> None:
        if held:
            told = dict(held)
            held.clear()
            tune.report(told, checkpoint=tune.Checkpoint.from_directory(folder) if folder is not None else None)

    def see(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            held.update({name: value for name, value in event.items() if name != "event" and value is not None})
        elif event["event"] == "checkpoint":
            report(folder)
        elif event["event"] == "progress":
            report(None)

    start = tune.get_checkpoint()
    with tempfile.TemporaryDirectory(prefix="motley-") as above:
        folder = os.path.join(above, "run")
        if start is None:
            _train_here(config["algo"], config["task"], words, out=folder, progress=see)
        else:
            with start.as_directory() as saved:
                shutil.copytree(saved, folder)
            (pathlib.Path(folder) / ".lock").unlink(missing_ok=True)
            words.pop("preset", None)
            # The checkpoint is this experiment's own, maybe from a node where its user has another key.
            _train_here(config=words, resume=folder, progress=see, retune=True, trust=True)
        report(None)


def _one(plan: str, index: int, here: str, cpus: int) -> int:
    """A run of a plan, in a Ray process of its own; the command's exit code."""
    os.chdir(here)
    os.environ["MOTLEY__THREADS"] = str(cpus)
    return _native.command(["motley", "--quiet", "sweep", plan, "--index", str(index)])


def sweep(
    plan: str | os.PathLike[str], *, parallel: int | None = None, cpus: int = 1, retries: int = 3, lines: bool = False
) -> int:
    """Trains the runs of a plan over a Ray cluster, `cpus` processors each, at most `parallel` at a time; the exit code.
    With `lines` its end is told as the command's `--json` tells it.

    Given again it goes on where it stopped. A run whose process or node is lost is taken up from its last checkpoint elsewhere, so
    the plan and its `out` must lie where every node sees them.
    """
    path = os.path.abspath(plan)
    listed = subprocess.run(
        [sys.executable, "-m", "motley", "--json", "sweep", path, "--dry-run"], stdout=subprocess.PIPE, text=True, check=False
    )
    if listed.returncode:
        return listed.returncode
    runs = [said for said in map(json.loads, listed.stdout.splitlines()) if said.get("event") == "run"]
    connect()
    # One call a process: the command keeps its handlers of signals to the end of it.
    task = ray.remote(num_cpus=cpus, max_retries=0, max_calls=1, scheduling_strategy="SPREAD")(_one)
    waiting = [(said["index"], 0) for said in reversed(runs)]
    pending: dict[Any, tuple[int, int]] = {}
    failed: list[int] = []
    while waiting or pending:
        while waiting and (parallel is None or len(pending) < parallel):
            index, tries = waiting.pop()
            pending[task.remote(path, index, os.getcwd(), cpus)] = (index, tries)
        ready, _ = ray.wait(list(pending), timeout=1.0)
        for ref in ready:
            index, tries = pending.pop(ref)
            folder, lost = runs[index]["run"], ""
            try:
                code = ray.get(ref)
            except RayTaskError as error:
                code, lost = 1, f" ({error.cause})"
            except LOST as error:
                code, lost = STOPPED, f" (lost: {str(error).strip().splitlines()[0]})"
                _can_resume(folder)
            if code == STOPPED and tries < retries:
                waiting.append((index, tries + 1))
                print(f"again: {folder}{lost}", file=sys.stderr)
            elif code:
                failed.append(index)
                print(f"failed: {folder} (exit code {code}){lost}", file=sys.stderr)
            else:
                print(f"done: {folder}", file=sys.stderr)
    done = len(runs) - len(failed)
    if lines:
        out = os.path.commonpath([said["run"] for said in runs])
        print(json.dumps({"event": "done", "out": out, "runs": len(runs), "done": done, "failed": len(failed)}))
    else:
        print(f"{done} of {len(runs)} runs are done, {len(failed)} failed")
    return 1 if failed else 0


def _value(text: str) -> Any:
    """A setting's value as the command line has it, in TOML's writing (before Python 3.11: JSON's); text needs no quotes."""
    try:
        import tomllib
    except ImportError:
        tomllib = None  # type: ignore[assignment]
    try:
        return json.loads(text) if tomllib is None else tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m motley.ray", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("sweep", help="the runs of a plan")
    many.add_argument("plan")
    many.add_argument("--parallel", type=int)
    many.add_argument("--cpus", type=int, default=1)
    many.add_argument("--json", action="store_true")
    one = commands.add_parser("train", help="one run: ALGO TASK [key=value ...]")
    one.add_argument("words", nargs="*")
    one.add_argument("--out")
    one.add_argument("--resume")
    one.add_argument("--workers", type=int)
    one.add_argument("--cpus", type=int)
    one.add_argument("--trust", action="store_true", help="resume a folder of somebody else's whose task runs code")
    return parser


def main() -> None:
    """`python -m motley.ray sweep PLAN`, which `motley sweep PLAN --launcher ray` runs, and `python -m motley.ray train ALGO TASK`."""
    parser = _parser()
    args = parser.parse_args()
    if args.command == "sweep":
        sys.exit(sweep(args.plan, parallel=args.parallel, cpus=args.cpus, lines=args.json))
    names = [word for word in args.words if "=" not in word]
    if len(names) > 2:
        parser.error(f"unexpected {' '.join(names[2:])}: ALGO TASK [key=value ...]")
    names += [None] * (2 - len(names))
    settings = {name: _value(text) for name, _, text in (word.partition("=") for word in args.words if "=" in word)}
    sys.exit(_told(lambda: train(
        names[0], names[1], settings, out=args.out, resume=args.resume, workers=args.workers, cpus=args.cpus, trust=args.trust
    )))  # fmt: skip


def _told(work: Callable[[], Any]) -> int:
    """Does it, with the exit codes of `motley train`: an error is told in a line, and a scheduler's signal stops as Ctrl-C does."""
    asked = threading.Event()

    def stop(*_: Any) -> None:
        asked.set()
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM)):
        signal.signal(number, stop)
    try:
        work()
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        return STOPPED if asked.is_set() else 130
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        missing = isinstance(error, _native.MissingError)
        return 3 if missing else 2 if isinstance(error, ValueError) else 1
    return 0


if __name__ == "__main__":
    main()
