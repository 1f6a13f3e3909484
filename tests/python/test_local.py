"""Environments that live in the process that trains: their turns, their failures, their ends."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

motley = pytest.importorskip("motley", reason="the package is not installed: pip install .")


def test_environments_of_this_process_and_of_workers_train_alike(tmp_path, monkeypatch):
    from mpe2 import simple_spread_v3

    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 25, "eval.episodes": 2}
    common = dict(seed=1, total_steps=200, progress=False)
    local = motley.train("ippo", lambda: simple_spread_v3.parallel_env(), settings, out=tmp_path / "local", **common)
    there = motley.train("ippo", "py:mpe2.simple_spread_v3:parallel_env", settings, out=tmp_path / "there", **common)
    with pytest.raises(motley.ConfigError, match="task=THE_SAME_CALL"):
        motley.train(resume=local, total_steps=400, progress=False)
    assert local.info["task"] == "local/<lambda>" and there.info["task"].startswith("py:mpe2.")
    returns = "train/episode_return"
    np.testing.assert_array_equal(local.metrics()[returns].dropna(), there.metrics()[returns].dropna())
    more = motley.train(task=lambda: simple_spread_v3.parallel_env(), resume=local, total_steps=400, progress=False)
    assert more.info["env_steps"] == 400
    assert motley.train(resume=there, total_steps=300, progress=False).info["env_steps"] == 300
    # To somebody else the folder is a stranger's.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    with pytest.raises(motley.ConfigError, match="would call mpe2.simple_spread_v3.parallel_env.*trust=True"):
        motley.train(resume=there, total_steps=400, progress=False)
    assert motley.train(resume=there, total_steps=400, progress=False, trust=True).info["env_steps"] == 400


@pytest.mark.parametrize("wins", [True, False])
def test_wins_of_this_process_are_counted(tmp_path, wins):
    class Battle:
        """SMAC's interface: one soldier, won or lost at its third step."""

        battles_won = 0
        get_env_info = lambda self: {"episode_limit": 3}  # noqa: E731
        get_obs = get_state = lambda self: np.zeros((1, 2), np.float32)
        get_avail_actions = lambda self: [[1, 1]]  # noqa: E731

        def reset(self):
            self.t = 0
            return self.get_obs(), self.get_state()

        def step(self, actions):
            self.t += 1
            return 1.0, self.t == 3, {"battle_won": wins and self.t == 3}

    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 6, "eval.episodes": 2}
    run = motley.train("ippo", lambda: Battle(), settings, out=tmp_path / "run", total_steps=24, seed=1, progress=False)
    assert set(run.metrics()["train/win_rate"].dropna()) == {float(wins)}
    assert set(run.evaluations()["won"]) == {wins}


def test_fault_an_exception_in_this_process_is_borne(tmp_path):
    class Broken:
        possible_agents = ["a"]

        def __init__(self):
            from gymnasium.spaces import Box, Discrete

            self.box, self.choice = Box(-1, 1, (2,)), Discrete(2)

        observation_space = lambda self, agent: self.box  # noqa: E731
        action_space = lambda self, agent: self.choice  # noqa: E731

        def reset(self, seed=None, options=None):
            self.t, self.agents = 0, ["a"]
            return {"a": np.zeros(2, np.float32)}, {"a": {}}

        def step(self, actions):
            self.t += 1
            if self.t == 8:
                raise RuntimeError("the belt snapped")
            return {"a": np.zeros(2, np.float32)}, {"a": 0.0}, {"a": False}, {"a": False}, {"a": {}}

    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 20, "eval.episodes": 1, "env_failure_limit": 5}
    with pytest.raises(motley.Error, match="the belt snapped"):
        motley.train("ippo", Broken, settings, total_steps=1000, out=tmp_path / "run", progress=False)
    assert motley.run(tmp_path / "run").info["status"] == "failed"


