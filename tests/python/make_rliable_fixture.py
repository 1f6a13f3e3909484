"""Writes crates/motley-stats/tests/fixtures/rliable.json: fixed scores and what rliable 1.2.0 makes of them.

rliable brings half a gigabyte of plotting and econometrics, so it is no requirement of the tests; to make the file anew:

    python -m venv /tmp/rliable && /tmp/rliable/bin/pip install rliable==1.2.0 "pandas<3"
    /tmp/rliable/bin/python tests/python/make_rliable_fixture.py
"""

import json
import pathlib

import numpy as np
from rliable import library, metrics

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/motley-stats/tests/fixtures/rliable.json"
REPS = 10_000
TAUS = np.linspace(-0.2, 1.4, 17)


def interval(scores, func, reps=REPS):
    np.random.seed(0)  # rliable draws from numpy's global generator
    point, ends = library.get_interval_estimates({"x": scores}, func, reps=reps)
    return {"value": np.asarray(point["x"]).ravel().tolist(), "ends": np.asarray(ends["x"]).T.tolist()}


def aggregates(scores):
    return np.array(
        [
            metrics.aggregate_iqm(scores),
            metrics.aggregate_median(scores),
            metrics.aggregate_mean(scores),
            metrics.aggregate_optimality_gap(scores),
        ]
    )


def main():
    rng = np.random.default_rng(7)
    tables = {
        "five_seeds_three_tasks": rng.normal([0.3, 0.6, 0.9], 0.15, size=(5, 3)),
        "ten_seeds_seven_tasks": np.clip(rng.normal(np.linspace(0.1, 1.1, 7), 0.2, size=(10, 7)), -0.1, 1.3),
        "ties": rng.integers(0, 4, size=(6, 4)) / 3.0,
    }
    cases = []
    for name, scores in tables.items():
        other = np.round(scores[: max(4, len(scores) - 2)] - 0.05 + rng.normal(0, 0.1, scores[: max(4, len(scores) - 2)].shape), 2)
        if name == "ties":
            other = rng.integers(0, 4, size=(5, 4)) / 3.0
        profile, ends = library.create_performance_profile({"x": scores}, TAUS, reps=2000)
        cases.append(
            {
                "name": name,
                "scores": scores.T.tolist(),  # [tasks][runs]
                "other": other.T.tolist(),
                "aggregates": interval(scores, aggregates),
                "improvement": interval((scores, other), lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), 2_000),
                "taus": TAUS.tolist(),
                "profile": {"value": profile["x"].tolist(), "ends": np.asarray(ends["x"]).T.tolist()},
            }
        )
    # Curves: [runs, tasks, points].
    frames = np.array([0.0, 1.0, 2.0, 3.0])
    curves = rng.normal(0, 0.1, size=(6, 2, 4)) + np.sqrt(frames)
    iqm = lambda s: np.array([metrics.aggregate_iqm(s[..., k]) for k in range(s.shape[-1])])
    made = {"steps": frames.tolist(), "curves": curves.transpose(1, 0, 2).tolist(), **interval(curves, iqm, 5_000)}
    OUT.write_text(json.dumps({"rliable": "1.2.0", "cases": cases, "curve": made}) + "\n")


if __name__ == "__main__":
    main()
