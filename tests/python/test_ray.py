"""`motley.ray` on a cluster of several nodes on this machine: the bits of one process, losses of workers, nodes and the learner."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

motley = pytest.importorskip("motley", reason="the package is not installed: pip install .")
ray = pytest.importorskip("ray", reason="ray is not installed: pip install -r tests/python/requirements-ray.txt")
motley_ray = pytest.importorskip("motley.ray")

# Small, with checkpoints and evaluations on the way, and long enough for something to happen in the middle.
SETTINGS = {
    "preset": "none", "num_envs": 8, "algo.rollout_steps": 25, "net.hidden_sizes": [64], "eval.episodes": 4,
    "eval.every": 4000, "log.checkpoint_every": 2000, "threads": 1,
}  # fmt: skip
TASK = "mpe/simple_spread_v3"
STEPS = 16_000
STORE = 100_000_000


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    # Ray gives way to everything else on the machine by default; here that only makes tests slow.
    os.environ["RAY_worker_niceness"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "object_store_memory": STORE, "include_dashboard": False})
    made.add_node(num_cpus=3, object_store_memory=STORE)
    made.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = made.address
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    del os.environ["RAY_ADDRESS"]
    made.shutdown()


def state(run):
    """What two runs that are one must share: the state of the last checkpoint, and what was logged but for times."""
    latest = (pathlib.Path(run.path) / "checkpoints" / "latest").read_text().strip()
    saved = (pathlib.Path(run.path) / "checkpoints" / latest / "state.safetensors").read_bytes()
    lines = (pathlib.Path(run.path) / "metrics.jsonl").read_text().splitlines()
    told = [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]
    return latest, saved, told, (pathlib.Path(run.path) / "eval.jsonl").read_text()


def must_equal(found, expected):
    assert [a == b for a, b in zip(state(found), state(expected))] == [True] * 4
    assert len(state(found)[2]) == len(state(expected)[2])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process that all others are held to."""
    out = tmp_path_factory.mktemp("alone") / "run"
    return motley.train("happo", TASK, SETTINGS, seed=5, total_steps=STEPS, out=out, progress=False)


class Teller:
    """Keeps what a run tells, and does something once when it first tells of so many steps."""

    def __init__(self, at=None, act=None):
        self.events, self.at, self.act, self.learners = [], at, act, []

    def __call__(self, event):
        self.events.append(event)
        if self.at is not None and event["event"] == "progress" and event["env_steps"] >= self.at:
            self.at = None
            self.act(self.learners[-1])

    @property
    def warnings(self):
        return [event["text"] for event in self.events if event["event"] == "warning"]


