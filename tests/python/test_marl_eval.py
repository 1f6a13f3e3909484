"""marl-eval's own tools read the document that `motley compare --absolute` writes, and come to the same figures."""

import json
import os
import pathlib
import subprocess

import pytest

pytest.importorskip("marl_eval", reason="marl-eval is not installed: scripts/test --all-peers brings it")

import matplotlib

matplotlib.use("Agg")

from marl_eval.plotting_tools import plotting
from marl_eval.utils.data_processing_utils import create_matrices_for_rliable, data_process_pipeline
from marl_eval.utils.diagnose_data_errors import DiagnoseData

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOTLEY = os.environ.get("MOTLEY_BIN") or str(ROOT / "target" / "debug" / "motley")
TASKS, ALGORITHMS = ["skirmish/3m", "skirmish/8m"], ["ippo", "mappo"]


def motley(folder, *words):
    done = subprocess.run([MOTLEY, *words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_its_tools_come_to_the_same_figures(tmp_path, monkeypatch):
    small = ["preset=none", "task.state=ep", "num_envs=8", "algo.rollout_steps=50", "total_steps=4000", "eval.every=1000"]
    for algo in ALGORITHMS:
        for task in TASKS:
            for seed in range(3):
                out = f"runs/{algo}-{task.replace('/', '-')}-{seed}"
                motley(tmp_path, "train", algo, task, *small, "eval.episodes=8", f"seed={seed}", "--out", out, "-q")
    bounds = [word for task in TASKS for word in ("--bounds", f"{task}=0,1")]
    told = motley(tmp_path, "compare", "runs", "--absolute", *bounds, "--metric", "win-rate", "-o", "compared", "--json")
    ours = {e["algo"]: e for e in map(json.loads, told.splitlines()) if e["event"] == "aggregate"}

    monkeypatch.chdir(tmp_path)  # its tables are written where it stands
    raw = json.loads((tmp_path / "compared/marl-eval.json").read_text())
    verdict = DiagnoseData(raw_data=raw).check_data()
    assert set(verdict) == {"skirmish"} and all(verdict["skirmish"].values()), verdict
    processed = data_process_pipeline(raw_data=raw, metrics_to_normalize=[])
    table, curves = create_matrices_for_rliable(
        data_dictionary=processed, environment_name="skirmish", metrics_to_normalize=[]
    )
    for metric in ["win_rate", "mean_episode_return"]:
        _, values, ends = plotting.aggregate_scores(dictionary=table, metric_name=metric, metrics_to_normalize=[])
        plotting.performance_profiles(table, metric_name=metric, metrics_to_normalize=[])
        plotting.sample_efficiency_curves(dictionary=curves, metric_name=metric, metrics_to_normalize=[])
        pairs = [["IPPO", "MAPPO"]]
        plotting.probability_of_improvement(table, metric_name=metric, metrics_to_normalize=[], algorithms_to_compare=pairs)
        for task in raw["skirmish"]:
            plotting.plot_single_task(
                processed_data=processed, environment_name="skirmish", task_name=task, metric_name=metric, metrics_to_normalize=[]
            )
        if metric == "win_rate":
            for algo in ALGORITHMS:
                for theirs, mine in [("IQM", "iqm"), ("Median", "median"), ("Mean", "mean")]:
                    # It prints two decimals of percent.
                    point = float(values[algo.upper()][theirs].split()[0])
                    assert point == pytest.approx(100 * ours[algo][mine], abs=0.00501), (algo, theirs)
                    for end, name in zip(ends[algo.upper()][theirs], ["low", "high"]):
                        assert end == pytest.approx(100 * ours[algo][f"{mine}_{name}"], abs=5.0), (algo, theirs, name)
    # Some team has won some game, or the figures agree for nothing.
    assert max(e["mean"] for e in ours.values()) > 0.1


def test_what_it_reads_comes_back(tmp_path):
    small = ["preset=none", "num_envs=8", "algo.rollout_steps=50", "total_steps=2000", "eval.every=1000", "eval.episodes=4"]
    for seed in range(2):
        motley(tmp_path, "train", "ippo", "skirmish/3m", *small, f"seed={seed}", "--out", f"runs/{seed}", "-q")
    first = motley(tmp_path, "compare", "runs", "--absolute", "-o", "first", "--json")
    again = motley(tmp_path, "compare", "first/marl-eval.json", "--absolute", "--json")
    figures = [
        [{k: e[k] for k in ("task", "algo", "seeds", "iqm", "mean")} for e in map(json.loads, told.splitlines()) if e["event"] == "task"]
        for told in (first, again)
    ]
    assert figures[0] == figures[1] and len(figures[0]) == 1
