"""The PPO gradient step of the reference network (LayerNorm, 18-128-128-5, ReLU) in jitted JAX on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import gradient_duel

WIDTHS = [18, 128, 128, 5]


def init(rng):
    layers = []
    for k, n in zip(WIDTHS, WIDTHS[1:]):
        layers.append(
            {
                "gamma": jnp.ones(k),
                "beta": jnp.zeros(k),
                "w": jnp.asarray(rng.normal(size=(k, n)) / k**0.5, jnp.float32),
                "b": jnp.zeros(n),
            }
        )
    return layers


def forward(layers, x):
    for i, layer in enumerate(layers):
        mean = x.mean(-1, keepdims=True)
        var = jnp.square(x - mean).mean(-1, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(var + 1e-5) * layer["gamma"] + layer["beta"]
        x = x @ layer["w"] + layer["b"]
        if i + 1 < len(layers):
            x = jax.nn.relu(x)
    return x


def loss(layers, x, action, old, advantage):
    log_p = jax.nn.log_softmax(forward(layers, x))
    now = jnp.take_along_axis(log_p, action[:, None], 1)[:, 0]
    ratio = jnp.exp(now - old)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
    entropy = -(jnp.exp(log_p) * log_p).sum(-1)
    return -(surrogate + 0.01 * entropy).mean()


def step_of(rows):
    rng = np.random.default_rng(rows)
    data = (
        jnp.asarray(rng.normal(size=(rows, 18)), jnp.float32),
        jnp.asarray(rng.integers(0, 5, rows)),
        jnp.full(rows, -1.609, jnp.float32),
        jnp.asarray(rng.normal(size=rows), jnp.float32),
    )
    adam = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(5e-4, eps=1e-5))

    @jax.jit
    def update(layers, state):
        grads = jax.grad(loss)(layers, *data)
        moves, state = adam.update(grads, state)
        return optax.apply_updates(layers, moves), state

    held = [init(rng)]
    held.append(adam.init(held[0]))

    def step():
        held[:] = update(*held)
        jax.block_until_ready(held[0])

    return step


if __name__ == "__main__":
    gradient_duel(f"JAX {jax.__version__}", step_of)