@pytest.mark.parametrize("task", ['"mpe/simple_spread_v3"', "lambda: motley.make('mpe/simple_spread_v3')"])
def test_fault_ctrl_c_stops_after_a_checkpoint_and_resume_goes_on(tmp_path, task):
    script = f"""
import motley, sys
try:
    motley.train("happo", {task}, {{"num_envs": 4, "threads": 1}}, total_steps=10**9, out={str(tmp_path / "run")!r}, progress=False)
except KeyboardInterrupt as stop:
    print("stopped:", stop)
    sys.exit(42)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "latest").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 42 and "resume" in said
    run = motley.run(tmp_path / "run")
    assert run.info["status"] == "stopped"
    reached = run.info["env_steps"]
    goal = reached + 1000
    again = eval(task) if task.startswith("lambda") else None
    motley.train(task=again, resume=run, total_steps=goal, progress=False, config={"eval.episodes": 1})
    assert run.info["env_steps"] >= goal and run.info["status"] == "done"


@pytest.mark.parametrize(("name", "said"), [("checkpoints", "could not be made durable"), ("policy", "best policy could not be written")])
def test_fault_what_could_not_be_saved_is_an_error(tmp_path, name, said):
    out, told = tmp_path / "run", []

    def see(event):
        told.append(event["event"])
        if event["event"] == "progress" and not (out / name).is_file():
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).write_text("in the way")

    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 25, "eval.episodes": 1}
    with pytest.raises(motley.Error, match=f"{said}.*run folder"):
        motley.train("ippo", "mpe/simple_v3", settings, total_steps=150, out=out, progress=see)
    assert "warning" in told and motley.run(out).info["status"] == "failed"


def test_without_progress_warnings_are_shown_all_the_same(tmp_path):
    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 25, "eval.episodes": 1}
    with pytest.warns(RuntimeWarning, match="60 is rounded up to 100"):
        motley.train("ippo", "mpe/simple_v3", settings, total_steps=60, out=tmp_path / "run", progress=False)


class Belt:
    """PettingZoo's interface: an agent at a belt that runs for five steps. `log` is told of every call."""

    possible_agents = ["a"]

    def __init__(self, log=None):
        from gymnasium.spaces import Box, Discrete

        self.box, self.choice, self.log = Box(-1, 1, (2,)), Discrete(2), log or (lambda env, call: None)
        self.log(self, "make")

    def observation_space(self, agent):
        return self.box

    def action_space(self, agent):
        return self.choice

    def reset(self, seed=None, options=None):
        self.log(self, "reset")
        self.t, self.agents = 0, ["a"]
        return {"a": np.zeros(2, np.float32)}, {"a": {}}

    def step(self, actions):
        self.log(self, "step")
        self.t += 1
        self.agents = ["a"] if self.t < 5 else []
        return {"a": np.zeros(2, np.float32)}, {"a": 0.0}, {"a": self.t == 5}, {"a": False}, {"a": {}}

    def close(self):
        self.log(self, "close")


BELT = {"preset": "none", "num_envs": 4, "threads": 2, "algo.rollout_steps": 10, "eval.episodes": 2}


def test_environments_of_this_process_are_called_one_at_a_time(tmp_path):
    inside, most, threads = [], [], set()

    def log(env, call):
        inside.append(call)
        time.sleep(1e-4)  # Others get the interpreter.
        most.append(len(inside))
        threads.add(threading.get_ident())
        inside.pop()

    motley.train("ippo", lambda: Belt(log), BELT, total_steps=200, out=tmp_path / "run", progress=False)
    assert set(most) == {1} and len(most) > 200
    assert threading.get_ident() not in threads


def test_fault_environments_of_this_process_are_closed_and_made_anew_after_a_failure(tmp_path):
    calls, envs, left = {}, [], [150, 170]

    def log(env, call):
        envs.append(env)  # Kept, else another one may get its id.
        calls.setdefault(id(env), []).append(call)
        if call == "step" and left and len(envs) > left[0]:
            calls[id(env)].append("fail")
            left.pop(0)
            raise RuntimeError("the belt snapped")

    with pytest.warns(RuntimeWarning, match="the belt snapped"):
        motley.train("ippo", lambda: Belt(log), BELT, total_steps=200, out=tmp_path / "run", progress=False)
    failed = [made for made in calls.values() if "fail" in made]
    assert len(failed) == 2 and all(made[made.index("fail") + 1 :] == ["close"] for made in failed)
    for made in calls.values():
        assert made[0] == "make" and made.count("close") == 1 and made[-1] == "close", made


