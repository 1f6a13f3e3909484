"""A task as a PettingZoo ParallelEnv."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv as Base

from .spaces import action_space, observation_space
from .team import Agent, write_actions
from .vector import VectorEnv


class ParallelEnv(Base):
    """One copy of a task. The dead leave `agents`; the final observation of an ended episode is the true one.

    A pickle or a `copy.deepcopy` of it is another copy of the same task with the same settings, before its first reset.
    """

    def __init__(self, task: str, *, render_mode: str | None = None, **settings: Any) -> None:
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode {render_mode!r}: rgb_array, or human in a notebook")
        self._made = functools.partial(type(self), task, render_mode=render_mode, **settings)
        self._envs = VectorEnv(task, 1, autoreset_mode="Disabled", threads=1, **settings)
        self.team, self.render_mode = self._envs.team, render_mode
        self.possible_agents = self.team.names
        self.agents: list[str] = []
        self.metadata = {"name": task, "render_modes": ["rgb_array"], "is_parallelizable": True, "render_fps": 8}
        self.observation_spaces = {a.name: observation_space(a, self.team.masks) for a in self.team.agents}
        self.action_spaces = {a.name: action_space(a) for a in self.team.agents}
        self.state_space = spaces.Box(-np.inf, np.inf, (self.team.state_size,), np.float32)
        self._agents = {a.name: (i, a) for i, a in enumerate(self.team.agents)}

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made, ()

    def observation_space(self, agent: str) -> spaces.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        return self.action_spaces[agent]

    def _seen(self, names: list[str]) -> dict[str, Any]:
        seen = {}
        for name in names:
            agent = self._agents[name][1]
            obs = self._envs._obs[0, agent.obs].reshape(agent.obs_shape).copy()
            if self.team.masks and agent.discrete:
                obs = {"observation": obs, "action_mask": self._envs._avail[0, agent.mask].astype(np.int8)}
            seen[name] = obs
        return seen

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """A new episode. `options={"numpy_seed": s}` starts that of mpe2's `reset(seed=s)` (`mpe/...` only); other options warn."""
        known = dict(options or {})
        numpy_seed = known.pop("numpy_seed", None)
        if known:
            warnings.warn(f"{self.team.task}: reset knows no options {', '.join(map(repr, known))}; there is numpy_seed", stacklevel=2)
        self._envs.reset(seed=seed)
        if numpy_seed is not None:
            self._envs._engine.reset_from(0, int(numpy_seed))
        self.agents = [name for name, (i, _) in self._agents.items() if self._envs.alive[0, i]]
        return self._seen(self.agents), {name: {} for name in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        acting = list(self.agents)
        for name, (_, agent) in self._agents.items():
            out = self._envs.actions[0, agent.act]
            if name in acting:
                if name not in actions:
                    raise ValueError(f"{self.team.task}: no action for agent {name!r}")
                write_actions(self.team, agent, actions[name], out)
            elif agent.discrete:
                out[...] = self._idle(agent)
            else:
                out[...] = np.clip(0.0, agent.action[1], agent.action[2])
        _, rewards, terminated, truncated, _ = self._envs.step()
        alive = {name: bool(self._envs.alive[0, self._agents[name][0]]) for name in acting}
        infos: dict[str, dict[str, Any]] = {name: {} for name in acting}
        if self.team.winning and (terminated[0] or truncated[0]):
            infos = {name: {"won": bool(self._envs._won[0] == 2)} for name in acting}
        over = bool(terminated[0] or truncated[0])
        self.agents = [] if over else [name for name in acting if alive[name]]
        return (
            self._seen(acting),
            {name: float(rewards[0, self._agents[name][0]]) for name in acting},
            {name: bool(terminated[0]) or not alive[name] for name in acting},
            {name: bool(truncated[0]) and alive[name] for name in acting},
            infos,
        )

    def _idle(self, agent: Agent) -> np.ndarray:
        """The dead's available choices: the first of each."""
        mask, at, first = self._envs._avail[0, agent.mask], 0, []
        for n in [agent.action[1]] if agent.action[0] == "discrete" else agent.action[1]:
            first.append(int(np.argmax(mask[at : at + n])))
            at += n
        return np.array(first, np.float32)

    def state(self) -> np.ndarray:
        return self._envs.state[0].copy()

    def get_state(self) -> dict[str, np.ndarray]:
        """The particles' positions, velocities, utterances and marks (`mpe/...` only)."""
        return self._envs.get_state()

    def set_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Puts the particles into a state, a new episode from there; what the agents see."""
        self._envs.set_state(state)
        self.agents = list(self.possible_agents)
        return self._seen(self.agents)

    def render(self) -> np.ndarray | None:
        """The picture with `rgb_array`; with `human` it is shown where this runs in a notebook."""
        image = self._envs.render()
        if self.render_mode != "human":
            return image
        try:
            from IPython.display import display
            from PIL import Image
        except ImportError:
            warnings.warn("render_mode='human' shows pictures in notebooks with Pillow only; rgb_array returns them", stacklevel=2)
            return None
        if image is not None:
            display(Image.fromarray(image))
        return None

    def close(self) -> None:
        self.agents = []
        self._envs.close()

    def __str__(self) -> str:
        return self.team.task
