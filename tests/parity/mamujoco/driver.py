"""Plays gymnasium-robotics' MAMuJoCo and gymnasium's robots and notes everything that Motley has to match."""

from __future__ import annotations

import warnings

warnings.filterwarnings("ignore")

import gymnasium  # noqa: E402
import mujoco  # noqa: E402
import numpy as np  # noqa: E402
from gymnasium_robotics.envs.multiagent_mujoco.coupled_half_cheetah import CoupledHalfCheetahEnv  # noqa: E402
from gymnasium_robotics.envs.multiagent_mujoco.mujoco_multi import MultiAgentMujocoEnv  # noqa: E402
from gymnasium_robotics.envs.multiagent_mujoco.obsk import get_joints_at_kdist, get_parts_and_edges  # noqa: E402

assert mujoco.__version__ == "3.17.0", "parity is defined by MuJoCo 3.17.0"


class Dense:
    """The engine's data with the tendons' Jacobian as the full matrix that it was before MuJoCo made it sparse."""

    def __init__(self, model, data):
        self._model, self._data = model, data

    def __getattr__(self, name):
        return getattr(self._data, name)

    @property
    def ten_J(self):
        full = np.zeros((self._model.ntendon, self._model.nv))
        mujoco.mju_sparse2dense(
            full, self._data.ten_J.ravel(), self._model.ten_J_rownnz, self._model.ten_J_rowadr, self._model.ten_J_colind.ravel()
        )
        return full


class Coupled(CoupledHalfCheetahEnv):
    """The coupled cheetahs as they were before the sparse Jacobian broke them."""

    def _get_obs(self):
        data = Dense(self.model, self.data)
        return np.concatenate(
            [data.qpos[1:9], data.qpos[10:18], data.qvel, data.ten_J[0][:2], data.ten_J[0][9:11], data.ten_length, data.ten_velocity]
        )


class CoupledTeam(MultiAgentMujocoEnv):
    def _get_obs_agent(self, agent_id, data=None):
        env = self.single_agent_env.unwrapped
        return super()._get_obs_agent(agent_id, data or Dense(env.model, env.data))


def factorisation(scenario: str, conf: str) -> dict | None:
    """Factorisations that gymnasium-robotics leaves to its users."""
    owned = {("HalfCheetah", "3x2"), ("Walker2d", "3x2"), ("Walker2d", "6x1"), ("Ant", "8x1"), ("Hopper", "own")}
    if (scenario, conf) not in owned and conf != "17x1":
        return None
    (whole,), edges, world = get_parts_and_edges(scenario, None)
    named = {node.label: node for node in whole}
    by_motor = sorted(whole, key=lambda node: node.act_ids)
    own = {
        ("HalfCheetah", "3x2"): lambda: [by_motor[i : i + 2] for i in (0, 2, 4)],
        ("Walker2d", "3x2"): lambda: [by_motor[i : i + 2] for i in (0, 2, 4)],
        ("Walker2d", "6x1"): lambda: [[n] for n in by_motor],
        ("Ant", "8x1"): lambda: [[named[f"{j}{leg}"]] for leg in (1, 2, 3, 4) for j in ("hip", "ankle")],
        ("Hopper", "own"): lambda: [[named["foot_joint"], named["thigh_joint"]], [named["leg_joint"]]],
    }.get((scenario, conf), lambda: [[n] for n in by_motor])
    return {"partition": [tuple(part) for part in own()], "edges": edges, "globals": world}


def make(scenario: str, conf: str, depth: int) -> MultiAgentMujocoEnv:
    if scenario == "CoupledHalfCheetah":
        env = gymnasium.wrappers.TimeLimit(Coupled(), max_episode_steps=1000)
        return CoupledTeam(scenario, conf, depth, gym_env=env)
    env = MultiAgentMujocoEnv(scenario, conf, depth, agent_factorization=factorisation(scenario, conf))
    if scenario == "Pusher":
        # Two of its joints bear a third one's name, so that their order hangs on memory addresses.
        for node, name in zip(env.agent_action_partitions[0], ("r_shoulder_pan_joint", "r_shoulder_lift_joint")):
            node.label = name
        _, edges, _ = get_parts_and_edges(scenario, conf)
        arm = [node for part in env.agent_action_partitions for node in part]
        edges = [type(edges[0])(a, b) for a, b in zip(arm, arm[1:])]
        env.k_dicts = [get_joints_at_kdist(part, edges, k=depth) for part in env.agent_action_partitions]
    return env


def frame(engine, obs, state, reward, status) -> dict:
    return {
        "qpos": engine.data.qpos.copy(),
        "qvel": engine.data.qvel.copy(),
        "obs": [np.array(o, dtype=np.float64) for o in obs],
        "state": np.array(state, dtype=np.float64),
        "reward": float(reward),
        "status": status,
    }


def play(env: MultiAgentMujocoEnv, seed: int, steps: int) -> dict:
    """An episode of at most `steps` steps with random actions that single precision holds exactly."""
    rng = np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    engine, frames, taken = env.single_agent_env.unwrapped, [], []
    agents = list(env.possible_agents)
    frames.append(frame(engine, [obs[a] for a in agents], env.state(), 0.0, "running"))
    while len(taken) < steps:
        # Calm first, then wild: robots that fall at once are seen upright too.
        width = min(1.0, 0.1 + 0.02 * len(taken)) if seed % 2 else 1.0
        joint = {}
        for agent in agents:
            space = env.action_space(agent)
            low, high = np.broadcast_to(space.low, space.shape), np.broadcast_to(space.high, space.shape)
            joint[agent] = (width * rng.uniform(low, high)).astype(np.float32).astype(np.float64)
        obs, rewards, ended, cut, _ = env.step(joint)
        taken.append(np.concatenate([joint[a] for a in agents]))
        status = "terminated" if ended[agents[0]] else "truncated" if cut[agents[0]] else "running"
        frames.append(frame(engine, [obs[a] for a in agents], env.state(), rewards[agents[0]], status))
        if status != "running":
            break
    return {"frames": frames, "actions": taken}


def play_alone(name: str, seed: int, steps: int, order: list[int] | None) -> dict:
    """An episode of a gymnasium robot as a single agent; `order` gives the controls of the joint action's entries."""
    rng = np.random.default_rng(seed)
    env = gymnasium.make(name)
    state, _ = env.reset(seed=seed)
    engine = env.unwrapped
    frames, taken = [frame(engine, [], state, 0.0, "running")], []
    while len(taken) < steps:
        action = rng.uniform(engine.action_space.low, engine.action_space.high).astype(np.float32).astype(np.float64)
        state, reward, ended, cut, _ = env.step(action)
        taken.append(action[order] if order else action)
        status = "terminated" if ended else "truncated" if cut else "running"
        frames.append(frame(engine, [], state, reward, status))
        if status != "running":
            break
    env.close()
    return {"frames": frames, "actions": taken}
