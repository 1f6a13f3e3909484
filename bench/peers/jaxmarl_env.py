"""JaxMARL's MPE_simple_spread_v3 (jitted, vectorised, XLA on all cores): random actions, auto-reset."""

import time

import jax
import jaxmarl

from common import env_duel

STEPS = 128
ENVS = (16, 256, 4096)


def runner(envs):
    env = jaxmarl.make("MPE_simple_spread_v3")

    def one(carry, _):
        state, key = carry
        key, act, move = jax.random.split(key, 3)
        acts = jax.random.split(act, env.num_agents)
        actions = {a: jax.random.randint(k, (envs,), 0, env.action_space(a).n) for a, k in zip(env.agents, acts)}
        obs, state, reward, _, _ = jax.vmap(env.step)(jax.random.split(move, envs), state, actions)
        # What nobody reads is not computed: the sums keep observations and rewards alive.
        return (state, key), (sum(o.sum() for o in obs.values()), sum(r.sum() for r in reward.values()))

    @jax.jit
    def run(state, key):
        (state, key), sums = jax.lax.scan(one, (state, key), None, STEPS)
        return state, key, [s.sum() for s in sums]

    key = jax.random.PRNGKey(0)
    _, state = jax.vmap(env.reset)(jax.random.split(key, envs))
    held = [state, key]

    def step():
        state, key, sums = run(*held)
        held[:] = [jax.block_until_ready(state), key]
        jax.block_until_ready(sums)

    step()
    return step


RUNNERS = {envs: runner(envs) for envs in ENVS}


def rates():
    found = {}
    for envs, step in RUNNERS.items():
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            step()
            count += envs * STEPS
        found[f"simple_spread, {envs} envs there"] = count / (time.perf_counter() - start)
    return found


if __name__ == "__main__":
    env_duel(f"JaxMARL {jaxmarl.__version__ if hasattr(jaxmarl, '__version__') else ''}", "mpe/simple_spread_v3", rates)
