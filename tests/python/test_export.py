"""ONNX files against onnxruntime and numpy: every kind of policy, numbers within 1e-5."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOTLEY = os.environ.get("MOTLEY_BIN") or str(ROOT / "target" / "debug" / "motley")
spec = importlib.util.spec_from_file_location("act_without_motley", ROOT / "examples" / "act_without_motley.py")
act_without_motley = importlib.util.module_from_spec(spec)
spec.loader.exec_module(act_without_motley)


def motley(*words, code=0):
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable}
    done = subprocess.run([MOTLEY, "--json", *words], capture_output=True, text=True, env=given, cwd=ROOT / "crates" / "motley-bridge")
    assert done.returncode == code, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


POLICIES = {
    "discrete": ("happo", "mpe/simple_tag_v3"),
    "shared": ("mappo", "mpe/simple_spread_v3"),
    "one-hot": ("mappo", "mpe/simple_spread_v3", "net.agent_id=true"),
    "gaussian": ("happo", "mpe/simple_spread_v3", "task.continuous=true"),
    "recurrent": ("happo", "mpe/simple_speaker_listener_v4", "net.recurrent=true"),
    "squashed": ("hasac", "mpe/simple_spread_v3", "task.continuous=true", "net.last_activation=tanh"),
    "deterministic": ("haddpg", "mpe/simple_spread_v3", "task.continuous=true"),
    "values": ("qmix", "mpe/simple_spread_v3", "net.last_action=false"),
    "last action": ("qmix", "mpe/simple_spread_v3"),
    "noted values": ("iql", "mpe/simple_spread_v3", "algo.fingerprint=true"),
    "unified": ("u-mappo", "mpe/simple_speaker_listener_v4"),
    "unified values": ("u-qmix", "mpe/simple_speaker_listener_v4"),
    "elu": ("happo", "mpe/simple_v3", "net.activation=elu"),
    "selu": ("happo", "mpe/simple_v3", "net.activation=selu"),
    "leaky": ("happo", "mpe/simple_v3", "net.activation=leaky_relu"),
    "tanh activation": ("happo", "mpe/simple_v3", "net.activation=tanh"),
    "unlike": ("ippo", "py:tests.foreign:Walk", "task.workers=1"),
}

CENTRAL = ("algo.actor=central", "algo.critic=state", "net.trunk=mlp", "net.share=none")
TEAMS = {
    "heard": ("gppo", "mpe/simple_spread_v3"),
    "heard apart": ("hetgppo", "mpe/simple_spread_v3", "task.continuous=true", "net.graph=ring"),
    "heard when near": ("gppo", "mpe/simple_spread_v3", "task.continuous=true", "net.graph=radius", "net.radius=1.0"),
    "heard by some": ("hetgppo", "mpe/simple_spread_v3", "net.graph=0-1", "net.recurrent=true"),
    "heard with memory": ("gppo", "mpe/simple_spread_v3", "net.graph=line", "net.recurrent=true", "net.agent_id=true"),
    "heard by HAPPO": ("happo", "mpe/simple_spread_v3", "task.continuous=true", "net.trunk=gnn"),
    "one decides": ("gppo", "mpe/simple_spread_v3", *CENTRAL),
    "one decides in boxes": ("gppo", "mpe/simple_tag_v3", "task.continuous=true", *CENTRAL),
    "one remembers": ("gppo", "mpe/simple_speaker_listener_v4", "net.recurrent=true", *CENTRAL),
    "joint": ("happo", "mpe/simple_tag_v3", "--joint"),
    "joint, shared": ("mappo", "mpe/simple_spread_v3", "net.agent_id=true", "net.recurrent=true", "--joint"),
    "joint last actions": ("vdn", "mpe/simple_spread_v3", "--joint"),
    "joint, unified": ("u-qmix", "mpe/simple_speaker_listener_v4", "--joint"),
}


def exported(tmp_path, algo, task, *settings):
    """A little training, its files with what each says of itself, and its bundle."""
    run, out = tmp_path / "run", tmp_path / "onnx"
    words, options = [s for s in settings if not s.startswith("--")], [s for s in settings if s.startswith("--")]
    if algo not in {line["name"] for line in motley("list", "algorithms")[0]}:
        pytest.skip(f"this build has no {algo}")
    motley("train", algo, task, *words, "preset=none", "total_steps=400", "num_envs=2", "eval.episodes=1", "seed=5", "--out", str(run))
    files = []
    for line in motley("export", str(run), "-o", str(out), *options)[0]:
        model = onnx.load(line["file"])
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version == 17 and model.ir_version == 8
        about = {p.key: p.value for p in model.metadata_props}
        assert about["algo"] == algo and about["env_id"] == task
        assert json.loads(about["agent_ids"]) == line["agents"] and about["scope"] == ("team" if line["joint"] else "actor")
        files.append((onnxruntime.InferenceSession(line["file"]), line))
    return files, act_without_motley.Bundle(run / "policy")


@pytest.mark.parametrize("kind", POLICIES)
def test_onnxruntime_agrees(kind, tmp_path):
    files, bundle = exported(tmp_path, *POLICIES[kind])
    names = [a["name"] for a in bundle.info["team"]["agents"]]
    assert sorted(name for _, line in files for name in line["agents"]) == sorted(names)
    for session, line in files:
        assert not line["joint"]
        for name in line["agents"]:
            compare(session, bundle, [names.index(name)], lambda stem, _: stem)
            play(session, bundle, names.index(name))


@pytest.mark.parametrize("kind", TEAMS)
def test_onnxruntime_agrees_for_a_team(kind, tmp_path):
    ((session, line),), bundle = exported(tmp_path, *TEAMS[kind])
    names = [a["name"] for a in bundle.info["team"]["agents"]]
    assert line["joint"] and line["agents"] == names and pathlib.Path(line["file"]).name == "team.onnx"
    compare(session, bundle, range(len(names)), lambda stem, k: f"{stem}.{names[k]}")
    if not kind.startswith("joint"):
        with pytest.raises(NotImplementedError, match="one network that decides" if kind.startswith("one") else "graph network"):
            bundle.act(0, np.zeros((1, 1), np.float32))


def heard(bundle, g, graph, k, obs):
    """z_k and the sum over whom k hears of phi(z_j, e_kj), neighbour by neighbour as the paper has it."""
    tensor = lambda name: bundle.tensors[f"actor.{g}.message.{name}"]
    columns = lambda j, what: list(range(graph["places"][j][what]["start"], graph["places"][j][what]["end"]))
    node = lambda j: np.delete(obs[j], columns(j, "position"), 1)
    apart = lambda j, what: obs[j][:, columns(j, what)] - obs[k][:, columns(k, what)]
    activation = act_without_motley.ACTIVATIONS[bundle.info["groups"][g]["net"]["activation"]]
    n, topology, total = len(obs), graph["topology"], np.zeros((len(obs[k]), graph["width"]), np.float32)
    for j in (j for j in range(n) if j != k):
        position = apart(j, "position")
        distance = np.linalg.norm(position, axis=1, keepdims=True)
        if isinstance(topology, str):
            hears = {"Full": True, "Ring": abs(j - k) in (1, n - 1), "Line": abs(j - k) == 1}[topology]
        elif "Radius" in topology:
            hears = distance <= topology["Radius"]
        else:
            hears = [j, k] in topology["Pairs"] or [k, j] in topology["Pairs"]
        velocity = [apart(j, "velocity")] if graph["places"][j]["velocity"] else []
        x = np.concatenate([node(j), position, distance, *velocity], 1)
        x = activation(x @ tensor("hidden.0.weight") + tensor("hidden.0.bias"))
        total += (x @ tensor("output.weight") + tensor("output.bias")) * hears
    return np.concatenate([node(k), total], 1)


def network(bundle, decider, obs, h, last):
    """What a decider's network puts out from all observations, and its memory."""
    g, group = bundle.group_of(decider)
    if bundle.info.get("central"):
        seen = np.concatenate(obs, 1)
    else:
        seen = heard(bundle, g, group["graph"], decider, obs) if group.get("graph") else bundle.padded(decider, obs[decider])
    return bundle.network(decider, seen, h, last)


