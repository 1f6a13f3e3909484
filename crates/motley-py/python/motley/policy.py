"""A trained team that acts."""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from .team import MOST_SEED, Team, whole

if TYPE_CHECKING:
    from .runs import Run


class Policy:
    """What a run learned, ready to act. It holds no episode: recurrent memory goes in and comes out.

    A pickle or a `copy.deepcopy` of it reads the same folder anew.
    """

    def __init__(self, path: str | os.PathLike[str], checkpoint: str | int = "best", trust: bool = False) -> None:
        self._path, self._checkpoint, self._trust = os.path.abspath(path), str(checkpoint), trust
        self._engine = _native.Policy(self._path, self._checkpoint, self._trust)
        self.team = Team.parse(self._engine.team)
        self.algo, self.task, self.env_steps, self.eval_return_mean, self.config = self._engine.info
        # Batches as a rule are of one size.
        self._rooms: dict[int, tuple[Any, ...]] = {}
        # What names the draws: a seed and how many calls have drawn with it; the own one is that of calls without a seed.
        self._own_seed, self._own_draws = secrets.randbits(63), 0
        self._seed: int | None = None
        self._draws = 0
        # Calls of one batch size share arrays.
        self._lock = threading.Lock()

    def _room(self, envs: int) -> tuple[Any, ...]:
        if envs not in self._rooms:
            room = self._engine.room(envs)
            self._rooms = {envs: (room, *(np.asarray(array) for array in room.arrays))}
        return self._rooms[envs]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._checkpoint, self._trust)

    def _drawing(self, seed: int | None) -> tuple[int, int]:
        """What names the draws of the next call."""
        if seed is None:
            self._own_draws += 1
            return self._own_seed, self._own_draws - 1
        if seed != self._seed:
            self._seed, self._draws = seed, 0
        self._draws += 1
        return seed, self._draws - 1

    def check(self, team: Team) -> None:
        """Refuses a team other than the one that this was trained for; the text names the difference."""
        if (self.team.task, self.team.version) == (team.task, team.version) and self.team.names == team.names:
            mine, theirs = ([(a.obs_shape, a.action) for a in t.agents] for t in (self.team, team))
            odd = next((k for k, (a, b) in enumerate(zip(mine, theirs)) if a != b), None)
            if odd is None:
                return
            raise ValueError(f"agent {self.team.names[odd]!r}: trained with {mine[odd]}, found {theirs[odd]}")
        raise ValueError(
            f"trained for {self.team.task} version {self.team.version} with agents {self.team.names}, "
            f"found {team.task} version {team.version} with agents {team.names}"
        )

    def act(
        self,
        obs: dict[str, Any],
        mask: dict[str, Any] | None = None,
        state: np.ndarray | None = None,
        *,
        deterministic: bool = True,
        seed: int | None = None,
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Decides for the team.

        `obs`: agent to its observation, or to `[batch, *obs_shape]`; a dictionary with `observation` and `action_mask` is
        taken apart. `mask`: agent to its available choices. `state`: the recurrent memory that the last call returned, none at
        the start of an episode. Agents that are not in `obs` are dead. Returns the actions of those that are, and the memory.

        `deterministic`: the likeliest action of each agent; without it actions are drawn from what the policy thinks of them.
        `seed`: draws depend on it, on how many calls of this policy in turn have drawn with it, and on the place in the batch: given
        with every call of an episode, the steps differ and the episode can be repeated. Another seed starts its own count; to repeat
        the same one, load the policy anew. Without a seed draws are other ones in each process.
        """
        for what, given in (("obs", obs), ("mask", mask or {})):
            unknown = [name for name in given if name not in self.team.names]
            if unknown or not obs:
                raise ValueError(f"{what}: {unknown or 'nobody'} given; the agents of {self.task} are {self.team.names}")
        if seed is not None:
            seed = whole("seed", seed, MOST_SEED)
        with self._lock:
            return self._decide(obs, mask or {}, state, deterministic, seed)

    def _decide(
        self, obs: dict[str, Any], mask: dict[str, Any], state: np.ndarray | None, deterministic: bool, seed: int | None
    ) -> tuple[dict[str, Any], np.ndarray]:
        batched, envs = self._batch(obs)
        room, flat, avail, memory, actions, _ = self._room(envs)
        flat[...], avail[...] = 0.0, 1
        memory[...] = self._memory(state, memory.shape, batched)
        for agent in (a for a in self.team.agents if a.name in obs):
            value, own = obs[agent.name], mask.get(agent.name)
            if isinstance(value, dict):
                value, own = value["observation"], value.get("action_mask", own)
            shape = ((envs,) if batched else ()) + agent.obs_shape
            flat[:, agent.obs] = self._fit(f"observation of agent {agent.name!r}", value, shape).reshape(envs, -1)
            if own is not None and agent.discrete:
                wide = ((envs,) if batched else ()) + (agent.mask.stop - agent.mask.start,)
                given = self._fit(f"action mask of agent {agent.name!r}", own, wide).reshape(envs, -1) != 0
                if not given.any(axis=1).all():
                    raise ValueError(f"action mask of agent {agent.name!r}: no action is available")
                avail[:, agent.mask] = given
        self._engine.act(room, deterministic, *((0, 0) if deterministic else self._drawing(seed)))
        chosen = {}
        for agent in (a for a in self.team.agents if a.name in obs):
            numbers = actions[:, agent.act].copy()
            if agent.discrete:
                numbers = numbers.astype(np.int64)
            if agent.action[0] == "discrete":
                numbers = numbers[:, 0]
            chosen[agent.name] = numbers if batched else numbers[0]
        held = memory.copy()
        return chosen, held if batched else held[0]

    def _batch(self, obs: dict[str, Any]) -> tuple[bool, int]:
        for agent in self.team.agents:
            if agent.name in obs:
                value = obs[agent.name]
                shape = np.shape(value["observation"] if isinstance(value, dict) else value)
                if len(shape) == len(agent.obs_shape) + 1:
                    return True, shape[0]
                return False, 1
        return False, 1

    @staticmethod
    def _fit(what: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what}: expected numbers, found dtype {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"{what}: expected shape {shape}, found {array.shape}")
        with np.errstate(over="ignore"):  # What single precision cannot hold is told below.
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            at = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{what}: expected finite numbers, found {array[at]} at {at}")
        return array

    @staticmethod
    def _memory(state: np.ndarray | None, shape: tuple[int, ...], batched: bool) -> Any:
        if state is None:
            return 0.0
        return Policy._fit("state (recurrent memory)", state, shape if batched else shape[1:])


def load(path: str | os.PathLike[str] | Run, *, checkpoint: str | int = "best", trust: bool = False) -> Policy:
    """The policy of a bundle, or of a run folder: that of its best evaluation, or with `checkpoint="latest"`, or the env steps of one,
    that of a checkpoint; so too where there was no evaluation yet. A checkpoint opens the run's task; where that runs code of a name's
    choosing and the folder is not known as your own, `trust=True` allows it."""
    return Policy(getattr(path, "path", path), checkpoint, trust)