def over_ray(out, teller, workers, *, total_steps=STEPS, **more):
    return motley_ray.train(
        "happo", TASK, SETTINGS, seed=5, total_steps=total_steps, out=out, workers=workers, cpus=1, progress=teller,
        placed=teller.learners.append, **more,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_bits_of_one_process(cluster, alone, tmp_path, workers):
    teller = Teller()
    run = over_ray(tmp_path / "run", teller, workers)
    must_equal(run, alone)
    assert run.info["status"] == "done" and not teller.warnings


def test_workers_lie_on_several_nodes(cluster, tmp_path):
    seen = []
    teller = Teller(200, lambda learner: seen.extend(ray.get(learner.places.remote())))
    over_ray(tmp_path / "run", teller, 2)
    assert len({node for node, _ in seen[1:]}) == 2 and len({process for _, process in seen}) == 3


def test_a_killed_worker_is_replaced_and_the_bits_stay(cluster, alone, tmp_path):
    def kill(learner):
        os.kill(ray.get(learner.places.remote())[1][1], signal.SIGKILL)

    teller = Teller(1000, kill)
    run = over_ray(tmp_path / "run", teller, 2)
    must_equal(run, alone)
    assert len(teller.warnings) == 1 and "environments 0 to 3 was lost" in teller.warnings[0], teller.warnings


def test_overlapped_rollouts_give_the_bits_of_one_process_and_survive_a_lost_worker(cluster, tmp_path):
    overlapped = SETTINGS | {"overlap": True}
    alone = motley.train("happo", TASK, overlapped, seed=5, total_steps=STEPS, out=tmp_path / "alone", progress=False)

    def kill(learner):
        os.kill(ray.get(learner.places.remote())[2][1], signal.SIGKILL)

    teller = Teller(1000, kill)
    run = motley_ray.train(
        "happo", TASK, overlapped, seed=5, total_steps=STEPS, out=tmp_path / "run", workers=2, cpus=1, progress=teller,
        placed=teller.learners.append,
    )  # fmt: skip
    must_equal(run, alone)
    assert any("environments 4 to 7 was lost" in text for text in teller.warnings), teller.warnings


def test_a_lost_node_is_survived_and_the_bits_stay(cluster, alone, tmp_path):
    cluster.add_node(num_cpus=3, object_store_memory=STORE)
    cluster.wait_for_nodes()
    lost = []

    def take_away(learner):
        (home, _), *workers = ray.get(learner.places.remote())
        removable = {node.node_id: node for node in cluster.worker_nodes}
        node = next(node for node, _ in workers if node != home and node in removable)
        cluster.remove_node(removable[node], allow_graceful=False)
        lost.append(node)

    teller = Teller(1000, take_away)
    run = over_ray(tmp_path / "run", teller, 3, patience=10.0)
    assert lost, "a node with a worker was taken away"
    must_equal(run, alone)
    assert any("was lost" in text and "replaced" in text for text in teller.warnings), teller.warnings
    while len([node for node in ray.nodes() if node["Alive"]]) < 2:
        cluster.add_node(num_cpus=3, object_store_memory=STORE)
        cluster.wait_for_nodes()


def test_a_killed_learner_starts_again_from_its_checkpoint(cluster, alone, tmp_path):
    teller = Teller(2400, lambda learner: os.kill(ray.get(learner.places.remote())[0][1], signal.SIGKILL))
    run = over_ray(tmp_path / "run", teller, 2)
    must_equal(run, alone)
    assert len(teller.learners) == 2 and any("started again" in text for text in teller.warnings)
    steps = [event["env_steps"] for event in teller.events if event["event"] == "started"]
    assert steps[0] == 0 and steps[1] >= 2000 and steps[1] % 2000 == 0


def test_a_run_moves_between_ray_and_one_process(cluster, alone, tmp_path):
    half = motley.train("happo", TASK, SETTINGS, seed=5, total_steps=STEPS // 2, out=tmp_path / "run", progress=False)
    whole = motley_ray.train(resume=half, total_steps=STEPS, workers=3, cpus=1, progress=False)
    must_equal(whole, alone)


def test_a_failing_run_says_why(cluster, tmp_path):
    with pytest.raises(motley.ConfigError, match="unknown algorithm"):
        motley_ray.train("happi", TASK, SETTINGS, out=tmp_path / "run", workers=1, cpus=1, progress=False)
    with pytest.raises(ValueError, match="out=FOLDER"):
        motley_ray.train("happo", TASK)


def test_a_sweep_trains_a_plan_and_leaves_done_runs_alone(cluster, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"out = '{tmp_path}/runs'\nalgos = ['happo', 'ippo']\ntasks = ['matrix/climbing']\nseeds = 2\n"
        "[settings]\ntotal_steps = 400\nnum_envs = 4\nalgo.rollout_steps = 10\neval.episodes = 2\n"
    )
    command = [sys.executable, "-m", "motley", "sweep", str(plan), "--launcher", "ray", "--parallel", "2"]
    for _ in range(2):
        said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert said.returncode == 0, said.stderr
        assert "4 of 4 runs are done" in said.stdout
    runs = sorted(tmp_path.glob("runs/*/*/s*/run.json"))
    assert len(runs) == 4 and all(json.loads(path.read_text())["status"] == "done" for path in runs)


def test_a_run_that_raises_leaves_the_others_alone(cluster, tmp_path, monkeypatch, capsys):
    plan = tmp_path / "plan.toml"
    plan.write_text(f"out = '{tmp_path}/runs'\nalgos = ['happo']\ntasks = ['matrix/climbing']\nseeds = 3\n")

    def one(plan, index, here, cpus):
        if index == 1:
            raise FileNotFoundError(f"no folder {here} on this node")
        return 0

    monkeypatch.setattr(motley_ray, "_one", one)
    assert motley_ray.sweep(plan) == 1
    said = capsys.readouterr()
    assert "2 of 3 runs are done, 1 failed" in said.out and "no folder" in said.err


def test_what_is_lost_is_told_from_what_fails(tmp_path):
    assert issubclass(ray.exceptions.OutOfMemoryError, motley_ray.LOST) and not issubclass(ray.exceptions.RayTaskError, motley_ray.LOST)
    # A finished run whose checkpoints its user removed is kept; what an interrupted one left without a checkpoint is not.
    for status, kept in [("done", True), ("running", False)]:
        run = tmp_path / status
        (run / "policy").mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"status": status}))
        assert motley_ray._can_resume(str(run)) is kept and (run / "policy").exists() is kept


def tuned(space, tune_config, folder):
    from ray import tune

    base = {"algo": "happo", "task": TASK, **SETTINGS, "total_steps": 4800, "eval.every": 800, "log.checkpoint_every": 800}
    return tune.Tuner(
        motley_ray.trainable, param_space=base | space, tune_config=tune_config, run_config=tune.RunConfig(storage_path=str(folder), verbose=0)
    ).fit()


