"""Every scenario of Motley's robots in vmas at 64 and 1024 environments and in Motley, on one core each.

Random actions, observations, rewards, resets after as many steps as Motley's default limit of the task. Name scenarios to time only those.
"""

import sys
import time

import torch
import vmas

from common import ROUNDS, Duel, motley

SCENARIOS = {
    "het_mass": 200, "give_way": 300, "multi_give_way": 300, "joint_passage": 300, "joint_passage_size": 300,
    "wind_flocking": 200, "passage": 100, "navigation": 100, "balance": 100, "wheel": 100, "transport": 100,
    "reverse_transport": 100, "dropout": 100, "dispersion": 100, "sampling": 100, "discovery": 100, "flocking": 100,
    "ball_passage": 100, "ball_trajectory": 100, "buzz_wire": 100, "simple_spread": 100, "football": 500,
}  # fmt: skip


def rate(env, envs, limit, budget=0.5):
    env.reset()
    start, count, t = time.perf_counter(), 0, 0
    while time.perf_counter() - start < budget:
        env.step([(2 * torch.rand(envs, 2) - 1) * a.action.u_range for a in env.agents])
        count, t = count + envs, t + 1
        if t % limit == 0:
            env.reset()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    torch.set_num_threads(1)
    duel = Duel("vmas", "env steps/s, one core")
    for name in sys.argv[1:] or SCENARIOS:
        made = {n: vmas.make_env(name, num_envs=n, device="cpu", continuous_actions=True, seed=0) for n in (64, 1024)}
        for _ in range(ROUNDS):
            for n, env in made.items():
                duel.add(f"{name}, {n} envs there", "peer", rate(env, n, SCENARIOS[name]))
            (event,) = motley("env", f"vmas/{name}", "--seconds", "0.5")
            for n in made:
                duel.add(f"{name}, {n} envs there", "motley", event["env_steps_per_second_one_core"])
    duel.show()
