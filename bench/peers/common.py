"""What the scripts share: Motley's own figures through `motley --json bench`, and the table of ratios.

Every script alternates: the peer, then Motley, `ROUNDS` times, and compares the best of each, so that a noisy neighbour
slows both. `MOTLEY` names the binary (default: the release build of this checkout), `ROUNDS` the alternations.
"""

import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOTLEY = os.environ.get("MOTLEY", str(ROOT / "target" / "release" / "motley"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))


def motley(*words):
    """The events that `motley --json bench WORDS` prints."""
    done = subprocess.run([MOTLEY, "--json", "-q", "bench", *words], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds(work, budget=0.3):
    """Least seconds of a call within `budget` seconds of calls, after one that warms up."""
    work()
    start, best = time.perf_counter(), float("inf")
    while time.perf_counter() - start < budget:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


class Duel:
    """Figures of a peer and of Motley under the same names; higher is better."""

    def __init__(self, peer, unit):
        self.peer, self.unit, self.seen = peer, unit, {}

    def add(self, name, who, value):
        self.seen.setdefault(name, {"peer": [], "motley": []})[who].append(value)

    def show(self):
        print(f"{'WORK':<40} {self.peer:>26} {'Motley':>26} {'RATIO':>7}   ({self.unit}, best and worst of rounds)")
        for name, seen in self.seen.items():
            cells = [f"{max(seen[w]):.5g} ({min(seen[w]):.5g})" for w in ("peer", "motley")]
            ratio = max(seen["motley"]) / max(seen["peer"])
            print(f"{name:<40} {cells[0]:>26} {cells[1]:>26} {ratio:>6.1f}x")


def gradient_duel(peer, step_of):
    """`step_of(rows)` gives a function that makes one gradient step; rows are those of `motley bench update`."""
    duel = Duel(peer, "gradient steps/s")
    steps = {rows: step_of(rows) for rows in (4000, 256)}
    for _ in range(ROUNDS):
        for rows, step in steps.items():
            duel.add(f"PPO step, {rows} rows, all threads", "peer", 1 / seconds(step))
        for event in motley("update", "--rounds", "1"):
            if event["work"] == "PPO step, actor" and event["threads"] == (os.cpu_count() or 1):
                duel.add(f"PPO step, {event['rows']} rows, all threads", "motley", 1e3 / event["best_ms"])
    duel.show()


def env_duel(peer, task, rates):
    """`rates()` gives {settings: env steps/s} of the peer on every core that it can use."""
    duel = Duel(peer, "env steps/s")
    for _ in range(ROUNDS):
        found = rates()
        for name, rate in found.items():
            duel.add(name, "peer", rate)
        (event,) = motley("env", task, "--seconds", "0.5")
        for name in found:
            one = name.endswith("one core")
            duel.add(name, "motley", event["env_steps_per_second_one_core" if one else "env_steps_per_second"])
    duel.show()
