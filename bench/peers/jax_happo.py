"""HAPPO in HARL's ways on simple_spread, written anew in JAX: does Motley's learn as an independent implementation does?

    python bench/peers/jax_happo.py --seed 1
    motley train happo mpe/simple_spread_v3 preset=harl task.flavour=v2 task.continuous=false \
        schedule_steps=10000000 total_steps=1500000 seed=1

Both print or log the return of 100 episodes of greedy play every 100,000 env steps. Nothing is shared between the two but the description of
the algorithm (Zhong et al., JMLR 25, 2024, and HARL's tuned settings) and of the task, so that no seed gives the same curve in
both: what can be compared is how curves of several seeds lie.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import optax

AGENTS, ENVS, STEPS, EPISODE = 3, 20, 200, 25
GAMMA, LAMBDA, CLIP, ENTROPY, EPOCHS, HUBER = 0.99, 0.95, 0.2, 0.01, 5, 10.0
PER_ITERATION, EVERY, EVALUATED = ENVS * STEPS, 25, 100
DIRECTION = jnp.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], jnp.float32)
OTHERS = jnp.array([[1, 2], [0, 2], [0, 1]])
optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(5e-4, eps=1e-5))


def reset(key):
    agents, marks = jax.random.uniform(key, (2, AGENTS, 2), minval=-1.0, maxval=1.0)
    return {"at": agents, "speed": jnp.zeros((AGENTS, 2)), "marks": marks, "t": jnp.int32(0)}


def observe(s):
    """[agents, 18]: velocity, position, landmarks and others as seen from here, and the others' silence."""

    def one(i):
        seen = (s["marks"] - s["at"][i]).ravel(), (s["at"][OTHERS[i]] - s["at"][i]).ravel()
        return jnp.concatenate([s["speed"][i], s["at"][i], *seen, jnp.zeros(4)])

    return jnp.stack([one(i) for i in range(AGENTS)])


def step(s, action, v2):
    """The next state and the sum of the agents' rewards; in V2 positions move with the new velocity and agents hit themselves."""
    apart = s["at"][:, None] - s["at"]
    gap = jnp.sqrt(jnp.square(apart).sum(-1) + jnp.eye(AGENTS))
    depth = 1e-3 * jnp.logaddexp(0.0, (0.3 - gap) / 1e-3) * (1 - jnp.eye(AGENTS))
    force = 5.0 * DIRECTION[action] + (100.0 * apart * (depth / gap)[..., None]).sum(1)
    speed = 0.75 * s["speed"] + 0.1 * force
    at = s["at"] + 0.1 * jnp.where(v2, speed, s["speed"])
    nearest = jnp.linalg.norm(s["marks"][:, None] - at, axis=-1).min(1)
    touch = (jnp.square(at[:, None] - at).sum(-1) < 0.3**2) & (v2 | ~jnp.eye(AGENTS, dtype=bool))
    reward = -0.5 * AGENTS * nearest.sum() - 0.5 * touch.sum()
    return {"at": at, "speed": speed, "marks": s["marks"], "t": s["t"] + 1}, reward


def network(key, inputs, outputs, gain):
    keys, orthogonal = jax.random.split(key, 3), jax.nn.initializers.orthogonal
    shapes = [(inputs, 128, 2**0.5), (128, 128, 2**0.5), (128, outputs, gain)]
    weights = [orthogonal(g)(k, (i, o), jnp.float32) for k, (i, o, g) in zip(keys, shapes)]
    return [{"scale": jnp.ones(w.shape[0]), "shift": jnp.zeros(w.shape[0]), "w": w, "b": jnp.zeros(w.shape[1])} for w in weights]


def forward(layers, x):
    for k, layer in enumerate(layers):
        x = jax.nn.relu(x) if k else x
        x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
        x = (x * layer["scale"] + layer["shift"]) @ layer["w"] + layer["b"]
    return x


def log_prob(layers, observed, action):
    return jnp.take_along_axis(jax.nn.log_softmax(forward(layers, observed)), action[..., None], -1)[..., 0]


def moments(norm):
    """Mean and standard deviation of the value norm: debiased running sums."""
    mean, square = norm[0] / jnp.maximum(norm[2], 1e-5), norm[1] / jnp.maximum(norm[2], 1e-5)
    return mean, jnp.sqrt(jnp.maximum(square - mean**2, 1e-2))


def descend(loss, carry):
    params, state = carry
    updates, state = optimiser.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


def collect(c, key, v2):
    def move(s, key):
        draw, again = jax.random.split(key)
        observed = jax.vmap(observe)(s)
        logits = jax.vmap(forward, (0, 1), 1)(c["actors"], observed)
        action = jax.random.categorical(draw, logits)
        value = forward(c["critic"], observed.reshape(ENVS, -1))[:, 0]
        s, reward = jax.vmap(step, (0, 0, None))(s, action, v2)
        over = s["t"] >= EPISODE
        fresh = jax.vmap(reset)(jax.random.split(again, ENVS))
        s = jax.tree.map(lambda new, old: jnp.where(over.reshape((ENVS,) + (1,) * (old.ndim - 1)), new, old), fresh, s)
        return s, (observed, action, value, reward, 1.0 - over)

    return jax.lax.scan(move, c["env"], jax.random.split(key, STEPS))


