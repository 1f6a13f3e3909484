"""vmas's own simple_spread (PyTorch, vectorised, all cores): random actions, resets at its limit of 100 steps."""

import time

import torch
import vmas

from common import env_duel

ENVS = (60, 4096)
MADE = {n: vmas.make_env("simple_spread", num_envs=n, device="cpu", continuous_actions=True, max_steps=100) for n in ENVS}


def rates():
    found = {}
    for n, env in MADE.items():
        env.reset()
        start, count, t = time.perf_counter(), 0, 0
        while time.perf_counter() - start < 1.0:
            env.step([2 * torch.rand(n, 2) - 1 for _ in env.agents])
            count, t = count + n, t + 1
            if t % 100 == 0:
                env.reset()
        found[f"simple_spread, {n} envs there"] = count / (time.perf_counter() - start)
    return found


if __name__ == "__main__":
    env_duel("vmas", "vmas/simple_spread", rates)
