"""CartPole-v1 in worker processes: round trips of Motley's shared-memory workers beside gymnasium's AsyncVectorEnv."""

import os
import sys
import time

import gymnasium

from common import Duel, ROUNDS, motley

TASK = "gym/CartPole-v1"
os.environ.setdefault("MOTLEY_PYTHON", sys.executable)


def rate(copies):
    """Env steps/s of `copies` processes, random actions, resets included."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs=copies, vectorization_mode="async")
    envs.reset(seed=0)
    drawn = [envs.action_space.sample() for _ in range(256)]
    for actions in drawn[:32]:
        envs.step(actions)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 2.0:
        envs.step(drawn[count % len(drawn)])
        count += 1
    spent = time.perf_counter() - start
    envs.close()
    return copies * count / spent


if __name__ == "__main__":
    duel = Duel("AsyncVectorEnv", "env steps/s")
    cores = os.cpu_count() or 1
    for _ in range(ROUNDS):
        duel.add("one copy", "peer", rate(1))
        for copies in (cores, 8):
            duel.add("all cores", "peer", rate(copies))
        (event,) = motley("env", TASK, "--seconds", "2")
        duel.add("one copy", "motley", event["env_steps_per_second_one_core"])
        duel.add("all cores", "motley", event["env_steps_per_second"])
    duel.show()