def returns(reward, value, alive):
    """GAE as HARL has it with proper time limits: the step that a limit cuts has no advantage."""

    def back(gae, x):
        reward, now, after, alive = x
        gae = (reward + GAMMA * after * alive - now + GAMMA * LAMBDA * alive * gae) * alive
        return gae, gae + now

    return jax.lax.scan(back, jnp.zeros(ENVS), (reward, value[:-1], value[1:], alive), reverse=True)[1]


def update_actors(c, key, observed, action, advantage):
    """One agent after the other in a random order, each with the factor of those before it."""
    old = jax.vmap(log_prob, (0, 2, 2), 2)(c["actors"], observed, action)

    def agent(carry, i):
        actors, states, factor = carry
        own, state = jax.tree.map(lambda x: x[i], (actors, states))

        def loss(layers):
            logits = forward(layers, observed[:, :, i])
            ratio = jnp.exp(log_prob(layers, observed[:, :, i], action[:, :, i]) - old[:, :, i])
            surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
            entropy = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1)
            return -(factor * surrogate).mean() - ENTROPY * entropy.mean()

        own, state = jax.lax.fori_loop(0, EPOCHS, lambda _, x: descend(loss, x), (own, state))
        factor *= jnp.exp(log_prob(own, observed[:, :, i], action[:, :, i]) - old[:, :, i])
        actors, states = jax.tree.map(lambda all, one: all.at[i].set(one), (actors, states), (own, state))
        return (actors, states, factor), None

    start = (c["actors"], c["actor_states"], jnp.ones((STEPS, ENVS)))
    return jax.lax.scan(agent, start, jax.random.permutation(key, AGENTS))[0][:2]


def update_critic(c, state, old, target):
    def epoch(_, carry):
        critic, adam, norm = carry
        norm = jax.tree.map(lambda n, x: 0.99999 * n + 1e-5 * x, norm, (target.mean(), jnp.square(target).mean(), 1.0))
        mean, deviation = moments(norm)

        def huber(error):
            size = jnp.abs(error)
            return jnp.where(size <= HUBER, error**2 / 2, HUBER * (size - HUBER / 2))

        def loss(layers):
            value, goal = forward(layers, state)[..., 0], (target - mean) / deviation
            clipped = old + jnp.clip(value - old, -CLIP, CLIP)
            return jnp.maximum(huber(goal - value), huber(goal - clipped)).mean()

        return *descend(loss, (critic, adam)), norm

    return jax.lax.fori_loop(0, EPOCHS, epoch, (c["critic"], c["critic_state"], c["norm"]))


@jax.jit
def iterate(c, key, v2):
    draw, order = jax.random.split(key)
    env, (observed, action, value, reward, alive) = collect(c, draw, v2)
    last = forward(c["critic"], jax.vmap(observe)(env).reshape(ENVS, -1))[:, 0]
    mean, deviation = moments(c["norm"])
    values = jnp.concatenate([value, last[None]]) * deviation + mean
    target = returns(reward, values, alive)
    advantage = target - values[:-1]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-5)
    actors, actor_states = update_actors(c, order, observed, action, advantage)
    critic, critic_state, norm = update_critic(c, observed.reshape(STEPS, ENVS, -1), value, target)
    return {"actors": actors, "actor_states": actor_states, "critic": critic, "critic_state": critic_state, "norm": norm, "env": env}


@jax.jit
def evaluate(actors, key, v2):
    def move(s, _):
        logits = jax.vmap(forward, (0, 1), 1)(actors, jax.vmap(observe)(s))
        return jax.vmap(step, (0, 0, None))(s, logits.argmax(-1), v2)

    start = jax.vmap(reset)(jax.random.split(key, EVALUATED))
    return jax.lax.scan(move, start, length=EPISODE)[1].sum(0).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1_500_000)
    parser.add_argument("--flavour", choices=["v2", "v3"], default="v2")
    options = parser.parse_args()
    v2 = options.flavour == "v2"
    key, *own, critic_key, env_key = jax.random.split(jax.random.key(options.seed), AGENTS + 3)
    actors = jax.tree.map(lambda *x: jnp.stack(x), *[network(k, 18, 5, 0.01) for k in own])
    critic = network(critic_key, 18 * AGENTS, 1, 1.0)
    states = {"actor_states": jax.vmap(optimiser.init)(actors), "critic_state": optimiser.init(critic)}
    env = jax.vmap(reset)(jax.random.split(env_key, ENVS))
    c = {"actors": actors, "critic": critic, **states, "norm": (jnp.float32(0.0),) * 3, "env": env}
    began = time.perf_counter()
    for k in range(1, options.steps // PER_ITERATION + 1):
        key, train, play = jax.random.split(key, 3)
        c = iterate(c, train, v2)
        if k % EVERY == 0:
            print(f"{k * PER_ITERATION:>9} {evaluate(c['actors'], play, v2):8.2f}", flush=True)
    print(f"{options.steps / (time.perf_counter() - began):,.0f} env steps a second, compilation included")


if __name__ == "__main__":
    main()
