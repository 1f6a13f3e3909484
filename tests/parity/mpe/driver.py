"""Plays episodes in mpe2 (or an old PettingZoo) and records what Motley's particle suite must reproduce."""

from __future__ import annotations

import importlib
import random
from typing import Any

import numpy as np

TASKS = [
    "simple_v3",
    "simple_spread_v3",
    "simple_reference_v3",
    "simple_speaker_listener_v4",
    "simple_adversary_v3",
    "simple_crypto_v3",
    "simple_push_v3",
    "simple_tag_v3",
    "simple_world_comm_v3",
    "simple_formation_v1",
    "simple_line_v1",
    "collect_treasure_v1",
]
# How agents move, so that contacts, borders, food, treasures and goals are all met: at random, to the middle, away from
# it, to a landmark.
STYLES = ["random", "huddle", "flee", "seek"]


def make(task: str, settings: list[str], flavour: str = "v3") -> Any:
    """The environment for Motley's task name and settings, as a PettingZoo parallel environment."""
    kwargs: dict[str, Any] = {}
    for setting in settings:
        name, value = setting.split("=")
        name = {"continuous": "continuous_actions", "num_agents": "N"}.get(name, name)
        kwargs[name] = {"true": True, "false": False}.get(value) if value in ("true", "false") else float(value)
        if isinstance(kwargs[name], float) and name != "local_ratio":
            kwargs[name] = int(kwargs[name])
    if flavour == "v3":
        module = importlib.import_module(f"mpe2.{task}")
    elif flavour == "v2.5":
        module = importlib.import_module(f"pettingzoo.mpe.{task}")
    else:
        old = {"simple_speaker_listener_v4": "simple_speaker_listener_v3"}.get(task, task.replace("_v3", "_v2"))
        module = importlib.import_module(f"pettingzoo.mpe.{old}")
    return module.parallel_env(**kwargs)


def world_of(env: Any) -> Any:
    """The world inside all wrappers."""
    return env.aec_env.unwrapped.world if hasattr(env, "aec_env") else env.unwrapped.world


def direction(style: str, world: Any, index: int, rng: random.Random) -> int:
    """A move 0..4 for one agent."""
    if style == "random" or rng.random() < 0.25:
        return rng.randrange(5)
    pos = world.agents[index].state.p_pos
    target = world.landmarks[index % len(world.landmarks)].state.p_pos if style == "seek" and world.landmarks else np.zeros(2)
    gap = target - pos
    if np.abs(gap).max() < 0.03:
        return 0
    axis = int(abs(gap[1]) > abs(gap[0]))
    positive = (gap[axis] > 0) != (style == "flee")
    return 1 + 2 * axis + int(positive)


def choose(env: Any, style: str, rng: random.Random) -> dict[str, Any]:
    """A joint action."""
    world = world_of(env)
    actions: dict[str, Any] = {}
    for index, agent in enumerate(world.agents):
        space = env.action_space(agent.name)
        moves = agent.movable
        move = direction(style, world, index, rng) if moves else 0
        if hasattr(space, "n"):
            words = space.n // 5 if moves else space.n
            word = rng.randrange(words)
            actions[agent.name] = move + 5 * word if moves else word
        else:
            action = np.array([rng.random() for _ in range(space.shape[0])], dtype=np.float32)
            if moves and style != "random":
                action[:5] *= np.float32(0.3)
                action[move] = np.float32(1.0 - 0.2 * rng.random())
            if rng.random() < 0.1:
                action[:] = 0
            actions[agent.name] = action
    return actions


def play(env: Any, seed: int, style: str) -> dict[str, Any]:
    """One episode: the start and every step, as numpy arrays."""
    rng = random.Random(f"{seed} {style}")
    obs = env.reset(seed=seed)
    obs = obs[0] if isinstance(obs, tuple) else obs
    world = world_of(env)
    names = [agent.name for agent in world.agents]

    def frame(obs: dict[str, Any], rewards: dict[str, float], status: str) -> dict[str, Any]:
        bodies = world.agents + world.landmarks
        return {
            "pos": np.concatenate([b.state.p_pos for b in bodies]).astype(np.float64),
            "vel": np.concatenate([b.state.p_vel for b in bodies]).astype(np.float64),
            "obs": np.concatenate([np.asarray(obs[n], dtype=np.float32) for n in names]),
            "rewards": np.array([rewards[n] for n in names], dtype=np.float64),
            "status": status,
        }

    frames = [frame(obs, dict.fromkeys(names, 0.0), "running")]
    actions = []
    while frames[-1]["status"] == "running":
        joint = choose(env, style, rng)
        flat = np.concatenate([np.atleast_1d(np.asarray(joint[n], dtype=np.float32)) for n in names])
        actions.append(flat)
        obs, rewards, terminations, truncations, _ = env.step(joint)
        status = "terminated" if any(terminations.values()) else "truncated" if any(truncations.values()) else "running"
        frames.append(frame(obs, rewards, status))
    return {"seed": seed, "actions": actions, "frames": frames}
