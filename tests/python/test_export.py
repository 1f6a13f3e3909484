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
    "squashed": ("hasac", "mpe/simple_spread_v3", "task.continuous=true"),
    "deterministic": ("haddpg", "mpe/simple_spread_v3", "task.continuous=true"),
    "values": ("qmix", "mpe/simple_spread_v3", "net.last_action=false"),
    "unified": ("u-mappo", "mpe/simple_speaker_listener_v4"),
    "unified values": ("u-qmix", "mpe/simple_speaker_listener_v4", "net.last_action=false"),
    "elu": ("happo", "mpe/simple_v3", "net.activation=elu"),
    "selu": ("happo", "mpe/simple_v3", "net.activation=selu"),
    "leaky": ("happo", "mpe/simple_v3", "net.activation=leaky_relu"),
    "tanh activation": ("happo", "mpe/simple_v3", "net.activation=tanh"),
    "unlike": ("ippo", "py:tests.foreign:Walk", "task.workers=1"),
}


def test_what_a_file_s_inputs_do_not_have_is_refused(tmp_path):
    for algo, words in [("vdn", "last action"), ("hetgppo", "messages")]:
        run = tmp_path / algo
        motley("train", algo, "mpe/simple_spread_v3", "preset=none", "total_steps=400", "num_envs=2", "eval.episodes=1", "--out", str(run))
        _, err = motley("export", str(run), "-o", str(tmp_path / "onnx"), code=1)
        assert words in err, err


@pytest.mark.parametrize("kind", POLICIES)
def test_onnxruntime_agrees(kind, tmp_path):
    algo, task, *settings = POLICIES[kind]
    run, out = tmp_path / "run", tmp_path / "onnx"
    if algo not in {line["name"] for line in motley("list", "algorithms")[0]}:
        pytest.skip(f"this build has no {algo}")
    motley("train", algo, task, *settings, "preset=none", "total_steps=400", "num_envs=2", "eval.episodes=1", "seed=5", "--out", str(run))
    files = [pathlib.Path(line["file"]) for line in motley("export", str(run), "-o", str(out))[0]]
    bundle = act_without_motley.Bundle(run / "policy")
    agents = bundle.info["team"]["agents"]
    covered = set()
    rng = np.random.default_rng(0)
    for file in files:
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version == 17 and model.ir_version == 8
        about = {p.key: p.value for p in model.metadata_props}
        assert about["algo"] == algo and about["env_id"] == task
        for name in json.loads(about["agent_ids"]):
            covered.add(name)
            k = next(k for k, a in enumerate(agents) if a["name"] == name)
            compare(onnxruntime.InferenceSession(str(file)), bundle, k, agents[k], rng)
    assert covered == {a["name"] for a in agents}


def compare(session, bundle, k, agent, rng):
    inputs = {i.name: i.shape for i in session.get_inputs()}
    size = int(np.prod(agent["obs"]["shape"]))
    image = len(agent["obs"]["shape"]) == 3
    memory = np.zeros((1, 7, inputs["h_in"][2]), np.float32) if "h_in" in inputs else None
    for step in range(3):
        obs = rng.uniform(0, 255, (7, size)).astype(np.float32) if image else rng.normal(size=(7, size)).astype(np.float32)
        feed = {"obs": obs}
        held = memory
        if memory is not None:
            reset = (rng.random(7) < 0.3).astype(np.float32)
            feed.update(h_in=memory, reset=reset)
            held = memory * (1 - reset)[None, :, None]
        if "action_mask" in inputs:
            mask = np.ones((7, inputs["action_mask"][1]), np.float32)
            mask[:, step % mask.shape[1]] = 0
            feed["action_mask"] = mask
        names = [o.name for o in session.get_outputs()]
        got = dict(zip(names, session.run(None, feed)))
        if image:  # numpy's example has no convolution; Motley's own acting is compared below.
            expected = None
        else:
            expected, after = bundle.outputs(k, obs, None if held is None else held[0])
        if "action_mask" in inputs:
            if expected is not None:
                np.testing.assert_allclose(got["logits"], np.where(mask > 0, expected, -1e9), rtol=1e-5, atol=1e-5)
            (kind, sizes), at = next(iter(agent["action"].items())), 0
            picks = got["action"].reshape(7, -1)
            for c, n in enumerate([sizes] if kind == "Discrete" else sizes):
                assert picks.dtype == np.int64
                np.testing.assert_array_equal(picks[:, c], got["logits"][:, at : at + n].argmax(1))
                at += n
        else:
            low, high = agent["action"]["Box"]["low"], agent["action"]["Box"]["high"]
            head = bundle.info["groups"][next(g for g, x in enumerate(bundle.info["groups"]) if k in x["members"])]["head"]
            assert (got["action"] >= low).all() and (got["action"] <= high).all()
            if expected is not None and "Gaussian" in head:
                np.testing.assert_allclose(got["mean"], expected, rtol=1e-5, atol=1e-5)
                np.testing.assert_allclose(got["action"], np.clip(expected, low, high), rtol=1e-5, atol=1e-5)
            elif expected is not None:
                mean = expected[:, : len(low)]
                middle, half = (np.add(low, high) / 2, np.subtract(high, low) / 2)
                np.testing.assert_allclose(got["action"], middle + half * np.tanh(mean), rtol=1e-5, atol=1e-5)
        if memory is not None:
            np.testing.assert_allclose(got["h_out"][0], after, rtol=1e-5, atol=1e-5)
            memory = got["h_out"]


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
    assert "4 unlike actors" in said and "directory" in said
    motley("train", "happo", "mpe/simple_v3", "preset=none", "total_steps=100", "num_envs=1", "eval.episodes=1", "--out", str(tmp_path / "one"))
    motley("export", str(tmp_path / "one"), "-o", str(tmp_path / "one.onnx"))
    onnx.checker.check_model(onnx.load(tmp_path / "one.onnx"), full_check=True)


@pytest.mark.parametrize("lang", ["python", "rust"])
def test_a_scaffolded_environment_passes_check_at_once(lang, tmp_path):
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable}
    made = subprocess.run([MOTLEY, "--json", "new-env", "tug_and_winch", "--lang", lang], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    written = tmp_path / json.loads(made.stdout)["file"]
    assert len(written.read_text().splitlines()) <= 60 and "NAME_" not in written.read_text()
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
