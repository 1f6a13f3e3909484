"""Motley's gradients against JAX.

The losses and networks are written here a second time, from the papers' formulas, in float64 and without a look at the
Rust code's derivatives: JAX differentiates them. The Rust example `gradients` takes one real step with each learner and
prints what it stepped along, once by the fused kernels and once by Burn's autodiff.
"""

import json

import pytest

jax = pytest.importorskip("jax", reason="the oracle of gradients needs JAX: run scripts/test")
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

# Motley computes in float32: this is the largest difference allowed, relative to the gradient's norm and to its largest entry.
TOLERANCE = 1e-5

CASES = [
    "categorical with mask",
    "multi-discrete with mask, a minibatch",
    "gaussian",
    "tanh gaussian, unclipped ratio",
    "recurrent categorical in chunks",
    "recurrent gaussian, half of the chunks",
    "kl drift",
    "square drift",
    "log probability",
    "all actions, multi-discrete",
    "all actions, recurrent",
    "cross-group, target held",
    "cross-group, through the target, recurrent",
    "action values",
    "action values, running norm",
    "huber, clipped, running norm",
    "squared, no norm",
    "popart",
    "recurrent critic in chunks",
    "critic of each agent, some dead",
    "recurrent critic of each agent, some dead",
]

FISHER = [
    "fisher, categorical",
    "fisher, multi-discrete",
    "fisher, gaussian",
    "fisher, tanh gaussian",
    "fisher, recurrent categorical",
    "fisher, recurrent gaussian",
    "fisher, recurrent gaussian in chunks",
]
# A double backward in float64 against forward-mode and one backward in float32.
FISHER_TOLERANCE = 1e-4

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "selu": jax.nn.selu}


@pytest.fixture(scope="module")
def cases(rust_example):
    printed = json.loads(rust_example("motley-nn", "gradients", "MOTLEY_GRADIENTS"))["cases"]
    return {case["name"]: case for case in printed}


def unflatten(case, flat):
    def part(entry):
        shape = [int(d) for d in entry["shape"]]
        at = int(entry["offset"][0])
        return flat[at : at + int(np.prod(shape))].reshape(shape)

    return {entry["name"]: part(entry) for entry in case["entries"]}


def layer_norm(x, gamma, beta):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5) * gamma + beta


def trunk(p, x, activation):
    """[LayerNorm] - (Linear - activation - [LayerNorm]) for each hidden layer."""
    if "input_norm.gamma" in p:
        x = layer_norm(x, p["input_norm.gamma"], p["input_norm.beta"])
    layer = 0
    while f"hidden.{layer}.weight" in p:
        x = ACTIVATIONS[activation](x @ p[f"hidden.{layer}.weight"] + p[f"hidden.{layer}.bias"])
        if f"hidden.{layer}.norm.gamma" in p:
            x = layer_norm(x, p[f"hidden.{layer}.norm.gamma"], p[f"hidden.{layer}.norm.beta"])
        layer += 1
    return x


def gru_cell(p, x, h):
    """PyTorch's form: r, z, n; the reset gate multiplies the hidden part of n, its bias included."""
    gates_x = jnp.split(x @ p["gru.weight_ih"] + p["gru.bias_ih"], 3, axis=-1)
    gates_h = jnp.split(h @ p["gru.weight_hh"] + p["gru.bias_hh"], 3, axis=-1)
    r = jax.nn.sigmoid(gates_x[0] + gates_h[0])
    z = jax.nn.sigmoid(gates_x[1] + gates_h[1])
    n = jnp.tanh(gates_x[2] + r * gates_h[2])
    return (1 - z) * n + z * h


def head(p, x):
    return x @ p["output.weight"] + p["output.bias"]


def actor_outputs(case, p, x):
    hidden = trunk(p, x, case["activation"])
    if "memory" not in case:
        return head(p, hidden)
    length, width = int(case["length"][0]), hidden.shape[-1]
    steps = hidden.reshape(length, -1, width)
    first = np.array(case["first"]).reshape(length, -1, 1)
    h = np.array(case["memory"]).reshape(-1, width)
    outputs = []
    for t in range(length):
        h = gru_cell(p, steps[t], h * (1 - first[t]))
        outputs.append(layer_norm(h, p["gru.norm.gamma"], p["gru.norm.beta"]))
    return head(p, jnp.concatenate(outputs))


