"""Motley's particle suite against the installed simulator, episode by episode.

MOTLEY_MPE_TRACE   the built example `mpe_trace` of motley-envs (needed)
MOTLEY_MPE_FLAVOUR v3 (default, against mpe2 1.1.1), v2.5 (PettingZoo 1.24.0) or v2 (PettingZoo 1.22.3)
MOTLEY_MPE_EPISODES episodes for each task and kind of action (default 200)
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "mpe"))
import driver  # noqa: E402

BINARY = os.environ.get("MOTLEY_MPE_TRACE")
FLAVOUR = os.environ.get("MOTLEY_MPE_FLAVOUR", "v3")
EPISODES = int(os.environ.get("MOTLEY_MPE_EPISODES", "200"))

pytestmark = pytest.mark.skipif(not BINARY, reason="MOTLEY_MPE_TRACE does not name the built mpe_trace")

PLAIN = [(task, []) for task in driver.TASKS if FLAVOUR == "v3" or not task.endswith("_v1")]
VARIED = [
    ("simple_spread_v3", ["num_agents=5", "local_ratio=0.3", "num_agent_neighbors=2", "num_landmark_neighbors=3"]),
    ("simple_spread_v3", ["num_agents=2", "num_agent_neighbors=3", "num_landmark_neighbors=4"]),
    ("simple_spread_v3", ["num_agents=1", "terminate_on_success=true", "max_cycles=50"]),
    ("simple_reference_v3", ["local_ratio=0.9", "max_cycles=7"]),
    ("simple_adversary_v3", ["num_agents=4", "num_agent_neighbors=2", "num_landmark_neighbors=2"]),
    ("simple_adversary_v3", ["num_agents=1"]),
    ("simple_tag_v3", ["num_good=2", "num_adversaries=4", "num_obstacles=3", "num_agent_neighbors=3", "num_landmark_neighbors=1"]),
    ("simple_tag_v3", ["terminate_on_success=true"]),
    ("simple_world_comm_v3", ["num_good=3", "num_adversaries=2", "num_obstacles=2", "num_food=3", "num_forests=3"]),
    ("simple_formation_v1", ["num_agents=6", "terminate_on_success=true"]),
    ("simple_line_v1", ["num_agents=2", "terminate_on_success=true", "max_cycles=60"]),
    ("collect_treasure_v1", ["num_collectors=3", "num_deposits=1", "num_treasures=2"]),
    ("collect_treasure_v1", ["num_collectors=4", "num_deposits=3", "num_treasures=9", "max_cycles=60"]),
]


def numbers(texts: list[str], width: str) -> np.ndarray:
    """Hexadecimal bits as floats."""
    kind = {"f4": np.uint32, "f8": np.uint64}[width]
    return np.array([int(t, 16) for t in texts], dtype=kind).view(width)


def compare(task: str, settings: list[str], episodes: int) -> None:
    """Same seeds, same actions: the same bits of states and observations, rewards within 1e-12."""
    env = driver.make(task, settings, FLAVOUR)
    told = settings + ([f"flavour={FLAVOUR}"] if not task.endswith("_v1") else [])
    with subprocess.Popen([BINARY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as motley:
        for episode in range(episodes):
            theirs = driver.play(env, 10_000 + episode, driver.STYLES[episode % 4])
            actions = [[float(x) for x in joint] for joint in theirs["actions"]]
            ask = {"task": f"mpe/{task}", "settings": told, "seed": theirs["seed"], "actions": actions}
            motley.stdin.write(json.dumps(ask) + "\n")
            motley.stdin.flush()
            ours = json.loads(motley.stdout.readline())
            assert "error" not in ours, ours
            assert len(ours["frames"]) == len(theirs["frames"])
            for step, (a, b) in enumerate(zip(ours["frames"], theirs["frames"])):
                where = f"{task} {settings}, seed {theirs['seed']}, step {step}"
                for field, width in (("pos", "f8"), ("vel", "f8"), ("obs", "f4")):
                    x, y = numbers(a[field], width), b[field].astype(width)
                    bits = x.view(np.uint64 if width == "f8" else np.uint32) == y.view(np.uint64 if width == "f8" else np.uint32)
                    assert bits.all(), f"{where}: {field}[{np.argmin(bits)}] is {x[~bits][0]!r}, not {y[~bits][0]!r}"
                gap = np.abs(numbers(a["rewards"], "f8") - b["rewards"])
                assert (gap <= 1e-12 * np.maximum(1, np.abs(b["rewards"]))).all(), f"{where}: rewards differ by {gap}"
                # A success in the very last step ends the task here and cuts the episode there.
                late = b["status"] == "truncated" and "terminate_on_success=true" in settings
                assert a["status"] == b["status"] or (late and a["status"] == "terminated"), where
        motley.stdin.close()


@pytest.mark.parametrize("continuous", ["false", "true"])
@pytest.mark.parametrize(("task", "settings"), PLAIN, ids=[t for t, _ in PLAIN])
def test_default_settings(task: str, settings: list[str], continuous: str) -> None:
    compare(task, [*settings, f"continuous={continuous}"], EPISODES)


@pytest.mark.skipif(FLAVOUR != "v3", reason="these settings are mpe2's")
@pytest.mark.parametrize("continuous", ["false", "true"])
@pytest.mark.parametrize(("task", "settings"), VARIED, ids=[f"{t}-{i}" for i, (t, _) in enumerate(VARIED)])
def test_other_settings(task: str, settings: list[str], continuous: str) -> None:
    compare(task, [*settings, f"continuous={continuous}"], max(EPISODES // 4, 4))
