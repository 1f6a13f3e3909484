"""gymnasium-robotics' multi-agent MuJoCo (parallel interface, one core): random actions, resets included. Motley needs its MuJoCo
(`scripts/get-mujoco`, `cargo build --release --features motley/mujoco`)."""

import time

from gymnasium_robotics import mamujoco_v1

from common import ROUNDS, Duel, motley

ROBOTS = [("HalfCheetah", "6x1"), ("Hopper", "3x1"), ("Walker2d", "2x3"), ("Ant", "4x2"), ("Humanoid", "9|8"), ("Swimmer", "2x1")]


def rate(robot, factor):
    """Env steps a second of one environment on one core, over a second."""
    env = mamujoco_v1.parallel_env(robot, factor)
    env.reset(seed=0)
    drawn = [{a: env.action_space(a).sample() for a in env.possible_agents} for _ in range(256)]
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1.0:
        _, _, terminated, truncated, _ = env.step(drawn[count % len(drawn)])
        if any(terminated.values()) or any(truncated.values()):
            env.reset()
        count += 1
    found = count / (time.perf_counter() - start)
    env.close()
    return found


if __name__ == "__main__":
    duel = Duel("gymnasium-robotics", "env steps/s, one core")
    for _ in range(ROUNDS):
        for robot, factor in ROBOTS:
            name = f"{robot}-{factor}"
            duel.add(name, "peer", rate(robot, factor))
            (event,) = motley("env", f"mamujoco/{name}", "--seconds", "1")
            duel.add(name, "motley", event["env_steps_per_second_one_core"])
    duel.show()
