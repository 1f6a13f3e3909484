"""Writes crates/motley-mujoco/tests/mamujoco_record.json: hashes of episodes of gymnasium-robotics, for where Python is absent.

Usage: record.py > crates/motley-mujoco/tests/mamujoco_record.json
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import driver  # noqa: E402
import test_mamujoco_live as live  # noqa: E402

STEPS = 100
MASK = (1 << 64) - 1


class Lcg:
    """Actions that two programs can draw alike."""

    def __init__(self, seed: int):
        self.state = seed

    def next(self) -> np.float32:
        self.state = (self.state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) & MASK
        return np.float32(np.trunc((self.state >> 57) - 63.5) / 64.0)


def fnv(value: int, numbers: np.ndarray) -> int:
    for byte in (np.ascontiguousarray(numbers, dtype=np.float64) + 0.0).tobytes():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def bits(numbers: np.ndarray) -> list[str]:
    return [f"{int(x):016x}" for x in np.ascontiguousarray(numbers).view(np.uint64)]


def episode(scenario: str, conf: str, depth: int, settings: list[str], seed: int) -> dict:
    env = driver.make(scenario, conf, depth)
    obs, _ = env.reset(seed=seed)
    engine, draws = env.single_agent_env.unwrapped, Lcg(seed)
    start = {"qpos": bits(engine.data.qpos), "qvel": bits(engine.data.qvel)}
    agents = list(env.possible_agents)

    def look(value: int, obs: dict) -> int:
        return fnv(value, np.concatenate([engine.data.qpos, engine.data.qvel, *[obs[a] for a in agents], env.state()]))

    value, total, steps = look(0xCBF29CE484222325, obs), 0.0, 0
    while steps < STEPS:
        joint = {}
        for agent in agents:
            space = env.action_space(agent)
            high = np.broadcast_to(space.high, space.shape)
            joint[agent] = np.array([h * draws.next() for h in high], dtype=np.float32).astype(np.float64)
        obs, rewards, ended, cut, _ = env.step(joint)
        value, total, steps = look(value, obs), total + float(rewards[agents[0]]), steps + 1
        if ended[agents[0]] or cut[agents[0]]:
            break
    settings = [*settings, f"obsk={depth}"]
    return {"task": live.task(scenario, conf, settings), "settings": settings, "seed": seed, **start, "steps": steps, "return": total, "hash": f"{value:016x}"}


def main() -> None:
    # Not the reacher: it shows sines, of which numpy and libm may differ in the last bit.
    cases = [case for case in live.CASES if case[0] != "Reacher"]
    episodes = [episode(*case, seed) for case in cases for seed in (11, 12)]
    lines = ",\n".join(json.dumps(e) for e in episodes)
    print(f'{{"peer": "gymnasium-robotics 1.4.2, mujoco 3.17.0", "episodes": [\n{lines}\n]}}')


main()
