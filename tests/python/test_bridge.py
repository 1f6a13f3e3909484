"""Environments of other libraries through the command line: training, faults, what is left behind."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPREAD = "py:mpe2.simple_spread_v3:parallel_env"


@pytest.fixture(scope="session")
def motley():
    built = os.environ.get("MOTLEY_BIN")
    return built or str(ROOT / "target" / "debug" / "motley")


def run(motley, *words, cwd=ROOT, env=None, code=0):
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable, **(env or {})}
    done = subprocess.run([motley, "--json", *words], cwd=cwd, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (done.returncode, done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def children_of(marker):
    """Processes that run still and have `marker` in their environment."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state not in "ZX" and marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_gone(marker, seconds=10.0):
    until = time.monotonic() + seconds
    while children_of(marker) and time.monotonic() < until:
        time.sleep(0.05)
    return children_of(marker)


@pytest.mark.parametrize(
    "task",
    [
        SPREAD,
        "py:mpe2.simple_tag_v3:parallel_env",
        "py:mpe2.simple_speaker_listener_v4:env",  # AEC, through PettingZoo's converter.
        "gym/CartPole-v1",
        "gym/MountainCarContinuous-v0",
        "py:tests.foreign:Walk",
    ],
)
def test_check_passes(motley, task):
    lines, _ = run(motley, "check", task, "workers=1", cwd=ROOT / "crates" / "motley-bridge")
    assert lines[-1]["failed"] == 0, lines


@pytest.mark.parametrize("task", [SPREAD, "gym/CartPole-v1"])
def test_render_shows_what_the_environment_s_own_renderer_shows(motley, tmp_path, task):
    pytest.importorskip("pygame", reason="pygame, which draws these environments, is not installed")
    run(motley, "train", "ippo", task, "preset=none", "num_envs=2", "algo.rollout_steps=25", "total_steps=50", "eval.episodes=1",
        "--out", str(tmp_path / "run"))  # fmt: skip
    lines, _ = run(motley, "render", str(tmp_path / "run"), "-o", str(tmp_path / "film.gif"), "--width", "100", "--episodes", "1")
    film = (tmp_path / "film.gif").read_bytes()
    assert film.startswith(b"GIF89a") and 0 < film[6] + 256 * film[7] <= 100, "at most as wide as asked for"
    assert lines[-1]["frames"] == lines[0]["length"] + 1 and lines[-1]["plain"] is False
    _, said = run(motley, "render", str(tmp_path / "run"), "-o", str(tmp_path / "page.html"), code=2)
    assert "it shows no scene" in said


def test_same_seed_same_curve_whatever_the_workers_and_exact_resume(motley, tmp_path):
    def curve(folder, steps, *more):
        run(motley, "train", "happo", SPREAD, "preset=none", "num_envs=6", "algo.rollout_steps=30", "eval.episodes=4",
            f"total_steps={steps}", "seed=3", "task.kwargs={N=2}", *more, "--out", str(tmp_path / folder))  # fmt: skip
        return metrics(folder)

    def metrics(folder):
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]

    one = curve("one", 720, "task.workers=1", "threads=1")
    assert one and one == curve("three", 720, "task.workers=3", "threads=2")
    curve("cut", 360, "task.workers=1")
    run(motley, "train", "--resume", str(tmp_path / "cut"), "total_steps=720")
    resumed = metrics("cut")
    ends = lambda lines: [line for line in lines if line["env_steps"] > 360 and "train/episode_return" in line]  # noqa: E731
    assert len(ends(one)) == 2 and ends(resumed) == ends(one)


def test_only_a_user_s_own_runs_run_code_unasked(motley, tmp_path):
    there, folder = ROOT / "crates" / "motley-bridge", tmp_path / "run"
    mine, other = ({"XDG_CONFIG_HOME": str(tmp_path / name), "MOTLEY_TRUST": ""} for name in ("mine", "other"))

    def does(*words, env=mine, code=0):
        return run(motley, *words, cwd=there, env=env, code=code)[1]

    def goes_on(steps, *more, **how):
        return does("train", "--resume", str(folder), f"total_steps={steps}", *more, **how)

    does("train", "ippo", "py:tests.foreign:Walk", "task.kwargs={at=1000}", "preset=none", "num_envs=2", "algo.rollout_steps=20",
         "total_steps=80", "eval.episodes=1", "task.workers=1", "--out", str(folder))  # fmt: skip
    assert (tmp_path / "mine" / "motley" / "key").stat().st_mode & 0o777 == 0o600
    goes_on(120)
    for chosen in ("best", "latest"):
        does("eval", str(folder), "--checkpoint", chosen, "--episodes", "1")
    for words in (("eval", str(folder)), ("eval", str(folder / "policy")), ("eval", str(folder), "--checkpoint", "latest"),
                  ("eval", str(folder), "--task", "py:tests.foreign:Walk"), ("render", str(folder), "-o", str(tmp_path / "film.gif")),
                  ("train", "--resume", str(folder), "total_steps=160")):  # fmt: skip
        said = does(*words, env=other, code=2)
        assert "would call tests.foreign.Walk(at=1000) in Python" in said and "add --trust" in said, words
    does("eval", str(folder), "--episodes", "1", "--trust", env=other)
    does("eval", str(folder), "--episodes", "1", env={**other, "MOTLEY_TRUST": "1"})
    # Not another call either, though the folder is one's own.
    config, info = folder / "config.toml", folder / "run.json"
    written = config.read_text()
    assert "at = 1000" in written
    config.write_text(written.replace("at = 1000", "at = 999"))
    assert "would call tests.foreign.Walk(at=999) in Python" in goes_on(160, code=2)
    # A folder of before there were marks is one's own again after a word.
    config.write_text(written)
    info.write_text(json.dumps({name: value for name, value in json.loads(info.read_text()).items() if name != "signed"}))
    goes_on(160, code=2)
    goes_on(160, "--trust")
    goes_on(200)