def test_asha_stops_trials_early(cluster, tmp_path):
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    asha = ASHAScheduler(time_attr="env_steps", max_t=4800, grace_period=1000, reduction_factor=2)
    config = tune.TuneConfig(metric="eval_return_mean", mode="max", scheduler=asha, num_samples=1, max_concurrent_trials=2)
    found = tuned({"seed": tune.grid_search([1, 2, 3, 4])}, config, tmp_path)
    assert not found.errors and len(found) == 4
    reached = sorted(result.metrics["env_steps"] for result in found)
    assert reached[-1] >= 4800 and reached[0] < 4800, reached


def test_population_based_training_takes_over_checkpoints_and_settings(cluster, tmp_path):
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    # A rate drawn from an interval is never the one before. In step, so that no trial can be done before the other reports.
    population = PopulationBasedTraining(
        time_attr="env_steps", perturbation_interval=800, quantile_fraction=0.5, synch=True,
        hyperparam_mutations={"algo.lr": tune.loguniform(1e-4, 2e-3)},
    )  # fmt: skip
    config = tune.TuneConfig(metric="eval_return_mean", mode="max", scheduler=population, num_samples=1, reuse_actors=False)
    found = tuned({"seed": 3, "algo.lr": tune.grid_search([1e-4, 2e-3])}, config, tmp_path)
    assert not found.errors, found.errors
    tuned_runs = []
    for result in found:
        assert result.metrics["env_steps"] >= 4800
        with result.checkpoint.as_directory() as folder:
            changes = json.loads((pathlib.Path(folder) / "run.json").read_text())["changes"]
        tuned_runs += [change for change in changes if change["key"] == "algo.lr"]
    assert tuned_runs, "no trial took over another's checkpoint under another step size"


def test_a_trial_that_stops_goes_on_bit_for_bit(cluster, tmp_path):
    """A trial restored from its checkpoint reports what one that was never stopped does."""
    from ray import tune

    config = {"algo": "happo", "task": TASK, "seed": 7, **SETTINGS, "eval.every": 800, "log.checkpoint_every": 800}
    run_config = tune.RunConfig(storage_path=str(tmp_path), name="short", verbose=0)
    short = tune.Tuner(motley_ray.trainable, param_space=config | {"total_steps": 1600}, run_config=run_config).fit()[0]
    held = {}

    def restored(words):
        import motley.ray as inner

        tune.get_checkpoint, kept = (lambda: words["start"]), tune.get_checkpoint
        try:
            inner.trainable({name: value for name, value in words.items() if name != "start"})
        finally:
            tune.get_checkpoint = kept

    run_config = tune.RunConfig(storage_path=str(tmp_path), name="long", verbose=0)
    longer = config | {"total_steps": 3200}
    held["whole"] = tune.Tuner(motley_ray.trainable, param_space=longer, run_config=run_config).fit()[0]
    run_config = tune.RunConfig(storage_path=str(tmp_path), name="again", verbose=0)
    held["again"] = tune.Tuner(restored, param_space=longer | {"start": short.checkpoint}, run_config=run_config).fit()[0]
    for name in ("env_steps", "eval_return_mean", "eval_return_std"):
        assert held["again"].metrics[name] == held["whole"].metrics[name]


def test_ctrl_c_stops_after_a_checkpoint(cluster, tmp_path):
    script = (
        "import motley.ray as r\n"
        f"r.train('happo', '{TASK}', {SETTINGS!r}, total_steps=10_000_000, out={str(tmp_path / 'run')!r}, workers=2, cpus=1,"
        " progress=lambda e: print(e['event'], flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    for line in process.stdout:
        if line.strip() == "progress":
            process.send_signal(signal.SIGINT)
            break
    _, error = process.communicate()
    watchdog.cancel()
    assert "KeyboardInterrupt" in error, error
    run = motley.run(tmp_path / "run")
    assert run.info["status"] == "stopped" and run.info["env_steps"] > 0


def test_what_a_lost_run_wrote_goes_and_everything_else_stays(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("notes.txt", "metrics.jsonl", ".lock", "checkpoints/torn"):
        (run / name).write_text("x")
    assert not motley_ray._can_resume(str(run))
    assert [path.name for path in run.iterdir()] == ["notes.txt"]
    # A checkpoint that can be gone on from, though its pointer is lost: all stays.
    (run / "checkpoints" / "step-100").mkdir(parents=True)
    (run / "metrics.jsonl").write_text("{}")
    assert motley_ray._can_resume(str(run))
    assert sorted(path.name for path in run.iterdir()) == [".lock", "checkpoints", "metrics.jsonl", "notes.txt"]
