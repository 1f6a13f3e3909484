"""What a team is, for Python: agents with their own spaces and their places in the flat arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Agent:
    """One agent: what it observes and what it can do. `action` is `("discrete", n)`, `("multi", (n, ...))` or
    `("box", low, high)` with tuples of bounds."""

    name: str
    kind: str
    obs_shape: tuple[int, ...]
    obs_low: float
    obs_high: float
    action: tuple[Any, ...]
    noop: int | None
    # Slices have no hash before Python 3.12.
    obs: slice = field(repr=False, hash=False)
    mask: slice = field(repr=False, hash=False)
    act: slice = field(repr=False, hash=False)

    @property
    def discrete(self) -> bool:
        return self.action[0] != "box"


@dataclass(frozen=True)
class Team:
    """A task's team: agents in order, the size of the state, what the task says about rewards, masks, deaths."""

    task: str
    version: int
    agents: tuple[Agent, ...]
    state_size: int
    common_reward: bool
    masks: bool
    deaths: bool
    step_limit: int | None
    winning: bool

    @staticmethod
    def parse(text: str) -> Team:
        """From the engine's description."""
        said = json.loads(text)
        agents, at = [], [0, 0, 0]
        for a in said["agents"]:
            (kind, value), obs = next(iter(a["action"].items())), a["obs"]
            if kind == "Discrete":
                action, mask, width = ("discrete", value), value, 1
            elif kind == "MultiDiscrete":
                action, mask, width = ("multi", tuple(value)), sum(value), len(value)
            else:
                action, mask, width = ("box", tuple(value["low"]), tuple(value["high"])), 0, len(value["low"])
            sizes = (int(np.prod(obs["shape"])), mask, width)
            spans = [slice(start, start + size) for start, size in zip(at, sizes)]
            at = [start + size for start, size in zip(at, sizes)]
            low = -np.inf if obs["low"] is None else obs["low"]
            high = np.inf if obs["high"] is None else obs["high"]
            agents.append(Agent(a["name"], a["kind"], tuple(obs["shape"]), low, high, action, a["noop"], *spans))
        (kind, size), n = next(iter(said["state"].items())), len(agents)
        return Team(
            said["task"], said["version"], tuple(agents), size if kind == "Ep" else size * n, said["reward"] == "Common",
            said["masks"], said["deaths"], said["step_limit"], said["winning"],
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        return [agent.name for agent in self.agents]


def write_actions(team: Team, agent: Agent, action: Any, out: np.ndarray) -> None:
    """Writes an agent's action(s) into `out`, `[..., width]`; what does not fit is named."""
    try:
        array = np.asarray(action, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{team.task}: the action of agent {agent.name!r} is no array of numbers: {action!r}") from error
    if agent.action[0] == "discrete" and array.ndim == out.ndim - 1:
        array = array[..., None]
    if array.shape != out.shape:
        expected = out.shape if agent.action[0] != "discrete" else out.shape[:-1]
        raise ValueError(f"{team.task}: the action of agent {agent.name!r}: expected shape {expected}, found {np.shape(action)}")
    out[...] = array


# The largest number that names random streams.
MOST_SEED = 2**63 - 1


def whole(what: str, value: Any, most: int, least: int = 0) -> int:
    """`value` as a whole number from `least` to `most`; the error names it."""
    if not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError(f"{what}: expected a whole number, {least} to {most}, found {value!r}")
    return int(value)


def setting(name: str, value: Any) -> str:
    """`name=value` with the value in TOML's writing."""
    return f"{name}={toml_value(value)}"


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's writing, but for what TOML takes as it is or not at all: pairs of surrogates, and DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(str(k))} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    raise TypeError(f"{value!r} is no value of a setting: numbers, text, truth values, lists and dictionaries are")