def own_columns(bundle, k, head):
    """Which outputs of its network are agent k's."""
    info = bundle.info
    if info.get("unified"):
        return [u or 0 for u in info["unified"]["from_env"][k]]
    widths = [sum(bundle.choices(i)) or len(a["action"]["Box"]["low"]) for i, a in enumerate(info["team"]["agents"])]
    if not info.get("central"):
        return list(range(widths[k] * (2 if "TanhGaussian" in head else 1)))
    own = list(range(sum(widths[:k]), sum(widths[: k + 1])))
    return own + [sum(widths) + c for c in own] if "TanhGaussian" in head else own


def shown(agent, rng, size):
    """Observations at random."""
    shape = agent["obs"]["shape"]
    draw = rng.uniform(0, 255, (size, np.prod(shape))) if len(shape) == 3 else rng.normal(size=(size, np.prod(shape)))
    return draw.astype(np.float32)


def compare(session, bundle, ids, name):
    """A file that acts for the agents `ids`, whose values are called `name(stem, agent)`, against numpy: three moments of one batch."""
    info, rng, size = bundle.info, np.random.default_rng(len(ids)), 7
    agents, central = info["team"]["agents"], info.get("central")
    memory = (lambda stem, k: stem) if central else name
    inputs, outputs = {i.name: i for i in session.get_inputs()}, [o.name for o in session.get_outputs()]
    blank = lambda i: np.zeros([size if d == "B" else d for d in i.shape], np.int64 if "int64" in i.type else np.float32)
    back = {name("last_action", k): name("action", k) for k in ids} | {memory("h_in", k): memory("h_out", k) for k in ids}
    fed = {i: blank(inputs[i]) for i in back if i in inputs}
    for moment in range(3):
        starts = (rng.random(size) < 0.3).astype(np.float32) if moment else np.ones(size, np.float32)
        obs, feed = [shown(a, rng, size) for a in agents], {**fed}
        for k in ids:
            feed[name("obs", k)] = obs[k]
            if bundle.choices(k):
                mask = np.ones((size, sum(bundle.choices(k))), np.float32)
                mask[:, moment % mask.shape[1]] = 0
                feed[name("action_mask", k)] = mask
        if "reset" in inputs:
            feed["reset"] = starts
        assert feed.keys() == inputs.keys()
        got = dict(zip(outputs, session.run(None, feed)))
        fed = {i: got[back[i]] for i in fed}
        for k in (k for k in ids if len(agents[k]["obs"]["shape"]) < 3):  # The example in numpy has no convolution: see below.
            decider = 0 if central else k
            g, group = bundle.group_of(decider)
            held = feed[memory("h_in", k)][0] * (1 - starts)[:, None] if group["net"]["recurrent"] else None
            last = None
            if group["last_action"]:
                last = bundle.encode(k, feed[name("last_action", k)].reshape(size, -1)) * (1 - starts)[:, None]
            out, after = network(bundle, decider, obs, held, last)
            own = {stem: got[name(stem, k)] for stem in ("action", "logits", "mean", "log_std") if name(stem, k) in got}
            judge(own, bundle, g, agents, k, out[:, own_columns(bundle, k, group["head"])], feed.get(name("action_mask", k)))
            if held is not None:
                np.testing.assert_allclose(got[memory("h_out", k)][0], after, rtol=1e-5, atol=1e-5)


