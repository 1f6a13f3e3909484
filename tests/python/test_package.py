"""The package `motley`: PettingZoo's own tests on every native task, shared arrays, training by name, acting."""

import copy
import dataclasses
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest

motley = pytest.importorskip("motley", reason="the package is not installed: pip install .")

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Tasks that need nothing outside Motley, all of them.
TASKS = motley.tasks()


def open_env(task, **settings):
    try:
        return motley.make(task, **settings)
    except motley.MissingError as error:
        pytest.skip(str(error))


def available(env):
    """`env` with action spaces that draw among the actions available now: `state_test` does not hand them the mask."""
    from pettingzoo.utils import BaseWrapper

    class Available(BaseWrapper):
        def action_space(self, agent):
            space, seen = super().action_space(agent), self.observe(agent)
            mask = seen["action_mask"] if isinstance(seen, dict) else None
            return types.SimpleNamespace(sample=lambda: space.sample(mask), contains=space.contains)

    return Available(env)


@pytest.mark.parametrize("task", TASKS)
def test_pettingzoo_s_own_tests(task):
    from pettingzoo.test import parallel_api_test, parallel_seed_test, render_test, seed_test, state_test
    from pettingzoo.utils import parallel_to_aec

    env = open_env(task)
    masks = env.team.masks
    drawn = env.reset(seed=0) and env.render() is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel_api_test(env, num_cycles=60)
        seed_test(lambda: parallel_to_aec(open_env(task)), num_cycles=10)
        if not masks:  # It draws actions without looking at masks.
            parallel_seed_test(lambda: open_env(task), num_cycles=10)
        state_test(available(parallel_to_aec(open_env(task))), open_env(task), num_cycles=5)
        if drawn:
            render_test(lambda render_mode: parallel_to_aec(open_env(task, render_mode=render_mode)))


@pytest.mark.parametrize("task", ["mpe/simple_spread_v3", "mpe/simple_speaker_listener_v4"])
def test_episodes_last_as_long_as_their_setting_says(task):
    from pettingzoo.test import max_cycles_test
    from pettingzoo.utils import parallel_to_aec

    make = lambda **settings: motley.make(task, **settings)
    max_cycles_test(types.SimpleNamespace(parallel_env=make, env=lambda **settings: parallel_to_aec(make(**settings))))


