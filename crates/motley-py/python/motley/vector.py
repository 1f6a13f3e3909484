"""Many copies of a task, stepped together."""

from __future__ import annotations

import secrets
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from .team import MOST_SEED, Agent, Team, setting, whole, write_actions

if TYPE_CHECKING:
    from gymnasium.spaces import Space

AUTORESET = ("SameStep", "NextStep", "Disabled")


class VectorEnv:
    """`num_envs` copies of a task. Observations, rewards and masks are views of the engine's own memory: they show the present
    and change with the next step, so copy what is to be kept.

    `autoreset_mode` is gymnasium's: with `SameStep` (the default) an ended copy starts anew at once, and what its episode
    ended with is in `infos["final_obs"]`; with `NextStep` the next step's action is ignored and starts it; with `Disabled`
    `reset(options={"reset_mask": flags})` does.
    """

    def __init__(self, task: str, num_envs: int, *, autoreset_mode: str = "SameStep", threads: int = 0, **settings: Any) -> None:
        mode = getattr(autoreset_mode, "value", autoreset_mode)
        if mode not in AUTORESET:
            raise ValueError(f"autoreset_mode {autoreset_mode!r}: one of {', '.join(AUTORESET)}")
        num_envs, threads = whole("num_envs", num_envs, 100_000, least=1), whole("threads", threads, 1024)
        written = [setting(name, value) for name, value in settings.items()]
        # Who names no seed gets other episodes each time.
        self._engine = _native.Vector(task, written, num_envs, mode, threads, secrets.randbits(63))
        self.team = Team.parse(self._engine.team)
        self.num_envs, self.agents = num_envs, self.team.names
        self.metadata = {"autoreset_mode": _gymnasiums(mode), "render_modes": ["rgb_array"]}
        (
            self._obs, self._state, self._rewards, self._avail, self._alive, self._status, self._actions, self._final_obs,
            self._final_state, self._final_avail, self._won,
        ) = (np.asarray(array) for array in self._engine.arrays)  # fmt: skip
        self._mode, self._started = mode, False

    def _agent(self, name: str) -> Agent:
        found = next((agent for agent in self.team.agents if agent.name == name), None)
        if found is None:
            raise ValueError(f"{self.team.task} has no agent {name!r}; it has {', '.join(self.agents)}")
        return found

    def observation_space(self, agent: str) -> Space:
        """The space of one copy's observation, as in [motley.make]; availability is in `action_masks` here."""
        return spaces().observation_space(self._agent(agent), False)

    def action_space(self, agent: str) -> Space:
        """The space of one copy's action, as in [motley.make]: to draw from, and to look up what an action is."""
        return spaces().action_space(self._agent(agent))

    def _by_agent(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        return {a.name: flat[:, a.obs].reshape(-1, *a.obs_shape) for a in self.team.agents}

    @property
    def obs(self) -> dict[str, np.ndarray]:
        """Agent to `[num_envs, *obs_shape]`."""
        return self._by_agent(self._obs)

    @property
    def state(self) -> np.ndarray:
        """`[num_envs, state_size]`"""
        return self._state

    @property
    def action_masks(self) -> dict[str, np.ndarray]:
        """Agent to `[num_envs, options]`, for agents with discrete actions."""
        return {a.name: self._avail[:, a.mask] for a in self.team.agents if a.discrete}

    @property
    def alive(self) -> np.ndarray:
        """`[num_envs, agents]`"""
        return self._alive

    @property
    def actions(self) -> np.ndarray:
        """`[num_envs, action numbers]`: written in place and followed by `step()`, actions cost no copy."""
        return self._actions

    def reset(self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts episodes in all copies, or in those of `options["reset_mask"]`. An integer seed names copy k's streams seed, k;
        where none ever was given, episodes are other ones each time."""
        known = dict(options or {})
        mask = np.asarray(known.pop("reset_mask", np.ones(self.num_envs, bool)), dtype=bool)
        if known:
            warnings.warn(f"{self.team.task}: reset knows no options {', '.join(map(repr, known))}; there is reset_mask", stacklevel=2)
        if mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask: expected shape ({self.num_envs},), found {mask.shape}")
        seeds: list[int] | None = None
        if isinstance(seed, (int, np.integer)):
            seeds = [whole("seed", seed, MOST_SEED)] * self.num_envs
        elif seed is not None and not np.iterable(seed):
            whole("seed", seed, MOST_SEED)
        elif seed is not None:
            seeds = [whole("seed", s, MOST_SEED) for s in seed]
            if len(seeds) != self.num_envs:
                raise ValueError(f"seed: expected one number or {self.num_envs} of them, found {len(seeds)}")
        self._started = True
        self._engine.reset(mask.tolist(), seeds)
        return self.obs, self._infos()

    def step(self, actions: dict[str, Any] | np.ndarray | None = None) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Advances all copies: agent to `[num_envs]` choices or `[num_envs, width]` numbers, or the flat array, or nothing where
        `actions` was written in place. Returns observations, rewards `[num_envs, agents]`, terminated, truncated, infos."""
        if not self._started:
            raise _native.Error(f"{self.team.task}: step before the first reset")
        if isinstance(actions, dict):
            for agent in self.team.agents:
                if agent.name not in actions:
                    raise ValueError(f"{self.team.task}: no action for agent {agent.name!r}")
                write_actions(self.team, agent, actions[agent.name], self._actions[:, agent.act])
        elif actions is not None and actions is not self._actions:
            array = np.asarray(actions, np.float32)
            if array.shape != self._actions.shape:
                raise ValueError(f"{self.team.task}: actions: expected shape {self._actions.shape}, found {array.shape}")
            self._actions[...] = array
        self._engine.step()
        return self.obs, self._rewards, self._status == 1, self._status == 2, self._infos()

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {"action_mask": self.action_masks} if self.team.masks else {}
        if self.team.deaths:
            infos["alive"] = self._alive
        if self.team.winning:
            infos["won"] = self._won == 2
        ended = self._status > 0
        if self._mode == "SameStep" and ended.any():
            infos.update(final_obs=self._by_agent(self._final_obs), final_state=self._final_state, _final_obs=ended)
        return infos

    def render(self, env: int = 0, width: int = 480) -> np.ndarray | None:
        """A picture of one copy, `[height, width, 3]`, or `None` where the task cannot be drawn."""
        drawn = self._engine.render(env, width)
        if drawn is None:
            return None
        height, width, pixels = drawn
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 4)[..., :3]

    def get_state(self, env: int = 0) -> dict[str, np.ndarray]:
        """The state of `mpe/...`: positions and velocities (agents, then landmarks), utterances, the scenario's own numbers."""
        pos, vel, comm, marks = self._engine.get_raw(env)
        return {"pos": np.array(pos), "vel": np.array(vel), "comm": np.array(comm), "marks": np.array(marks, np.uint32)}

    def set_state(self, state: dict[str, Any], env: int = 0) -> None:
        """Puts a copy of `mpe/...` into a state; what `get_state` does not know of stays out of `state`."""
        known = {**self.get_state(env), **state}
        unknown = set(state) - {"pos", "vel", "comm", "marks"}
        if unknown:
            raise ValueError(f"unknown parts of a state: {', '.join(sorted(unknown))}; there are pos, vel, comm, marks")
        lists = [np.asarray(known[k], np.float64).tolist() for k in ("pos", "vel", "comm")]
        self._engine.set_raw(env, *lists, [int(m) for m in known["marks"]])
        self._started = True

    def close(self) -> None:
        """Ends the environments, with the processes that some of them live in."""
        self._engine.close()


def _gymnasiums(mode: str) -> Any:
    """Gymnasium's own word for a mode of resets, where gymnasium is installed."""
    try:
        from gymnasium.vector import AutoresetMode
    except ImportError:
        return mode
    return AutoresetMode(mode)


def spaces() -> ModuleType:
    """The module of the spaces, which are gymnasium's."""
    try:
        from . import spaces as found
    except ImportError as error:
        raise _native.MissingError(f"{error.name} is missing: from a checkout of Motley, pip install '.[pettingzoo]'") from error
    return found


def make_vec(task: str, num_envs: int, **settings: Any) -> VectorEnv:
    """`num_envs` copies of a task, by name; `autoreset_mode` and `threads` as in [VectorEnv], the rest are settings of the task."""
    return VectorEnv(task, num_envs, **settings)
