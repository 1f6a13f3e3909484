"""SMAX, JaxMARL's combat (jitted, vectorised, XLA on all cores), on 3m and 8m: random available actions, auto-reset."""

import time

import jax
import jax.numpy as jnp
import jaxmarl
from jaxmarl.environments.smax import map_name_to_scenario

from common import ROUNDS, Duel, motley

STEPS = 64
ENVS = 1024
MAPS = ("3m", "8m")


def runner(map_name):
    env = jaxmarl.make("HeuristicEnemySMAX", scenario=map_name_to_scenario(map_name))

    def drawn(key, mask):
        return jax.random.categorical(key, jnp.where(mask > 0, 0.0, -jnp.inf))

    def one(carry, _):
        state, key = carry
        key, act, move = jax.random.split(key, 3)
        masks = jax.vmap(env.get_avail_actions)(state)
        acts = jax.random.split(act, env.num_agents)
        actions = {a: drawn(k, masks[a]) for a, k in zip(env.agents, acts)}
        obs, state, reward, _, _ = jax.vmap(env.step)(jax.random.split(move, ENVS), state, actions)
        # What nobody reads is not computed: the sums keep observations and rewards alive.
        return (state, key), (sum(o.sum() for o in obs.values()), sum(r.sum() for r in reward.values()))

    @jax.jit
    def run(state, key):
        (state, key), sums = jax.lax.scan(one, (state, key), None, STEPS)
        return state, key, [s.sum() for s in sums]

    key = jax.random.PRNGKey(0)
    _, state = jax.vmap(env.reset)(jax.random.split(key, ENVS))
    held = [state, key]

    def step():
        state, key, sums = run(*held)
        held[:] = [jax.block_until_ready(state), key]
        jax.block_until_ready(sums)

    step()
    return step


def rate(step):
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1.0:
        step()
        count += ENVS * STEPS
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    runners = {name: runner(name) for name in MAPS}
    duel = Duel("SMAX", "env steps/s, all cores")
    for _ in range(ROUNDS):
        for name, step in runners.items():
            duel.add(name, "peer", rate(step))
            (event,) = motley("env", f"skirmish/{name}", "--seconds", "1")
            duel.add(name, "motley", event["env_steps_per_second"])
    duel.show()