def play(session, bundle, k):
    """The example's greedy actions against those of agent k's file, each with a memory of its own: two episodes of a batch."""
    agent, sizes, rng, size = bundle.info["team"]["agents"][k], bundle.choices(k), np.random.default_rng(k), 5
    if len(agent["obs"]["shape"]) == 3:
        with pytest.raises(NotImplementedError, match="images"):
            bundle.act(k, shown(agent, rng, size))
        return
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    for _ in range(2):
        memory, told = (None, None), {"reset": np.ones(size, np.float32)}
        for i in session.get_inputs():
            if i.name in ("h_in", "last_action"):
                told[i.name] = np.zeros([size if d == "B" else d for d in i.shape], np.int64 if "int64" in i.type else np.float32)
        for _ in range(10):
            avail = rng.random((size, sum(sizes))) < 0.7
            avail[:, np.cumsum([0, *sizes])[:-1]] = True
            told |= {"obs": shown(agent, rng, size), "action_mask": avail.astype(np.float32)}
            got = dict(zip(outputs, session.run(None, {name: told[name] for name in inputs})))
            action, memory = bundle.act(k, told["obs"], avail, memory)
            np.testing.assert_allclose(action, got["action"].reshape(size, -1), rtol=1e-5, atol=1e-5)
            told |= {"last_action": got["action"], "h_in": got.get("h_out"), "reset": np.zeros(size, np.float32)}


