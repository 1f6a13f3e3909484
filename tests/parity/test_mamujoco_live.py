"""Motley's robots against gymnasium-robotics 1.4.2 on MuJoCo 3.17.0, episode by episode.

MOTLEY_MUJOCO_TRACE    the built example `mujoco_trace` of motley-mujoco (needed)
MOTLEY_MUJOCO_STEPS    steps for each task, at least (default 2000): robots that fall play more episodes for them
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

BINARY = os.environ.get("MOTLEY_MUJOCO_TRACE")
STEPS = int(os.environ.get("MOTLEY_MUJOCO_STEPS", "2000"))
# An episode is cut here, so that a task that never ends shows several starts.
EPISODE = 300

pytestmark = pytest.mark.skipif(not BINARY, reason="MOTLEY_MUJOCO_TRACE does not name the built mujoco_trace")
if BINARY:
    pytest.importorskip("mujoco", reason="the peers of tests/python/requirements-mujoco.txt are not installed")
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "mamujoco"))
    import driver

# scenario, factorisation, depth, settings
CASES = [
    ("HalfCheetah", "2x3", 0, []),
    ("HalfCheetah", "6x1", 1, []),
    ("HalfCheetah", "3x2", 5, []),
    ("Ant", "2x4", 0, []),
    ("Ant", "2x4d", 1, []),
    ("Ant", "4x2", 1, []),
    ("Ant", "8x1", 2, []),
    ("Hopper", "3x1", 1, []),
    ("Hopper", "own", 1, ['partition=[["foot_joint", "thigh_joint"], ["leg_joint"]]']),
    ("Walker2d", "2x3", 1, []),
    ("Walker2d", "3x2", 2, []),
    ("Walker2d", "6x1", 3, []),
    ("Humanoid", "9|8", 1, ["graph=v1"]),
    ("Humanoid", "17x1", 2, ["graph=v1"]),
    ("HumanoidStandup", "9|8", 0, ["graph=v1"]),
    ("HumanoidStandup", "17x1", 1, ["graph=v1"]),
    ("Swimmer", "2x1", 1, []),
    ("Reacher", "2x1", 1, []),
    ("Pusher", "3p", 2, []),
    ("CoupledHalfCheetah", "1p1", 1, ["graph=v1"]),
    ("ManySegmentSwimmer", "10x2", 2, []),
    ("ManySegmentSwimmer", "4x3", 1, ['conf="4x3"']),
    ("ManySegmentAnt", "2x3", 1, ["graph=v1"]),
    ("ManySegmentAnt", "3x1", 2, ["graph=v1"]),
]


def floats(texts: list[str]) -> np.ndarray:
    return np.array([int(t, 16) for t in texts], dtype=np.uint64).view(np.float64)


def episodes(play):
    """Episodes of `play(number)` until enough steps were seen."""
    steps = number = 0
    while steps < STEPS:
        theirs = play(number)
        yield number, theirs
        steps += len(theirs["actions"])
        number += 1


class Motley:
    """The program that plays Motley's side."""

    def __enter__(self):
        self.process = subprocess.Popen([BINARY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def play(self, task: str, settings: list[str], theirs: dict) -> list[dict]:
        start = theirs["frames"][0]
        ask = {
            "task": task,
            "settings": settings,
            "qpos": start["qpos"].tolist(),
            "qvel": start["qvel"].tolist(),
            "actions": [joint.tolist() for joint in theirs["actions"]],
        }
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        assert len(answer["frames"]) == len(theirs["frames"])
        return answer["frames"]


def same_bits(ours: np.ndarray, theirs: np.ndarray, where: str, ulps: int = 0) -> None:
    assert ours.shape == theirs.shape, f"{where}: {ours.shape} entries, not {theirs.shape}"
    # Two zeros are one number; otherwise bits, or neighbours of them where a sine was taken.
    gap = np.abs(ours.view(np.int64) - theirs.view(np.int64))
    wrong = (gap > ulps) & (ours != theirs)
    assert not wrong.any(), f"{where}[{np.argmax(wrong)}]: {ours[wrong][0]!r}, not {theirs[wrong][0]!r} ({wrong.sum()} differ)"


def task(scenario: str, conf: str, settings: list[str]) -> str:
    own = any(s.startswith(("partition", "conf")) for s in settings)
    return f"mamujoco/{scenario}" if own else f"mamujoco/{scenario}-{conf}"


@pytest.mark.parametrize(("scenario", "conf", "depth", "settings"), CASES, ids=[f"{s}-{c}-k{d}" for s, c, d, _ in CASES])
def test_v1(scenario: str, conf: str, depth: int, settings: list[str]) -> None:
    """Same start, same actions: the same bits of positions, velocities and observations, rewards within 1e-12."""
    env = driver.make(scenario, conf, depth)
    # numpy's own sine and libm's may differ by one unit in the last place.
    ulps = 1 if scenario == "Reacher" else 0
    with Motley() as motley:
        for episode, theirs in episodes(lambda number: driver.play(env, 1000 + number, EPISODE)):
            ours = motley.play(task(scenario, conf, settings), [*settings, f"obsk={depth}"], theirs)
            for step, (a, b) in enumerate(zip(ours, theirs["frames"])):
                where = f"{scenario} {conf}, seed {1000 + episode}, step {step}"
                same_bits(floats(a["qpos"]), b["qpos"], f"{where}: qpos")
                same_bits(floats(a["qvel"]), b["qvel"], f"{where}: qvel")
                for i, (x, y) in enumerate(zip(a["obs"], b["obs"], strict=True)):
                    same_bits(floats(x), y, f"{where}: obs of agent {i}", ulps)
                same_bits(floats(a["state"]), b["state"], f"{where}: state", ulps)
                gap = abs(floats([a["reward"]])[0] - b["reward"])
                assert gap <= 1e-12 * max(1, abs(b["reward"])), f"{where}: rewards differ by {gap}"
                assert a["status"] == b["status"], where


ALONE = [
    ("HalfCheetah", "6x1", None),
    ("Hopper", "3x1", None),
    ("Walker2d", "6x1", None),
    ("Swimmer", "2x1", None),
    ("Reacher", "2x1", None),
    ("Ant", "8x1", [2, 3, 4, 5, 6, 7, 0, 1]),
    ("Humanoid", "17x1", None),
    ("HumanoidStandup", "17x1", None),
]
# Entries of a state before those of contact forces, which v2's robots know none of, and all of them.
FORCELESS = {"Ant": (27, 111), "Humanoid": (292, 376), "HumanoidStandup": (292, 376)}


def paid_without_forces(scenario: str, frame: dict) -> float:
    """What v4 pays, less what it charges for contact forces."""
    if scenario != "HumanoidStandup":
        return frame["reward"]
    return frame["reward"] + min(0.5e-6 * np.square(frame["state"][292:]).sum(), 10)


@pytest.mark.parametrize(("scenario", "conf", "order"), ALONE, ids=[s for s, _, _ in ALONE])
def test_older_rules(scenario: str, conf: str, order: list[int] | None) -> None:
    """`base=v2` against gymnasium's v4 robots, which keep v2's rules where these know of no contact forces."""
    with Motley() as motley:
        for episode, theirs in episodes(lambda number: driver.play_alone(f"{scenario}-v4", 2000 + number, EPISODE, order)):
            ours = motley.play(task(scenario, conf, []), ["base=v2"], theirs)
            for step, (a, b) in enumerate(zip(ours, theirs["frames"])):
                where = f"{scenario}, seed {2000 + episode}, step {step}"
                state = floats(a["state"])
                before, entries = FORCELESS.get(scenario, (len(state), len(state)))
                assert len(state) == entries and not state[before:].any(), where
                same_bits(floats(a["qpos"]), b["qpos"], f"{where}: qpos")
                same_bits(state[:before], b["state"][:before], f"{where}: state", 1 if scenario == "Reacher" else 0)
                paid = paid_without_forces(scenario, b) if step else b["reward"]
                gap = abs(floats([a["reward"]])[0] - paid)
                assert gap <= 1e-12 * max(1, abs(paid)), f"{where}: rewards differ by {gap}"
                assert a["status"] == b["status"], where


@pytest.mark.parametrize(("scenario", "conf"), [("Ant", "4x2"), ("Humanoid", "9|8"), ("HalfCheetah", "2x3")])
def test_full_observations_and_concatenated_actions(scenario: str, conf: str) -> None:
    """HARL's view of a robot, computed by numpy from gymnasium's observation."""
    rng = np.random.default_rng(5)
    env = driver.make(scenario, conf, 0)
    env.reset(seed=5)
    engine = env.single_agent_env.unwrapped
    agents = len(env.possible_agents)
    low, high = engine.model.actuator_ctrlrange.T

    def standard(x):
        return (x - x.mean()) / x.std()

    def seen(reward, status):
        base = engine._get_obs()
        obs = [standard(np.concatenate([base, np.eye(agents)[i]])) for i in range(agents)]
        return driver.frame(engine, obs, standard(base), reward, status)

    frames, actions = [seen(0.0, "running")], []
    for _ in range(50):
        action = rng.uniform(-1, 1, len(low)).astype(np.float32).astype(np.float64)
        _, reward, ended, _, _ = env.single_agent_env.step((action + 1) / 2 * (high - low) + low)
        actions.append(action)
        frames.append(seen(reward, "terminated" if ended else "running"))
        if ended:
            break
    with Motley() as motley:
        ours = motley.play(f"mamujoco/{scenario}-{conf}", ["obs=full", "actions=concat"], {"frames": frames, "actions": actions})
    for step, (a, b) in enumerate(zip(ours, frames)):
        same_bits(floats(a["qpos"]), b["qpos"], f"step {step}: qpos")
        for x, y in zip([*a["obs"], a["state"]], [*b["obs"], b["state"]], strict=True):
            np.testing.assert_allclose(floats(x), y, rtol=1e-12, atol=1e-12)
        assert abs(floats([a["reward"]])[0] - b["reward"]) <= 1e-12 * max(1, abs(b["reward"]))
        assert a["status"] == b["status"]
