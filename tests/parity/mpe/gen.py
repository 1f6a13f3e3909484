"""Writes the recorded episodes that crates/motley-envs/tests/mpe_parity.rs replays. Needs mpe2 1.1.1.

A file holds a line of JSON (task, settings, sizes), then for each episode, little-endian: the seed (u32), the number of
steps (u32), the landmarks' first positions (f64), the start and each step. The start is a frame; a step is the joint
action (f32) and a frame. A frame is the agents' positions, velocities and rewards (f64), and FNV-1a of the observations'
bytes (u64).
"""

from __future__ import annotations

import json
import pathlib
import struct
import sys

import numpy as np

import driver

EPISODES = 4


def fnv(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def frame(values: dict) -> bytes:
    """One frame as bytes."""
    team = 2 * len(values["rewards"])
    numbers = np.concatenate([values["pos"][:team], values["vel"][:team], values["rewards"]]).astype("<f8").tobytes()
    return numbers + struct.pack("<Q", fnv(values["obs"].astype("<f4").tobytes()))


def main(folder: pathlib.Path) -> None:
    """Records every task, discrete and continuous."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in driver.TASKS:
        for continuous in ("false", "true"):
            settings = [f"continuous={continuous}"]
            env = driver.make(task, settings)
            played = [driver.play(env, 1000 + 7 * k, driver.STYLES[k % 4]) for k in range(EPISODES)]
            first = played[0]["frames"][0]
            header = {
                "task": f"mpe/{task}",
                "settings": settings,
                "bodies": len(first["pos"]) // 2,
                "agents": len(first["rewards"]),
                "obs": len(first["obs"]),
                "actions": len(played[0]["actions"][0]),
                "episodes": EPISODES,
            }
            data = json.dumps(header).encode() + b"\n"
            for episode in played:
                start = episode["frames"][0]
                data += struct.pack("<II", episode["seed"], len(episode["actions"]))
                data += start["pos"][2 * len(start["rewards"]) :].astype("<f8").tobytes() + frame(start)
                for action, values in zip(episode["actions"], episode["frames"][1:]):
                    data += action.astype("<f4").tobytes() + frame(values)
            (folder / f"{task}-{'continuous' if continuous == 'true' else 'discrete'}.trace").write_bytes(data)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