def test_foreign_spread_pays_what_the_native_one_does(motley, tmp_path):
    """One trained policy, played in both: what it sees, does and is paid must be the same, or it would play worse.

    The seeds are not shared (the libraries take 31 bits of what the native environment takes 32 of), so episodes differ and means are
    compared, to four standard errors of their difference.
    """
    native = ROOT / "bundles" / "spread-happo"
    run(motley, "train", "happo", SPREAD, "preset=none", "total_steps=50", "num_envs=2", "algo.rollout_steps=25", "eval.episodes=1",
        "--out", str(tmp_path / "run"))  # fmt: skip
    # The bundle of the foreign team, with the weights of the native one.
    foreign = tmp_path / "run" / "policy"
    here, there = (json.loads((folder / "policy.json").read_text()) for folder in (native, foreign))
    shapes = lambda d: [(a["name"], a["obs"]["shape"], a["action"]) for a in d["team"]["agents"]]  # noqa: E731
    assert shapes(here) == shapes(there) and here["team"]["state"] == there["team"]["state"]
    (foreign / "policy.json").write_text(json.dumps(there | {k: here[k] for k in ("weights_bytes", "weights_blake3")}))
    shutil.copy(native / "weights.safetensors", foreign)

    def played(folder, episodes):
        last = run(motley, "eval", str(folder), "--episodes", str(episodes))[0][-1]
        return last["eval_return_mean"], last["eval_return_std"] ** 2 / episodes

    (mean, variance), (expected, its_own) = played(foreign, 100), played(native, 3000)
    assert expected > -40, "it is trained: who does not see plays for -80"
    assert abs(mean - expected) < 4 * (variance + its_own) ** 0.5, (mean, expected, variance, its_own)


def test_fault_training_survives_environments_that_fail(motley, tmp_path):
    for fault in ("raise", "die", "nan"):
        lines, _ = run(
            motley, "train", "ippo", "py:tests.foreign:Walk", f'task.kwargs={{fault="{fault}", at=7}}', "preset=none",
            "total_steps=400", "num_envs=4", "algo.rollout_steps=20", "env_failure_limit=10000", "eval.episodes=1",
            "eval.every=100000", "--out", str(tmp_path / fault), cwd=ROOT / "crates" / "motley-bridge", code=1,
        )  # fmt: skip
        # Every episode fails at its seventh step: collection bears it, and only the evaluation at the end cannot be done.
        assert [line for line in lines if line["event"] == "progress"][-1]["env_steps"] == 400, fault


def test_fault_a_wrong_shape_stops_the_run_and_is_named(motley, tmp_path):
    _, said = run(
        motley, "train", "ippo", "py:tests.foreign:Walk", 'task.kwargs={fault="shape", at=7}', "preset=none", "total_steps=400",
        "num_envs=4", "algo.rollout_steps=20", "--out", str(tmp_path / "run"), cwd=ROOT / "crates" / "motley-bridge", code=1,
    )  # fmt: skip
    assert all(text in said for text in ('agent "scout"', "expected shape (2,)", "found shape (3,)"))
    assert (tmp_path / "run" / "checkpoints" / "latest").exists()


def test_fault_three_hangs_stop_the_run_with_a_checkpoint(motley, tmp_path):
    out = tmp_path / "run"
    _, said = run(
        motley, "train", "ippo", "py:tests.foreign:Walk", 'task.kwargs={fault="hang", at=7}', "task.step_timeout=0.5",
        "task.workers=1", "preset=none", "total_steps=4000", "num_envs=2", "--out", str(out),
        cwd=ROOT / "crates" / "motley-bridge", code=1,
    )  # fmt: skip
    assert "hung 3 times" in said
    assert (out / "checkpoints" / "latest").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_fault_no_orphans_however_training_ends(motley, tmp_path, how):
    marker = f"MOTLEY_TEST_MARK={tmp_path.name}-{how}"
    name, value = marker.split("=")
    command = [motley, "train", "ippo", "py:tests.foreign:Walk", f'task.kwargs={{pids="{tmp_path}/pids", step_seconds=0.001}}',
               "preset=none", "total_steps=100000000", "num_envs=4", "--out", str(tmp_path / "run"), "task.workers=2"]  # fmt: skip
    given = {**os.environ, "MOTLEY_PYTHON": sys.executable, name: value}
    process = subprocess.Popen(command, cwd=ROOT / "crates" / "motley-bridge", env=given, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "latest").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert len(children_of(marker)) >= 5, "Motley, two workers and their children"
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 75, signal.SIGKILL: -9}[how]
    assert wait_gone(marker) == []


def test_fault_what_is_missing_exits_3_with_the_mend(motley, tmp_path):
    _, said = run(motley, "check", "py:no_such_package_here:make", code=3)
    assert "no_such_package_here" in said and "pip install" in said
    _, said = run(motley, "check", SPREAD, env={"MOTLEY_PYTHON": "/no/such/python"}, code=3)
    assert "/no/such/python" in said and "MOTLEY_PYTHON" in said
    _, said = run(motley, "check", "gym/NoSuch-v1", code=2)
    assert "NoSuch" in said
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    _, said = run(motley, "check", SPREAD, env={"MOTLEY_PYTHON": str(bare / "bin" / "python")}, code=3)
    assert "numpy" in said and "pip install numpy" in said


def test_a_task_that_is_no_environment_names_the_patterns(motley):
    _, said = run(motley, "check", "py:mpe2", code=2)
    assert "py:MODULE:CALLABLE" in said
