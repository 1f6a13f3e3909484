"""Motley: teams of unlike agents, trained by a Rust engine.

    env = motley.make("mpe/simple_spread_v3")            # a PettingZoo ParallelEnv
    envs = motley.make_vec("mpe/simple_tag_v3", 64)      # 64 copies, arrays shared with the engine
    run = motley.train("happo", "mpe/simple_spread_v3", total_steps=200_000)
    actions, memory = motley.load(run.path).act(obs)
    run.metrics()                                        # a pandas frame
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

try:
    from . import _native
except ImportError as error:
    if "libmujoco" in str(error):
        raise ImportError("this build of Motley needs MuJoCo's library of version 3.17.0, which is not found: pip install mujoco==3.17.0") from error
    raise
from ._native import ConfigError, Error, MissingError, __version__, algorithms
from .policy import Policy, load
from .runs import Run, run
from .team import Agent, Team
from .training import train
from .vector import VectorEnv, make_vec

if TYPE_CHECKING:
    from .parallel import ParallelEnv

# Environments by name run with the Python that runs this, unless another one is named.
if sys.executable:
    os.environ.setdefault("MOTLEY_PYTHON", sys.executable)

__all__ = [
    "Agent", "ConfigError", "Error", "MissingError", "Policy", "Run", "Team", "VectorEnv", "__version__", "algorithms",
    "build_info", "load", "make", "make_vec", "run", "tasks", "train",
]  # fmt: skip


def make(task: str, *, render_mode: str | None = None, **settings: Any) -> ParallelEnv:
    """A task as a PettingZoo ParallelEnv; keyword arguments are its settings (`task.*`), as in `num_agents=4`."""
    try:
        from .parallel import ParallelEnv
    except ImportError as error:
        raise MissingError(f"{error.name} is missing: from a checkout of Motley, pip install '.[pettingzoo]'") from error
    return ParallelEnv(task, render_mode=render_mode, **settings)


def tasks() -> list[str]:
    """The names of the listed tasks; `motley list tasks` says more."""
    return _native.tasks()[0]


def build_info() -> dict[str, Any]:
    """What this build is."""
    return {"version": __version__, "platform": _native.PLATFORM, "families": _native.tasks()[1]}