def judge(got, bundle, g, agents, k, out, mask):
    """An agent's outputs against its columns of the network's."""
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    if mask is not None:
        close(got["logits"], np.where(mask > 0, out, -1e9))
        picks, at = got["action"].reshape(len(out), -1), 0
        assert got.keys() == {"action", "logits"} and picks.dtype == np.int64
        for c, n in enumerate(bundle.choices(k)):
            np.testing.assert_array_equal(picks[:, c], got["logits"][:, at : at + n].argmax(1))
            at += n
        return
    low, high = (np.array(agents[k]["action"]["Box"][bound]) for bound in ("low", "high"))
    ((kind, head),) = bundle.info["groups"][g]["head"].items()
    mean, middle, half = out[:, : len(low)], (low + high) / 2, (high - low) / 2
    close(got["action"], np.clip(mean, low, high) if kind == "Gaussian" else middle + half * np.tanh(mean))
    assert got.keys() == ({"action"} if kind == "Deterministic" else {"action", "mean", "log_std"})
    if kind == "TanhGaussian":
        close(got["mean"], mean)
        close(got["log_std"], np.clip(out[:, len(low) :], -20, 2))
    elif kind == "Gaussian":
        close(got["mean"], mean)
        at = sum(len(a["action"]["Box"]["low"]) for a in agents[:k]) if bundle.info.get("central") else 0
        free = bundle.tensors[f"actor.{g}.free"][at : at + len(low)]
        close(got["log_std"], np.tile(np.log(head["y_coef"] / (1 + np.exp(-free / head["x_coef"]))), (len(out), 1)))


def test_onnxruntime_acts_as_motley_does(tmp_path):
    """Greedy actions of the package against those of the graphs, convolution included."""
    package = pytest.importorskip("motley", reason="the package is not installed: pip install .")
    motley("train", "ippo", "py:tests.foreign:Walk", "preset=none", "total_steps=400", "num_envs=2", "eval.episodes=1",
           "task.workers=1", "--out", str(tmp_path / "run"))  # fmt: skip
    files = motley("export", str(tmp_path / "run"), "-o", str(tmp_path / "onnx"))[0]
    policy, rng = package.load(tmp_path / "run"), np.random.default_rng(1)
    obs = {a.name: rng.uniform(0, 255, (50, *a.obs_shape)).astype(np.float32) for a in policy.team.agents}
    actions, _ = policy.act(obs)
    for line in files:
        session = onnxruntime.InferenceSession(line["file"])
        for name in line["agents"]:
            feed = {"obs": obs[name].reshape(50, -1)}
            if "action_mask" in {i.name for i in session.get_inputs()}:
                feed["action_mask"] = np.ones((50, session.get_inputs()[-1].shape[1]), np.float32)
            got = session.run(["action"], feed)[0]
            np.testing.assert_allclose(got.reshape(50, -1), actions[name].reshape(50, -1), rtol=1e-5, atol=1e-5)


def test_one_file_holds_one_actor(tmp_path):
    motley("train", "happo", "mpe/simple_tag_v3", "preset=none", "total_steps=100", "num_envs=1", "eval.episodes=1", "--out", str(tmp_path / "run"))
    _, said = motley("export", str(tmp_path / "run"), "-o", str(tmp_path / "team.onnx"), code=2)
    assert "4 unlike actors" in said and "directory" in said and "--joint" in said
    motley("export", str(tmp_path / "run"), "-o", str(tmp_path / "team.onnx"), "--joint")
    motley("train", "happo", "mpe/simple_v3", "preset=none", "total_steps=100", "num_envs=1", "eval.episodes=1", "--out", str(tmp_path / "one"))
    motley("export", str(tmp_path / "one"), "-o", str(tmp_path / "one.onnx"))
    onnx.checker.check_model(onnx.load(tmp_path / "one.onnx"), full_check=True)


@pytest.mark.parametrize("lang", ["python", "rust"])
def test_a_scaffolded_environment_passes_check_at_once(lang, tmp_path):
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable}
    made = subprocess.run([MOTLEY, "--json", "new-env", "tug_and_winch", "--lang", lang], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    written = tmp_path / json.loads(made.stdout)["file"]
    assert len(written.read_text().splitlines()) < 60 and "NAME_" not in written.read_text()
    if lang == "python":
        check = [MOTLEY, "--json", "check", "py:tug_and_winch:make_env"]
    else:
        example = pathlib.Path(MOTLEY).parent / "examples" / "own_env"
        if not example.exists():
            pytest.skip("the example own_env is not built")
        check = [str(example), "--json", "check", "own/NAME_SNAKE"]
    done = subprocess.run(check, cwd=tmp_path, env=given, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["failed"] == 0, done.stdout + done.stderr
    again = subprocess.run([MOTLEY, "new-env", "tug_and_winch", "--lang", lang], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2, "what is there is not written over"
    bad = subprocess.run([MOTLEY, "new-env", "../x", "--lang", lang], cwd=tmp_path, capture_output=True, text=True)
    assert bad.returncode == 2