def distribution(case, p, out):
    """Joint log-probability and entropy of each row."""
    rows = out.shape[0]
    raw = np.array(case["raw"]).reshape(rows, -1)
    if case["head"] == "categorical":
        choices = [int(n) for n in case["choices"]]
        mask = np.array(case["mask"]).reshape(rows, -1)
        log_prob, entropy, at = 0.0, 0.0, 0
        for c, n in enumerate(choices):
            z = jnp.where(mask[:, at : at + n] > 0, out[:, at : at + n], -1e10)
            log_p = jax.nn.log_softmax(z, axis=-1)
            log_prob += log_p[np.arange(rows), raw[:, c].astype(int)]
            entropy += -(jnp.exp(log_p) * log_p).sum(-1)
            at += n
        return log_prob, entropy
    if case["head"] == "gaussian":
        x_coef, y_coef = case["head_values"]
        mean, log_std = out, jnp.log(jax.nn.sigmoid(p["free"] / x_coef) * y_coef) + 0 * out
    else:
        mean, log_std = jnp.split(out, 2, axis=-1)
        log_std = jnp.clip(log_std, -20, 2)
    normal = -0.5 * ((raw - mean) / jnp.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    entropy = (0.5 * np.log(2 * np.pi * np.e) + log_std).sum(-1)
    if case["head"] == "tanh_gaussian":
        low, high = np.array(case["head_values"]).reshape(2, -1)
        normal = normal - np.log(0.5 * (high - low) * (1 - np.tanh(raw) ** 2))
    return normal.sum(-1), entropy


def actor_loss(case, flat):
    p = unflatten(case, flat)
    old, weight, active = (np.array(case[name]) for name in ("old", "weight", "active"))
    out = actor_outputs(case, p, np.array(case["x"]).reshape(len(old), -1))
    log_prob, entropy = distribution(case, p, out)
    # Rows that do not count may hold anything: keep it out of the gradient.
    ratio = jnp.exp(jnp.where(active > 0, log_prob - old, 0.0))
    surrogate = ratio * weight
    if case["name"] == "log probability":
        surrogate = weight * jnp.where(active > 0, log_prob, 0.0)
    if "clip" in case:
        clip = case["clip"][0]
        surrogate = jnp.minimum(surrogate, jnp.clip(ratio, 1 - clip, 1 + clip) * weight)
    if case["name"] == "kl drift":
        surrogate = surrogate - 0.7 * (ratio - 1 - jnp.log(ratio))
    if case["name"] == "square drift":
        surrogate = surrogate - 0.7 * (ratio - 1) ** 2
    return -(active * (surrogate + 0.05 * entropy)).sum() / active.sum()


def critic_outputs(case, p, x):
    hidden = trunk(p, x, case["activation"])
    if not case["length"]:
        return head(p, hidden)[:, 0]
    steps, chunk, width = int(case["steps"][0]), int(case["length"][0]), hidden.shape[-1]
    lanes = hidden.reshape(-1, steps, width)
    first = np.array(case["first"]).reshape(-1, steps, 1)
    h = jnp.zeros((lanes.shape[0], width))
    outputs = []
    for t in range(steps):
        # Memory at the start of a chunk is stored, not learned through.
        h = jax.lax.stop_gradient(h) if t % chunk == 0 else h
        h = gru_cell(p, lanes[:, t], h * (1 - first[:, t]))
        outputs.append(layer_norm(h, p["gru.norm.gamma"], p["gru.norm.beta"]))
    return head(p, jnp.stack(outputs, axis=1))[..., 0].reshape(-1)


def critic_loss(case, flat):
    p = unflatten(case, flat)
    targets, old, active = (np.array(case[name]) for name in ("targets", "old", "active"))
    counted = targets[active > 0]
    # After its first update a debiased moving average is the plain average.
    mean, std = (0.0, 1.0) if case["norm"] == "none" else (counted.mean(), np.sqrt(max(counted.var(), 1e-2)))
    targets = (targets - mean) / std
    if case["norm"] == "popart":
        old = (old - mean) / std
    value = critic_outputs(case, p, np.array(case["x"]).reshape(len(old), -1))
    clip, delta = case["clip"][0], case["delta"][0]

    def error(e):
        return jnp.where(jnp.abs(e) <= delta, 0.5 * e**2, delta * (jnp.abs(e) - 0.5 * delta)) if case["loss"] == "huber" else 0.5 * e**2

    clipped = old + jnp.clip(value - old, -clip, clip)
    row = jnp.maximum(error(targets - value), error(targets - clipped))
    return case["coef"][0] * (active * row).sum() / active.sum()


def masked_log_softmax(z, mask):
    return jax.nn.log_softmax(jnp.where(mask > 0, z, -1e10), axis=-1)


def all_actions_loss(case, flat):
    """-E[sum_a pi(a) values_a + 0.05 H], joint choices numbered with the first part most significant."""
    p = unflatten(case, flat)
    active = np.array(case["active"])
    rows = len(active)
    out = actor_outputs(case, p, np.array(case["x"]).reshape(rows, -1))
    mask, joint, at = np.array(case["mask"]).reshape(rows, -1), jnp.ones((rows, 1)), 0
    for n in (int(n) for n in case["choices"]):
        part = jnp.exp(masked_log_softmax(out[:, at : at + n], mask[:, at : at + n]))
        joint = (joint[:, :, None] * part[:, None, :]).reshape(rows, -1)
        at += n
    _, entropy = distribution(case, p, out)
    expected_value = (joint * np.array(case["values"]).reshape(rows, -1)).sum(-1)
    return -(active * (expected_value + 0.05 * entropy)).sum() / active.sum()


def cross_group_loss(case, flat):
    """-E[w log pi + 0.05 H] + 0.8 CGI: two agents, each predicting by the second head what the other's first head says."""
    p = unflatten(case, flat)
    weight, active = np.array(case["weight"]), np.array(case["active"])
    rows, n = len(active), 5
    out = actor_outputs(case, p, np.array(case["x"]).reshape(rows, -1))
    log_prob, entropy = distribution(case, p, out[:, :n])
    row = weight * jnp.where(active > 0, log_prob, 0.0) + 0.05 * entropy
    surrogate = jnp.where(active > 0, row, 0.0).sum() / active.sum()
    # Rows lie as [steps of a chunk (or one), agent, chunks (or moments)].
    length = int(case["length"][0]) if "length" in case else 1

    def by_agent(array):
        return jnp.moveaxis(jnp.asarray(array).reshape(length, 2, rows // (2 * length), -1), 1, 0).reshape(2, rows // 2, -1)

    mask, alive = by_agent(np.array(case["mask"]).reshape(rows, n)), by_agent(active)[..., 0]
    heads = by_agent(out)
    total = count = 0.0
    for me, other in ((0, 1), (1, 0)):
        both = (alive[me] * alive[other])[:, None] * mask[other]
        target = jnp.exp(masked_log_softmax(heads[other][:, :n], mask[other]))
        target = target if case["through_target"][0] else jax.lax.stop_gradient(target)
        predicted = jnp.exp(masked_log_softmax(heads[me][:, n:], mask[other]))
        total += jnp.where(both > 0, (predicted - target) ** 2, 0.0).sum()
        count += both.sum()
    return -surrogate + 0.8 * total / count


def action_critic_loss(case, flat):
    p = unflatten(case, flat)
    targets, active = np.array(case["targets"]), np.array(case["active"])
    if case["norm"] == "running":
        counted = targets[active > 0]
        targets = (targets - counted.mean()) / np.sqrt(max(counted.var(), 1e-2))
    out = head(p, trunk(p, np.array(case["x"]).reshape(len(targets), -1), case["activation"]))
    chosen = out[np.arange(len(targets)), np.array(case["actions"]).astype(int)]
    return 0.5 * (active * (chosen - targets) ** 2).sum() / active.sum()


def mean_kl(case, old, flat):
    """E[KL(pi_old || pi)] over active rows; of squashed normals that of the normals."""
    active = np.array(case["active"])
    x = np.array(case["x"]).reshape(len(active), -1)
    p, q = unflatten(case, old), unflatten(case, flat)
    before, after = actor_outputs(case, p, x), actor_outputs(case, q, x)
    if case["head"] == "categorical":
        mask, kl, at = np.array(case["mask"]).reshape(len(active), -1), 0.0, 0
        for n in (int(n) for n in case["choices"]):
            a, b = (masked_log_softmax(o[:, at : at + n], mask[:, at : at + n]) for o in (before, after))
            kl += (jnp.exp(a) * (a - b)).sum(-1)
            at += n
    else:
        if case["head"] == "gaussian":
            x_coef, y_coef = case["head_values"]
            moments = [(o, jnp.log(jax.nn.sigmoid(w["free"] / x_coef) * y_coef) + 0 * o) for o, w in ((before, p), (after, q))]
        else:
            moments = [jnp.split(o, 2, axis=-1) for o in (before, after)]
            moments = [(mean, jnp.clip(log_std, -20, 2)) for mean, log_std in moments]
        (m0, s0), (m1, s1) = moments
        kl = (s1 - s0 + (jnp.exp(2 * s0) + (m0 - m1) ** 2) / (2 * jnp.exp(2 * s1)) - 0.5).sum(-1)
    # A row whose every action is closed does not count, and may be anything.
    return jnp.where(active > 0, kl, 0.0).sum() / active.sum()


def fisher_product(case):
    """The Hessian of the divergence at the policy itself times v, by a double backward pass."""
    flat, v = jnp.array(case["params"]), jnp.array(case["v"])
    slope = jax.grad(lambda new: mean_kl(case, flat, new))
    return np.array(jax.grad(lambda new: slope(new) @ v)(flat))


def start(case):
    """The parameters that the gradient belongs to: PopArt rescales the head before the step."""
    flat = np.array(case["params"])
    if case.get("norm") == "popart":
        counted = np.array(case["targets"])[np.array(case["active"]) > 0]
        mean, std = counted.mean(), np.sqrt(max(counted.var(), 1e-2))
        for entry in case["entries"]:
            at, size = int(entry["offset"][0]), int(np.prod(entry["shape"]))
            if entry["name"] == "output.weight":
                flat[at : at + size] /= std
            elif entry["name"] == "output.bias":
                flat[at : at + size] = (flat[at : at + size] - mean) / std
    return flat


def expected(case):
    losses = {
        "actor": actor_loss,
        "critic": critic_loss,
        "all_actions": all_actions_loss,
        "choice_critic": action_critic_loss,
        "cross_group": cross_group_loss,
    }
    loss = losses[case["kind"]]
    return np.array(jax.grad(lambda flat: loss(case, flat))(jnp.array(start(case))))


@pytest.fixture(scope="module")
def oracle(cases):
    class Lazy(dict):
        def __missing__(self, name):
            self[name] = fisher_product(cases[name]) if cases[name]["kind"] == "fisher" else expected(cases[name])
            return self[name]

    return Lazy()


def test_every_case_is_known(cases):
    assert sorted(cases) == sorted(CASES + FISHER)


@pytest.mark.parametrize("engine", ["gradient", "gradient_burn"])
@pytest.mark.parametrize("name", FISHER)
def test_fisher_product(cases, oracle, name, engine):
    found, wanted = np.array(cases[name][engine]), oracle[name]
    assert found.shape == wanted.shape and np.linalg.norm(wanted) > 1e-2
    assert np.linalg.norm(found - wanted) < FISHER_TOLERANCE * np.linalg.norm(wanted)


@pytest.mark.parametrize("engine", ["gradient", "gradient_burn"])
@pytest.mark.parametrize("name", CASES)
def test_gradient(cases, oracle, name, engine):
    case = cases[name]
    found, wanted = np.array(case[engine]), oracle[name]
    assert found.shape == wanted.shape
    assert np.isfinite(found).all() and np.linalg.norm(wanted) > 1e-3
    for entry in case["entries"]:
        at, size = int(entry["offset"][0]), int(np.prod(entry["shape"]))
        worst = np.abs(found[at : at + size] - wanted[at : at + size]).max() / np.abs(wanted).max()
        assert worst < TOLERANCE, f"{entry['name']} is off by {worst:.1e} of the largest entry"
    assert np.linalg.norm(found - wanted) < TOLERANCE * np.linalg.norm(wanted)


# Without the clip the gradient would differ: the clipped branch is really tried. (A recurrent critic's old values are its
# own, so there the clip cannot bite, and one objective has none.)
CLIPPED = [
    "categorical with mask",
    "gaussian",
    "huber, clipped, running norm",
    "squared, no norm",
    "popart",
    "critic of each agent, some dead",
]


@pytest.mark.parametrize("name", CLIPPED)
def test_the_clip_bites(cases, oracle, name):
    unclipped = expected(dict(cases[name], clip=[1e6]))
    assert np.linalg.norm(unclipped - oracle[name]) > 1e-2 * np.linalg.norm(oracle[name])
