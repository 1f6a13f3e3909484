"""The Python listings of the book do what their pages say."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOTLEY = os.environ.get("MOTLEY_BIN") or str(ROOT / "target" / "debug" / "motley")


def listing(page, begins):
    """The listing of a page whose text begins so, without its fence."""
    found = [part.split("```")[0] for part in (ROOT / "docs" / "src" / page).read_text().split("```python\n")[1:]]
    (text,) = [text for text in found if text.startswith(begins)]
    return text


def motley(folder, *words):
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable}
    done = subprocess.run([MOTLEY, *words], capture_output=True, text=True, env=given, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_the_environment_keeps_the_contract_and_trains(tmp_path):
    pytest.importorskip("pettingzoo")
    (tmp_path / "crew.py").write_text(listing("own-environment.md", "import numpy as np\nfrom gymnasium"))
    assert " 0 failed, 1 warned" in motley(tmp_path, "check", "py:crew:make_env")
    words = ["total_steps=200", "num_envs=2", "algo.rollout_steps=50", "task.kwargs={steps=30}", "eval.episodes=2", "threads=1"]
    motley(tmp_path, "train", "happo", "py:crew:make_env", "preset=none", *words, "--out", "run", "-q")


@pytest.mark.parametrize(
    "words",
    [
        ["happo", "mpe/simple_speaker_listener_v4", "net.recurrent=true"],
        ["happo", "mpe/simple_spread_v3", "task.continuous=true"],
        ["qmix", "mpe/simple_spread_v3"],
        ["gppo", "mpe/simple_spread_v3"],
    ],
)
def test_the_exported_team_acts(tmp_path, monkeypatch, words):
    pytest.importorskip("onnxruntime")
    budget = ["preset=none", "total_steps=100", "num_envs=2", "eval.episodes=2", "threads=1"]
    motley(tmp_path, "train", *words, *budget, "--out", "run", "-q")
    motley(tmp_path, "export", "run", "-o", "team.onnx", "--joint")
    monkeypatch.chdir(tmp_path)
    page = {}
    exec(listing("export.md", "import numpy as np\nimport onnxruntime"), page)
    rng = np.random.default_rng(0)
    shapes = {i.name: [1 if d == "B" else d for d in i.shape] for i in page["session"].get_inputs()}
    obs = {agent: rng.normal(size=shapes[f"obs.{agent}"][1:]) for agent in page["agents"]}
    mask = {name.split(".", 1)[1]: np.ones(shape[1:]) for name, shape in shapes.items() if name.startswith("action_mask")}
    first = page["act"](obs, mask, starts=True)
    page["act"]({agent: -seen for agent, seen in obs.items()}, mask, starts=False)
    again = page["act"](obs, mask, starts=True)
    # What came between is forgotten where an episode starts.
    assert set(first) == set(obs)
    for agent, action in first.items():
        np.testing.assert_array_equal(action, again[agent])
