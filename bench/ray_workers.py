"""One run spread over 1, 2 and 4 Ray workers on this machine, also with rollouts played beside learning: env steps/s, the learner's
share, and what a killed worker costs.

    pip install '.[ray]' && python bench/ray_workers.py [ALGO TASK [KEY=VALUE ...]]

Workers share this machine's cores, so more of them are not faster here: the figures show what the split costs.
"""

import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import ray

os.environ.setdefault("RAY_worker_niceness", "0")

import motley  # noqa: E402
import motley.ray  # noqa: E402

WORDS = sys.argv[1:] or ["happo", "mpe/simple_spread_v3"]
STEPS = 100_000
CONFIG = {"num_envs": 20, "threads": 1, "eval.every": 10**9, "log.checkpoint_every": 10**9, "log.tensorboard": False}
CONFIG |= dict(word.split("=", 1) for word in WORDS[2:])


class Clock:
    """When each rollout was learned from, and the loss of a worker half-way if asked for."""

    def __init__(self, kill):
        self.kill, self.learner, self.times = kill, None, []

    def placed(self, learner):
        self.learner = learner

    def __call__(self, event):
        if event["event"] != "progress":
            return
        self.times.append((time.perf_counter(), event["env_steps"]))
        if self.kill and event["env_steps"] >= STEPS // 2:
            self.kill = False
            places = ray.get(self.learner.places.remote())
            os.kill(places[-1][1], signal.SIGKILL)


def learning(run):
    """Seconds that gradient steps took after the first rollout."""
    lines = [json.loads(line) for line in (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()]
    return sum([line["time/update_seconds"] for line in lines if "time/update_seconds" in line][1:])


def one(workers, kill=False, overlap=False):
    """Env steps/s after the first rollout, the learner's share, the longest pause between two rollouts."""
    with tempfile.TemporaryDirectory() as folder:
        clock, out = Clock(kill), pathlib.Path(folder) / "run"
        run = motley.ray.train(
            *WORDS[:2], CONFIG | {"overlap": overlap}, seed=1, total_steps=STEPS, out=out, workers=workers, cpus=1, progress=clock, placed=clock.placed
        )
        (start, first), (end, last) = clock.times[0], clock.times[-1]
        pauses = [b[0] - a[0] for a, b in zip(clock.times, clock.times[1:])]
        return (last - first) / (end - start), learning(run.path) / (end - start), max(pauses)


if __name__ == "__main__":
    ray.init(num_cpus=6, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    print(f"{' '.join(WORDS)}: {STEPS} env steps, {os.cpu_count()} cores")
    usual = 0.0
    for workers in (1, 2, 4):
        rate, share, pause = one(workers)
        usual = max(usual, pause)
        print(f"{workers} workers: {rate:8,.0f} env steps/s, {100 * share:3.0f} % of the time learning", flush=True)
    for workers in (1, 2, 4):
        rate, share, _ = one(workers, overlap=True)
        print(f"{workers} workers, overlap=true: {rate:8,.0f} env steps/s, {100 * share:3.0f} % of the time learning", flush=True)
    _, _, pause = one(2, kill=True)
    print(f"2 workers, one killed: the longest pause between two rollouts is {pause:.2f} s, {usual:.2f} s where none was killed")