def test_a_build_that_finds_no_mujoco_says_what_to_install(tmp_path):
    package = tmp_path / "motley"
    package.mkdir()
    (package / "__init__.py").write_text(pathlib.Path(motley.__file__).read_text())
    (package / "_native.py").write_text('raise ImportError("libmujoco.so.3.17.0: cannot open shared object file: No such file or directory")')
    tried = subprocess.run([sys.executable, "-c", "import motley"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert tried.returncode != 0 and tried.stderr.rstrip().endswith("pip install mujoco==3.17.0"), tried.stderr


def test_continuous_actions_pass_too():
    from pettingzoo.test import parallel_api_test, seed_test
    from pettingzoo.utils import parallel_to_aec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel_api_test(motley.make("mpe/simple_reference_v3", continuous=True), num_cycles=60)
        seed_test(lambda: parallel_to_aec(motley.make("mpe/simple_tag_v3", continuous=True)), num_cycles=10)


def test_particles_are_mpe2_s_bit_for_bit():
    from mpe2 import simple_tag_v3

    theirs, ours = simple_tag_v3.parallel_env(), motley.make("mpe/simple_tag_v3")
    rng = np.random.default_rng(0)
    for seed in range(5):
        seen, _ = theirs.reset(seed=seed)
        shown, _ = ours.reset(options={"numpy_seed": seed})
        for _ in range(25):
            for agent in theirs.agents:
                np.testing.assert_array_equal(seen[agent], shown[agent])
            actions = {agent: int(rng.integers(5)) for agent in theirs.agents}
            seen, reward, _, cut, _ = theirs.step(actions)
            shown, paid, _, ended, _ = ours.step(actions)
            assert all(abs(reward[a] - paid[a]) < 1e-12 for a in reward) and cut == ended


def test_a_state_of_particles_is_set_and_read():
    env = motley.make("mpe/simple_spread_v3")
    env.reset(seed=1)
    state = env.get_state()
    state["pos"][0] = [0.25, -0.5]
    state["vel"][0] = [0.125, 0.0]
    seen = env.set_state(state)
    np.testing.assert_array_equal(seen["agent_0"][:4], np.array([0.125, 0.0, 0.25, -0.5], np.float32))
    np.testing.assert_array_equal(env.get_state()["pos"], state["pos"])
    # Position moves with the old velocity: p + 0.1 v.
    env.step({a: 0 for a in env.agents})
    assert abs(env.get_state()["pos"][0, 0] - (0.25 + 0.1 * 0.125)) < 1e-12
    with pytest.raises(ValueError, match="marks"):
        env.set_state({"speed": 3})
    with pytest.raises(motley.Error, match="expected 6 positions"):
        env.set_state({"pos": [[0.0, 0.0]] * 3})
    with pytest.raises(motley.Error, match="mpe"):
        other = motley.make("matrix/climbing")
        other.reset(seed=0)
        other.get_state()


def test_vector_arrays_are_shared_and_unpadded():
    envs = motley.make_vec("mpe/simple_tag_v3", 8)
    obs, _ = envs.reset(seed=3)
    assert obs["adversary_0"].shape == (8, 16) and obs["agent_0"].shape == (8, 14)
    held = obs["agent_0"]
    before = held.copy()
    address = held.__array_interface__["data"]
    obs, rewards, terminated, truncated, _ = envs.step({a: np.ones(8, int) for a in envs.agents})
    assert obs["agent_0"].__array_interface__["data"] == address, "the same memory"
    assert (held != before).any() and not held.flags.writeable and rewards.shape == (8, 4)
    envs.actions[...] = 2
    again, *_ = envs.step()
    assert again["agent_0"].base is not None and not terminated.any() and not truncated.any()
    with pytest.raises(ValueError, match="adversary_0.*shape"):
        envs.step({a: np.ones(7, int) for a in envs.agents})
    with pytest.raises(motley.Error, match="environment 0.*adversary_0"):
        envs.step({a: np.full(8, 9) for a in envs.agents})


def test_vector_actions_are_drawn_from_the_agents_spaces():
    for task, settings in (("mpe/simple_tag_v3", {}), ("mpe/simple_tag_v3", {"continuous": True}), ("skirmish/3m", {})):
        envs, one = motley.make_vec(task, 4, **settings), motley.make(task, **settings)
        obs, infos = envs.reset(seed=1)
        for agent in envs.agents:
            assert envs.action_space(agent) == one.action_space(agent)
            assert envs.observation_space(agent).contains(obs[agent][0])
            width = () if envs.action_space(agent).shape == () else envs.action_space(agent).shape
            assert np.stack([envs.action_space(agent).sample()] * 4).shape == (4, *width)
        masks = infos.get("action_mask", {})
        draw = lambda a, k: envs.action_space(a).sample(*([masks[a][k].astype(np.int8)] if a in masks else []))  # noqa: E731, B023
        envs.step({a: np.stack([draw(a, k) for k in range(4)]) for a in envs.agents})
        with pytest.raises(ValueError, match="no agent 'nobody'"):
            envs.action_space("nobody")


def test_environments_by_name_run_with_this_python():
    code = "import os, motley; motley.make_vec('py:mpe2.simple_spread_v3:parallel_env', 1); print(os.environ['MOTLEY_PYTHON'])"
    given = {k: v for k, v in os.environ.items() if k not in ("MOTLEY_PYTHON", "VIRTUAL_ENV")}
    # Without anything else on the path there is no other Python to be found.
    done = subprocess.run([sys.executable, "-c", code], env={**given, "PATH": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == sys.executable, done.stderr
    done = subprocess.run([sys.executable, "-c", code], env={**given, "MOTLEY_PYTHON": "/no/such/python"}, capture_output=True, text=True)
    assert done.returncode != 0 and "/no/such/python" in done.stderr


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_autoreset_modes_keep_the_true_end(mode):
    from gymnasium.vector import AutoresetMode

    """Against one copy at a time, stepped by hand."""
    envs = motley.make_vec("mpe/simple_spread_v3", 3, autoreset_mode=mode, max_cycles=4)
    assert envs.metadata["autoreset_mode"] is AutoresetMode(mode)
    envs.reset(seed=5)
    by_hand = motley.make_vec("mpe/simple_spread_v3", 3, autoreset_mode="Disabled", max_cycles=4, threads=1)
    by_hand.reset(seed=5)
    for _ in range(3):
        for step in range(1, 5):
            actions = {a: np.full(3, step) for a in envs.agents}
            _, rewards, _, cut, infos = envs.step(actions)
            _, expected, _, ended, _ = by_hand.step(actions)
            np.testing.assert_array_equal(rewards, expected)
            np.testing.assert_array_equal(cut, ended)
            assert cut.all() == (step == 4)
        end = infos["final_obs"] if mode == "SameStep" else envs.obs
        for agent in envs.agents:
            np.testing.assert_array_equal(end[agent], by_hand.obs[agent])
        everyone = {"reset_mask": np.ones(3, bool)}
        by_hand.reset(options=everyone)
        if mode == "NextStep":
            _, rewards, _, cut, _ = envs.step({a: np.zeros(3) for a in envs.agents})
            assert not rewards.any() and not cut.any()
        if mode == "Disabled":
            with pytest.raises(motley.Error, match="after the end"):
                envs.step({a: np.zeros(3) for a in envs.agents})
            envs.reset(options=everyone)
        for agent in envs.agents:
            np.testing.assert_array_equal(envs.obs[agent], by_hand.obs[agent])


def test_a_reset_mask_leaves_the_others_alone():
    envs = motley.make_vec("mpe/simple_v3", 3, autoreset_mode="Disabled")
    envs.reset(seed=0)
    before = envs.obs["agent_0"].copy()
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    changed = (envs.obs["agent_0"] != before).any(axis=1)
    assert changed.tolist() == [False, True, False]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "happo"
    events = []
    run = motley.train(
        "happo", "mpe/simple_spread_v3",
        {"preset": "none", "num_envs": 4, "algo": {"rollout_steps": 50}, "eval.episodes": 4, "net.recurrent": True},
        seed=3, total_steps=2000, out=out, progress=events.append,
    )  # fmt: skip
    return run, events


def test_training_returns_frames_and_tells_progress(trained):
    run, events = trained
    told = [e["event"] for e in events]
    assert told[0] == "started" and told[-2:] == ["evaluation", "checkpoint"]
    assert [e["env_steps"] for e in events if e["event"] == "progress"] == list(range(200, 2001, 200))
    metrics, episodes = run.metrics(), run.evaluations()
    assert metrics.index[-1] == 2000 and np.isfinite(metrics["eval/return_mean"].dropna()).all()
    assert metrics.index.is_unique and np.isfinite(metrics.loc[2000, ["eval/return_mean", "train/episode_return"]].astype(float)).all()
    assert len(episodes) == 4 and run.info["status"] == "done" and "happo" in repr(run)


def test_a_budget_is_told_in_whole_rollouts_and_an_existing_folder_is_a_matter_of_configuration(tmp_path):
    settings = {"preset": "none", "num_envs": 2, "algo.rollout_steps": 25, "eval.episodes": 1}
    told, out = [], tmp_path / "run"
    motley.train("ippo", "mpe/simple_v3", settings, total_steps=60, out=out, progress=told.append)
    assert told[0]["event"] == "started" and told[0]["total_steps"] == 100
    assert told[1]["event"] == "warning" and "60 is rounded up to 100" in told[1]["text"]
    assert max(e["env_steps"] for e in told if e["event"] == "progress") == 100
    with pytest.raises(motley.ConfigError, match="already holds a run"):
        motley.train("ippo", "mpe/simple_v3", settings, total_steps=60, out=out, progress=False)
    with pytest.raises(motley.ConfigError, match="holds no run"):
        motley.train(resume=tmp_path, progress=False)
    with pytest.raises(motley.ConfigError, match="holds runs, name one: .*run"):
        motley.load(tmp_path)
    with pytest.raises(motley.ConfigError, match="does not exist"):
        motley.load(tmp_path / "nothing")


def test_training_is_the_command_line_s_bit_for_bit(trained, tmp_path):
    run, _ = trained
    words = ["-q", "train", "happo", "mpe/simple_spread_v3", "preset=none", "num_envs=4", "algo.rollout_steps=50", "eval.episodes=4",
             "net.recurrent=true", "seed=3", "total_steps=2000", "threads=1", "--out", str(tmp_path / "cli")]  # fmt: skip
    subprocess.run([sys.executable, "-m", "motley", *words], check=True)
    weights = pathlib.Path("policy") / "weights.safetensors"
    names = sorted(p.name for p in (run.path / "policy").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "cli" / "policy").iterdir())
    for name in names:
        if name.endswith(".safetensors"):
            mine, theirs = (base / "policy" / name for base in (run.path, tmp_path / "cli"))
            assert mine.read_bytes() == theirs.read_bytes(), weights


def test_a_policy_acts_alone_and_in_batches(trained):
    policy = motley.load(trained[0])
    env = motley.make("mpe/simple_spread_v3")
    policy.check(env.team)
    obs, _ = env.reset(seed=0)
    memory, one = None, []
    for _ in range(4):
        actions, memory = policy.act(obs, state=memory)
        assert set(actions) == set(env.agents) and all(isinstance(int(a), int) for a in actions.values())
        one.append((obs, actions, memory))
        obs, *_ = env.step(actions)
    assert memory.any(), "recurrent memory moves"
    held = None
    for obs, actions, memory in one:
        many = {a: np.stack([o, 0.5 * o]) for a, o in obs.items()}
        batch, held = policy.act(many, state=held)
        assert {a: b[0] for a, b in batch.items()} == actions
        np.testing.assert_array_equal(held[0], memory)
    again = [policy.act(one[0][0], deterministic=False, seed=s)[0] for s in range(40)]
    assert again == [policy.act(one[0][0], deterministic=False, seed=s)[0] for s in range(40)]
    assert len({tuple(a.values()) for a in map(dict, again)}) > 1, "drawn actions differ"


def test_any_checkpoint_acts(trained):
    run, _ = trained
    best, latest = motley.load(run), motley.load(run, checkpoint="latest")
    assert best.env_steps <= latest.env_steps == 2000 == motley.load(run, checkpoint=2000).env_steps
    obs, _ = motley.make("mpe/simple_spread_v3").reset(seed=0)
    assert set(latest.act(obs)[0]) == set(best.act(obs)[0])
    assert copy.deepcopy(latest).act(obs)[0] == latest.act(obs)[0]
    with pytest.raises(motley.ConfigError, match="no checkpoint after 3 env steps"):
        motley.load(run, checkpoint=3)
    with pytest.raises(motley.ConfigError, match="expected best, latest"):
        motley.load(run, checkpoint="newest")


def test_threads_may_share_a_policy(trained):
    from concurrent.futures import ThreadPoolExecutor

    policy = motley.load(trained[0])
    rng = np.random.default_rng(0)
    batches = [{a: rng.normal(size=(64, 18)).astype(np.float32) for a in policy.team.names} for _ in range(40)]
    alone = [policy.act(batch)[0] for batch in batches]
    with ThreadPoolExecutor(2) as both:
        together = list(both.map(lambda batch: policy.act(batch)[0], batches * 5))
    for found, expected in zip(together, alone * 5):
        for agent in expected:
            np.testing.assert_array_equal(found[agent], expected[agent])


def test_a_mask_is_kept_and_bad_input_is_named(trained):
    policy = motley.load(trained[0].path)
    obs, _ = motley.make("mpe/simple_spread_v3").reset(seed=0)
    only = {a: np.eye(5)[k + 1] for k, a in enumerate(obs)}
    assert [int(a) for a in policy.act(obs, only)[0].values()] == [1, 2, 3]
    short = {**obs, "agent_1": obs["agent_1"][:-1]}
    with pytest.raises(ValueError, match=r"agent_1.*\(18,\).*\(17,\)"):
        policy.act(short)
    with pytest.raises(TypeError, match="agent_2.*dtype"):
        policy.act({**obs, "agent_2": np.array(["x"] * 18)})
    broken = {**obs, "agent_2": np.where(np.arange(18) == 4, np.nan, obs["agent_2"])}
    with pytest.raises(ValueError, match=r"agent_2.*finite.*nan at \(4,\)"):
        policy.act(broken)
    with pytest.raises(ValueError, match="agent_9"):
        policy.act({"agent_9": obs["agent_0"]})
    with pytest.raises(ValueError, match="mask.*agent_0x"):
        policy.act(obs, {"agent_0x": np.ones(5)})
    with pytest.raises(ValueError, match="agent_2.*finite.*inf"):
        policy.act({**obs, "agent_2": np.full(18, 1e300)})
    with pytest.raises(ValueError, match="no action is available"):
        policy.act(obs, {"agent_0": np.zeros(5)})
    with pytest.raises(ValueError, match="recurrent memory"):
        policy.act(obs, state=np.zeros(3))
    with pytest.raises(ValueError, match="simple_tag_v3"):
        policy.check(motley.make("mpe/simple_tag_v3").team)


def test_fault_half_a_line_and_no_line_of_a_run_at_work_are_borne(trained, tmp_path):
    folder = shutil.copytree(trained[0].path, tmp_path / "run")
    with open(folder / "metrics.jsonl", "a") as log:
        log.write('{"env_steps": 12')
    with pytest.warns(UserWarning, match="the last line is not whole"):
        assert len(motley.run(folder).metrics()) == len(trained[0].metrics())
    (folder / "metrics.jsonl").write_text("")
    assert motley.run(folder).metrics().empty


def test_text_of_any_alphabet_is_a_setting():
    from motley.team import toml_value

    assert toml_value({"ключ": "\U0001f600\x7f"}) == '{"ключ" = "\U0001f600\\u007f"}'


def test_closed_environments_say_so_and_leave_no_process():
    envs = motley.make_vec("gym/CartPole-v1", 2, workers=2)
    envs.reset(seed=0)
    children = lambda: subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()  # noqa: E731
    before = len(children())
    envs.close()
    assert len(children()) <= before - 2
    with pytest.raises(motley.Error, match="closed"):
        envs.step()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_native_environments_go_on_in_a_forked_child():
    envs = motley.make_vec("mpe/simple_v3", 8, threads=2)
    envs.reset(seed=0)
    envs.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Forking beside threads is what this is about.
        child = os.fork()
    if child == 0:
        envs.step()
        os._exit(0)
    until = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.05)
    if done[0] == 0:
        os.kill(child, signal.SIGKILL)
    assert done == (child, 0)


def test_misspelt_names_are_answered_with_the_nearest():
    with pytest.raises(motley.ConfigError, match="simple_spread_v3"):
        motley.make("mpe/simple_spred_v3")
    with pytest.raises(motley.ConfigError, match="num_agents"):
        motley.make("mpe/simple_spread_v3", num_agnets=4)
    with pytest.raises(motley.ConfigError, match="happo"):
        motley.train("hapo", "mpe/simple_v3", progress=False)


def test_exceptions_and_environments_and_policies_survive_a_pickle(trained):
    import cloudpickle  # Gymnasium brings it.

    copies = [copy.deepcopy, *(lambda thing, by=by: by.loads(by.dumps(thing)) for by in (pickle, cloudpickle))]
    env, policy = motley.make("mpe/simple_tag_v3", render_mode="rgb_array", continuous=True), motley.load(trained[0])
    obs, _ = motley.make("mpe/simple_spread_v3").reset(seed=0)
    expected = env.reset(seed=4)[0]
    for again in copies:
        for kind in (motley.Error, motley.ConfigError, motley.MissingError):
            error = again(kind("why"))
            assert type(error) is kind and error.args == ("why",)
        other = again(env)
        assert (other.team, other.render_mode, other.agents) == (env.team, "rgb_array", [])
        assert other.reset(seed=4)[0].keys() == expected.keys() and env.agents
        np.testing.assert_array_equal(other.state(), env.state())
        assert again(policy).act(obs)[0] == policy.act(obs)[0]


def test_draws_depend_on_the_seed_and_on_the_calls_before(trained):
    obs, _ = motley.make("mpe/simple_spread_v3").reset(seed=0)

    def draws(policy, seed, calls=30):
        return [tuple(policy.act(obs, deterministic=False, seed=seed)[0].values()) for _ in range(calls)]

    policy = motley.load(trained[0])
    seventh = draws(policy, 7)
    assert len(set(seventh)) > 1, "the steps of an episode differ"
    assert draws(policy, 8) != seventh and draws(policy, 7) == seventh, "another seed starts its own count"
    assert draws(policy, 7) != seventh and draws(motley.load(trained[0]), 7) == seventh
    assert draws(policy, None) != draws(motley.load(trained[0]), None)
    before = draws(policy, 9, 10)
    policy.act(obs)
    draws(policy, None, 3)
    assert before + draws(policy, 9, 20) == draws(motley.load(trained[0]), 9), "other calls do not count"


def test_memory_of_one_batch_size_is_kept(trained):
    policy = motley.load(trained[0])
    for size in (1, 5, 3):
        policy.act({name: np.zeros((size, 18), np.float32) for name in policy.team.names})
    assert list(policy._rooms) == [3]


def test_fault_numbers_of_the_network_that_are_not_finite_are_an_error(trained):
    policy = motley.load(trained[0])
    obs = {name: np.full(18, 3e38, np.float32) for name in policy.team.names}
    with pytest.raises(motley.Error, match='network of agent "agent_0" puts out is not finite'):
        policy.act(obs, state=np.full(policy.act({k: np.zeros(18) for k in obs})[1].shape, 3e38))


def test_teams_are_compared_and_hashed():
    teams = [motley.make("mpe/simple_tag_v3", continuous=flag).team for flag in (True, True, False)]
    assert teams[0] == teams[1] != teams[2] and len({*teams}) == 2
    assert len({agent for team in teams for agent in team.agents}) == 2 * len(teams[0].agents)
    bounds = ((-1.0,) * 2000, (1.0,) * 2000)
    wide = dataclasses.replace(teams[0].agents[0], action=("box", *bounds))
    off = dataclasses.replace(wide, action=("box", bounds[0], (*bounds[1][:1000], 2.0, *bounds[1][1001:])))
    mine, theirs = (dataclasses.replace(teams[0], agents=(agent, *teams[0].agents[1:])) for agent in (wide, off))
    policy = types.SimpleNamespace(team=mine)
    motley.Policy.check(policy, mine)
    with pytest.raises(ValueError, match="adversary_0"):
        motley.Policy.check(policy, theirs)


def test_actions_of_another_shape_are_refused():
    envs = motley.make_vec("mpe/simple_spread_v3", 4)
    envs.reset(seed=0)
    for odd in (1, np.ones(3), np.ones((1, 3)), np.ones((4, 1))):
        with pytest.raises(ValueError, match=r"expected shape \(4, 3\)"):
            envs.step(odd)
    envs.step(np.ones((4, 3), int))


def test_episodes_without_a_seed_differ_also_after_a_state_was_set():
    seen = []
    for _ in range(2):
        env = motley.make("mpe/simple_spread_v3")
        env.reset(seed=0)
        state = env.get_state()
        env = motley.make("mpe/simple_spread_v3")
        env.set_state(state)
        env.reset()
        seen.append(env.state())
    assert (seen[0] != seen[1]).any()
    envs = [motley.make_vec("mpe/simple_v3", 2, autoreset_mode="Disabled") for _ in range(2)]
    for env in envs:
        env.reset(options={"reset_mask": np.array([True, False])})
        env.reset(options={"reset_mask": np.array([False, True])})
    assert (envs[0].state != envs[1].state).any(axis=1).all()


def test_an_episode_that_begins_with_a_set_state_has_all_its_steps():
    env = motley.make("mpe/simple_v3", max_cycles=10)
    env.reset(seed=0)
    for _ in range(7):
        env.step({"agent_0": 0})
    env.set_state(env.get_state())
    for left in reversed(range(10)):
        cut = env.step({"agent_0": 0})[3]
        assert cut["agent_0"] == (left == 0), left


def test_settings_come_from_variables_too_and_a_resume_contradicts_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTLEY__ALGO__LR", "0.003")
    run = motley.train("happo", "matrix/climbing", {"algo.rollout_steps": 10}, total_steps=200, out=tmp_path / "run", progress=False)
    assert "lr = 0.003" in (run.path / "config.toml").read_text()
    monkeypatch.setenv("MOTLEY__ALGO__LRR", "1")
    with pytest.raises(motley.ConfigError, match="algo.lrr"):
        motley.train("happo", "matrix/climbing", total_steps=200, progress=False)
    monkeypatch.delenv("MOTLEY__ALGO__LRR")
    monkeypatch.delenv("MOTLEY__ALGO__LR")
    for odd, said in [
        ({"algo": "mappo"}, "is a run of algo happo, mappo was asked for"),
        ({"algo": "happo", "task": "matrix/penalty"}, "is a run of task matrix/climbing"),
        ({"out": tmp_path / "other"}, "leave out `out`"),
        ({"seed": 5}, "keeps seed = 0"),
    ]:
        with pytest.raises(motley.ConfigError, match=said):
            motley.train(resume=run, total_steps=400, progress=False, **odd)
    more = motley.train("happo", "matrix/climbing", resume=run, total_steps=400, progress=False)
    assert more.info["env_steps"] == 400
    with pytest.raises(motley.ConfigError, match="no run folder"):
        motley.run(tmp_path / "nowhere")


def test_numbers_out_of_range_are_named():
    for make in (lambda: motley.make_vec("mpe/simple_v3", -1), lambda: motley.make_vec("mpe/simple_v3", 10**9)):
        with pytest.raises(ValueError, match="num_envs: expected a whole number, 1 to 100000"):
            make()
    with pytest.raises(ValueError, match="threads"):
        motley.make_vec("mpe/simple_v3", 1, threads=-1)
    with pytest.raises(ValueError, match="seed: expected a whole number"):
        motley.make("mpe/simple_v3").reset(seed=-1)


def test_options_that_a_reset_does_not_know_warn():
    env = motley.make("mpe/simple_v3")
    with pytest.warns(UserWarning, match="no options 'numpy_sed'"):
        env.reset(options={"numpy_sed": 1})
    many = motley.make_vec("mpe/simple_v3", 2)
    with pytest.warns(UserWarning, match="no options 'reset_masks'"):
        many.reset(options={"reset_masks": [True, False]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many.reset(options={"reset_mask": [True, False]})
        env.reset(options={})
        env.reset(options={"numpy_seed": 1})


def test_long_calls_leave_the_interpreter_to_others():
    envs = motley.make_vec("mpe/simple_world_comm_v3", 4000, threads=1)
    envs.reset(seed=0)
    ticks, running = [], True

    def tick():
        while running:
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    other = threading.Thread(target=tick)
    other.start()
    envs.actions[...] = 0
    # Were the interpreter held, the other thread could tick at most just before and just after the work: twice. On a busy machine it may
    # not get its turn in one step, but it does in one of many.
    most, until = 0, time.perf_counter() + 10
    while most < 3 and time.perf_counter() < until:
        began = time.perf_counter()
        envs.step()
        ended = time.perf_counter()
        most = max(most, sum(began < t < ended for t in ticks))
    running = False
    other.join()
    assert most >= 3, (most, len(ticks), ended - began)


def test_the_command_comes_with_the_package():
    binary = pathlib.Path(sys.executable).with_name("motley")
    done = subprocess.run([str(binary), "--json", "check", "matrix/climbing"], capture_output=True, text=True)
    assert done.returncode == 0 and '"failed":0' in done.stdout.splitlines()[-1]
    assert subprocess.run([str(binary), "check", "matrix/climbin"], capture_output=True).returncode == 2
    assert (pathlib.Path(motley.__file__).parent / "py.typed").exists()


def test_a_sweep_by_the_package_starts_the_package(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        "out = 'runs'\nalgos = ['ippo']\ntasks = ['matrix/climbing']\nseeds = 2\n"
        "[settings]\ntotal_steps = 400\nnum_envs = 4\nalgo.rollout_steps = 10\neval.episodes = 2\n"
    )
    binary = pathlib.Path(sys.executable).with_name("motley")
    done = subprocess.run([str(binary), "sweep", str(plan)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "2 of 2 runs are done" in done.stdout, done.stderr
    done = subprocess.run([str(binary), "sweep", str(plan), "--launcher", "slurm"], capture_output=True, text=True, cwd=tmp_path, check=False)
    script = (tmp_path / "runs" / "sweep.sbatch").read_text()
    # The interpreter of this environment, by whichever of its names the installer wrote.
    python = rf"'{re.escape(str(pathlib.Path(sys.executable).parent))}/python[0-9.]*' '-m' 'motley' sweep"
    assert done.returncode == 0 and re.search(python, script), script


def test_the_example_plays_the_shipped_policies():
    words = [sys.executable, ROOT / "examples" / "play_bundles.py", ROOT / "bundles" / "combat-3m-mappo", "--episodes", "20"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, said = done.stdout.strip().split(": return ")
    returned, won = said.removesuffix(" % won").split(", ")
    assert name == "combat-3m-mappo"
    assert float(returned) > 15 and float(won) >= 75  # its card: 19.4 and 94.7 % over 1000 episodes