def test_fault_an_environment_that_cannot_be_closed_warns(tmp_path):
    def log(env, call):
        if call == "close":
            raise RuntimeError("the door is stuck")

    with pytest.warns(RuntimeWarning, match="could not be closed.*the door is stuck"):
        motley.train("ippo", lambda: Belt(log), BELT, total_steps=40, out=tmp_path / "run", progress=False)


def test_fault_a_factory_that_fails_is_named_with_its_place(tmp_path):
    from motley.training import adapters

    def broken():
        raise KeyError("no belt")

    def lacking():
        raise adapters().Missing("the belt", "buy one")

    with pytest.raises(motley.ConfigError, match=r"no belt.*test_local.py:\d+, in broken"):
        motley.train("ippo", broken, BELT, out=tmp_path / "run", progress=False)
    with pytest.raises(motley.MissingError, match="the belt is missing: buy one"):
        motley.train("ippo", lacking, BELT, out=tmp_path / "run", progress=False)

    class Twins(Belt):
        possible_agents = ["a", "a"]

    calls = []
    with pytest.raises(motley.ConfigError, match="a"):
        motley.train("ippo", lambda: Twins(lambda env, call: calls.append(call)), BELT, out=tmp_path / "run", progress=False)
    assert calls[0] == "make" and calls[-1] == "close", "what is refused is closed too"


@pytest.mark.parametrize(
    ("after", "hang", "interrupts", "code"),
    [(0, "while True: pass", 2, 42), (300, "while True: pass", 2, 42), (300, "time.sleep(600)", 3, -signal.SIGINT)],
)
def test_fault_ctrl_c_again_leaves_an_environment_that_hangs(tmp_path, after, hang, interrupts, code):
    script = tmp_path / "hanging.py"
    script.write_text(f"""
import signal, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import motley
from test_local import BELT, Belt

calls = 0

def log(env, call):
    global calls
    calls += 1
    if call == "step" and calls > {after}:
        print("hangs", flush=True)
        {hang}

try:
    motley.train("ippo", lambda: Belt(log), BELT, total_steps=10**9, out={str(tmp_path / "run")!r}, progress=False)
except KeyboardInterrupt as stop:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print("stopped:", stop)
    sys.exit(42)
""")
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    try:
        while process.stdout.readline().strip() != "hangs":
            assert process.poll() is None
        for _ in range(interrupts):
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            time.sleep(1.0)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code and (code < 0 or "interrupted" in said), said
    assert after == 0 or (tmp_path / "run" / "checkpoints" / "latest").exists()


def test_workers_find_modules_where_this_process_does(tmp_path):
    place, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    (place / "conveyor.py").write_text("from mpe2 import simple_v3\n\ndef make():\n    return simple_v3.parallel_env()\n")
    (place / "run.py").write_text(
        "import conveyor, motley\n"
        "settings = {'preset': 'none', 'num_envs': 2, 'algo.rollout_steps': 25, 'eval.episodes': 1}\n"
        "run = motley.train('ippo', conveyor.make, settings, total_steps=50, out='run', progress=False)\n"
        "print(run.info['task'], len(motley.make('py:conveyor:make').possible_agents))\n"
    )
    given = {k: v for k, v in os.environ.items() if k not in ("MOTLEY_PYTHON", "VIRTUAL_ENV")}
    done = subprocess.run([sys.executable, place / "run.py"], cwd=elsewhere, env=given, capture_output=True, text=True)
    assert done.stdout.split() == ["py:conveyor:make", "1"], done.stderr
    # Another interpreter has modules of its own.
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    done = subprocess.run([sys.executable, place / "run.py"], cwd=elsewhere, env={**given, "MOTLEY_PYTHON": str(other)}, capture_output=True, text=True)
    assert 'MissingError: the Python module "conveyor" is missing' in done.stderr
