"""The gradients of value-based learning against JAX.

Targets, mixers and losses are written here a second time, episode by episode, in float64: JAX differentiates them. The Rust example
`value_gradients` prints what the learners really stepped along, with their replay, networks and targets.
"""

import json

import pytest

jax = pytest.importorskip("jax", reason="the oracle of gradients needs JAX: run scripts/test")
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from test_losses_jax import gru_cell, head, layer_norm, trunk  # noqa: E402

# Motley computes in float32, and the gradient is the difference of two moments.
TOLERANCE = 1e-4

CASES = [
    "vdn, recurrent, Q(lambda)",
    "vdn, feed-forward, targets' own choices",
    "qmix, recurrent",
    "qmix, n-step, linear hypernetworks",
    "qtran, hidden",
    "qtran, actions",
    "iql, hysteretic, own rewards",
    "iql, importance, fingerprints",
]


@pytest.fixture(scope="module")
def cases(rust_example):
    printed = json.loads(rust_example("motley-algos", "value_gradients", "MOTLEY_VALUE_GRADIENTS"))["cases"]
    return {case["name"]: case for case in printed}


def cut(widths):
    ends = np.cumsum(widths)
    return [slice(end - width, end) for end, width in zip(ends, widths)]


class Replay:
    """The stored episodes, read from the bytes of a checkpoint: of each its rewards in doubles, then its observations, states, notes,
    actions and log-probabilities in floats, then its masks and who was alive in bytes."""

    def __init__(self, case):
        state, sizes = case["state"], case["sizes"]
        limit = case["settings"]["algo"]["episode_limit"]
        counters = state["replay.counters"]
        self.count = counters[1]
        self.lengths = [c // 2 for c in counters[3 : 3 + self.count]]
        self.terminated = [c % 2 == 1 for c in counters[3 : 3 + self.count]]
        self.obs_at, self.mask_at = cut(sizes["obs"]), cut(sizes["choices"])
        raw, at = np.array(state["replay.episodes"], dtype=np.uint8).tobytes(), 0
        agents, steps = len(sizes["obs"]), sum(self.lengths)
        frame = 4 * (sum(sizes["obs"]) + sizes["state"]) + sum(sizes["choices"]) + agents
        notes, rest = divmod(len(raw) - steps * 16 * agents - (steps + self.count) * frame, 4 * (steps + self.count))
        assert rest == 0
        # Name, frames beyond the steps, width, type.
        columns = [
            ("rewards", 0, agents, "<f8"),
            ("obs", 1, sum(sizes["obs"]), "<f4"),
            ("state", 1, sizes["state"], "<f4"),
            ("notes", 1, notes, "<f4"),
            ("actions", 0, agents, "<f4"),
            ("log_probs", 0, agents, "<f4"),
            ("avail", 1, sum(sizes["choices"]), "u1"),
            ("alive", 1, agents, "u1"),
        ]
        for name, frames, width, _ in columns:
            setattr(self, name, np.zeros((self.count, limit + frames, width)))
        for b, length in enumerate(self.lengths):
            for name, frames, width, kind in columns:
                values = np.frombuffer(raw, kind, (length + frames) * width, at)
                getattr(self, name)[b, : length + frames] = values.reshape(length + frames, width)
                at += values.nbytes
        assert at == len(raw)


def entries(group, flat):
    part = lambda e: flat[e["offset"] : e["offset"] + int(np.prod(e["shape"]))].reshape(e["shape"])  # noqa: E731
    return {e["name"]: part(e) for e in group["entries"]}


def linear_stack(flat, widths, at=0):
    """Linear, ReLU, ..., Linear over weights [in, out] then biases, layer after layer; returns the function and where it ends."""
    layers = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        weight = flat[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
        at += fan_in * fan_out
        layers.append((weight, flat[at : at + fan_out]))
        at += fan_out

    def run(x):
        for k, (weight, bias) in enumerate(layers):
            x = x @ weight + bias
            x = jax.nn.relu(x) if k + 1 < len(layers) else x
        return x

    return run, at


class Team:
    """The utilities of one set of parameters on one episode: values and memories of every agent in every frame."""

    def __init__(self, case, replay, flats, b):
        self.q, self.h = {}, {}
        net, sizes = case["settings"]["net"], case["sizes"]
        length = replay.lengths[b]
        for group, flat in zip(case["groups"], flats):
            p = entries(group, flat)
            for m, i in enumerate(group["members"]):
                rows = []
                for t in range(length + 1):
                    parts = [replay.obs[b, t, replay.obs_at[i]]]
                    if case["settings"]["algo"].get("fingerprint"):
                        parts.append(replay.notes[b, t, :2])
                    if net["last_action"]:
                        last = np.zeros(sizes["choices"][i])
                        if t > 0:
                            last[int(replay.actions[b, t - 1, i])] = 1
                        parts.append(last)
                    if len(group["members"]) > 1:
                        parts.append(np.eye(len(group["members"]))[m])
                    rows.append(np.concatenate(parts))
                x = trunk(p, np.array(rows), group["activation"])
                if net["recurrent"]:
                    h, seen = jnp.zeros(x.shape[1]), []
                    for t in range(length + 1):
                        h = gru_cell(p, x[t], h)
                        seen.append(layer_norm(h, p["gru.norm.gamma"], p["gru.norm.beta"]) if "gru.norm.gamma" in p else h)
                    x = jnp.stack(seen)
                self.h[i], self.q[i] = x, head(p, x)

    def best(self, replay, b, t, i):
        open_ = replay.avail[b, t, replay.mask_at[i]] > 0
        return int(np.argmax(np.where(open_, np.asarray(self.q[i][t]), -np.inf)))


def mixed(case, flat, state, q):
    """QMIX, from the paper's figure."""
    algo, n, s = case["settings"]["algo"], 3, case["sizes"]["state"]
    embed, hyper = algo["mixer_embed"], algo["hyper_sizes"]
    w1, at = linear_stack(flat, [s, *hyper, n * embed])
    b1, at = linear_stack(flat, [s, embed], at)
    w2, at = linear_stack(flat, [s, *hyper, embed], at)
    v, _ = linear_stack(flat, [s, embed, 1], at)
    hidden = jax.nn.elu(q @ jnp.abs(w1(state)).reshape(n, embed) + b1(state))
    return hidden @ jnp.abs(w2(state)) + v(state)[0]


class Joint:
    """QTRAN's joint value and state value."""

    def __init__(self, case, flat):
        algo, sizes = case["settings"]["algo"], case["sizes"]
        self.choices, self.groups = sizes["choices"], case["groups"]
        self.remembers = case["settings"]["net"]["recurrent"] and algo["joint"] != "actions"
        hidden = case["settings"]["net"]["hidden_sizes"][-1]
        inputs = [hidden + self.choices[g["members"][0]] for g in self.groups]
        code = max(inputs) if self.remembers else sum(self.choices)
        embed = algo["mixer_embed"]
        self.q, at = linear_stack(flat, [sizes["state"] + code, embed, embed, 1])
        self.v, at = linear_stack(flat, [sizes["state"], embed, embed, 1], at)
        self.encoders = []
        for width in inputs if self.remembers else []:
            encoder, at = linear_stack(flat, [width, width, code], at)
            self.encoders.append(encoder)

    def value(self, state, memories, picks):
        """`picks[i]` is None for the dead."""
        hot = lambda i: np.eye(self.choices[i])[picks[i]] if picks[i] is not None else np.zeros(self.choices[i])  # noqa: E731
        if self.remembers:
            code = 0.0
            for encoder, group in zip(self.encoders, self.groups):
                for i in group["members"]:
                    if picks[i] is not None:
                        code = code + encoder(jnp.concatenate([memories[i], hot(i)]))
        else:
            code = np.concatenate([hot(i) for i in range(3)])
        return self.q(jnp.concatenate([state, code]))[0]


def targets(algo, rewards, follows, terminated):
    """The definitions: explicit n-step sums, or Peng's recursion."""
    length, gamma, y = len(rewards), algo["gamma"], []
    for t in range(length):
        if algo["returns"] == "n_step":
            stop = min(t + algo["n_step"], length)
            total = sum(gamma ** (k - t) * rewards[k] for k in range(t, stop))
            over = terminated and stop == length
            y.append(total + (0.0 if over else gamma ** (stop - t) * follows[stop - 1]))
        else:
            # The lambda-weighted mean of all n-step returns.
            lam, total = algo["td_lambda"], 0.0
            for stop in range(t + 1, length + 1):
                n_step = sum(gamma ** (k - t) * rewards[k] for k in range(t, stop))
                if not (terminated and stop == length):
                    n_step += gamma ** (stop - t) * follows[stop - 1]
                weight = lam ** (stop - t - 1) * ((1 - lam) if stop < length else 1.0)
                total += weight * n_step
            y.append(total)
    return np.array(y)


def split(case, replay, flat):
    flats, at = [], 0
    for group in case["groups"]:
        last = group["entries"][-1]
        size = last["offset"] + int(np.prod(last["shape"]))
        flats.append(flat[at : at + size])
        at += size
    return flats, flat[at:]


def loss(case, replay, target, online, flat):
    """The loss of the parameters `flat`. Choices and signs, which have no derivative, are those of `online`, the same numbers
    outside of JAX's trace."""
    algo, name = case["settings"]["algo"], case["algo"]
    flats, mixer = split(case, replay, flat)
    target_flats, target_mixer = split(case, replay, target)
    fixed_flats, _ = split(case, replay, online)
    total, count = 0.0, 0
    for b in range(replay.count):
        length = replay.lengths[b]
        now, late = Team(case, replay, flats, b), Team(case, replay, target_flats, b)
        fixed = Team(case, replay, fixed_flats, b)
        alive = replay.alive[b] > 0
        choice = (fixed if algo["double_q"] else late).best
        pick = lambda who, t, i: who(replay, b, t, i) if alive[t, i] else None  # noqa: E731
        taken = lambda t: [int(replay.actions[b, t, i]) if alive[t, i] else None for i in range(3)]  # noqa: E731
        value = lambda team, t, picks: jnp.stack([team.q[i][t, picks[i]] if picks[i] is not None else 0.0 for i in range(3)])  # noqa: E731
        nexts = [[pick(choice, t, i) for i in range(3)] for t in range(length + 1)]
        if name == "iql":
            for i in range(3):
                follows = [float(value(late, t + 1, nexts[t + 1])[i]) for t in range(length)]
                # Paid apart: what an agent earns ends with it.
                died = next((t for t in range(length) if alive[t, i] and not alive[t + 1, i]), None)
                last = length if died is None else died + 1
                y = targets(algo, replay.rewards[b, :last, i], follows[:last], died is not None or replay.terminated[b])
                for t in range(length):
                    if not alive[t, i]:
                        continue
                    choice_made = int(replay.actions[b, t, i])
                    weight = algo["hysteretic"] if y[t] < float(fixed.q[i][t, choice_made]) else 1.0
                    if algo["importance"]:
                        weight *= importance(case, replay, fixed, b, t, i, alive)
                    total, count = total + weight * (y[t] - now.q[i][t, choice_made]) ** 2, count + 1
            continue
        rewards = replay.rewards[b, :length].sum(-1)
        if name == "qtran":
            joint, late_joint = Joint(case, mixer), Joint(case, target_mixer)
            follows = [float(late_joint.value(replay.state[b, t + 1], {i: late.h[i][t + 1] for i in range(3)}, nexts[t + 1])) for t in range(length)]
        elif name == "qmix":
            follows = [float(mixed(case, target_mixer, replay.state[b, t + 1], value(late, t + 1, nexts[t + 1]))) for t in range(length)]
        else:
            follows = [float(value(late, t + 1, nexts[t + 1]).sum()) for t in range(length)]
        y = targets(algo, rewards, follows, replay.terminated[b])
        for t in range(length):
            state, q = replay.state[b, t], value(now, t, taken(t))
            count += 1
            if name == "vdn":
                total += algo["loss_coef"] * (q.sum() - y[t]) ** 2
            elif name == "qmix":
                total += algo["loss_coef"] * (mixed(case, mixer, state, q) - y[t]) ** 2
            else:
                memories = {i: now.h[i][t] for i in range(3)}
                greedy = [pick(fixed.best, t, i) for i in range(3)]
                own = joint.value(state, memories, taken(t))
                at_best = jax.lax.stop_gradient(joint.value(state, memories, greedy))
                v = joint.v(state)[0]
                opt = value(now, t, greedy).sum() - at_best + v
                nopt = jnp.minimum(0.0, q.sum() - jax.lax.stop_gradient(own) + v)
                total += algo["loss_coef"] * (own - y[t]) ** 2 + algo["opt_coef"] * opt**2 + algo["nopt_coef"] * nopt**2
    return total / count


def importance(case, replay, team, b, t, i, alive):
    epsilon, product = case["settings"]["algo"]["epsilon_end"], 1.0
    for j in range(3):
        if j == i or not alive[t, j]:
            continue
        available = replay.avail[b, t, replay.mask_at[j]].sum()
        best = team.best(replay, b, t, j) == int(replay.actions[b, t, j])
        product *= (epsilon / available + (1 - epsilon) * best) / np.exp(replay.log_probs[b, t, j])
    return min(product, case["settings"]["algo"]["importance_clip"])


@pytest.mark.parametrize("name", CASES)
def test_gradient(cases, name):
    case = cases[name]
    replay, state = Replay(case), case["state"]

    def flat(which):
        parts = [state[f"utility.{g}.{which}"] for g in range(len(case["groups"]))]
        parts += [state[f"{mixer}.{which}"] for mixer in ("mixer", "joint") if f"{mixer}.{which}" in state]
        return np.concatenate(parts)

    online, target = flat("params"), flat("target_params")
    assert np.abs(online - target).max() > 0.01, "targets must differ for the test to mean anything"
    assert replay.count >= 6 and True in replay.terminated and False in replay.terminated
    exact = np.array(jax.grad(lambda p: loss(case, replay, target, online, p))(jnp.array(online)))
    found = np.array(case["gradient"])
    assert found.shape == exact.shape
    assert np.linalg.norm(found - exact) <= TOLERANCE * np.linalg.norm(exact)
    assert np.abs(found - exact).max() <= TOLERANCE * np.abs(exact).max()


def test_every_case_was_judged(cases):
    assert set(cases) == set(CASES)
