"""mpe2's simple_spread_v3 (parallel interface, one core): random actions, resets included."""

import time

from mpe2 import simple_spread_v3

from common import env_duel

ENV = simple_spread_v3.parallel_env()


def rates():
    ENV.reset(seed=0)
    drawn = [{a: ENV.action_space(a).sample() for a in ENV.possible_agents} for _ in range(256)]
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1.0:
        if not ENV.agents:
            ENV.reset()
        ENV.step(drawn[count % len(drawn)])
        count += 1
    return {"simple_spread, one core": count / (time.perf_counter() - start)}


if __name__ == "__main__":
    env_duel("mpe2", "mpe/simple_spread_v3", rates)
