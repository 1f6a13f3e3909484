"""Two unlike agents: a tug moves on a line, a winch chooses a gear, and together they bring a load to rest at zero."""

import numpy as np
import pettingzoo
from gymnasium.spaces import Box, Discrete


class NAME_CLASS(pettingzoo.ParallelEnv):
    metadata = {"name": "NAME_SNAKE"}
    possible_agents = ["tug", "winch"]

    def __init__(self, steps=50):
        self.steps = steps
        limit = np.inf
        self.observation_spaces = {"tug": Box(-limit, limit, (2,)), "winch": Box(-limit, limit, (3,))}
        self.action_spaces = {"tug": Box(-1.0, 1.0, (1,)), "winch": Discrete(3)}

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def observe(self):
        left = 1.0 - self.step_count / self.steps
        tug = np.array([self.load, self.speed], np.float32)
        return {"tug": tug, "winch": np.array([self.load, self.speed, left], np.float32)}

    def reset(self, seed=None, options=None):
        rng = np.random.default_rng(seed)  # All randomness comes from the seed.
        self.load, self.speed, self.step_count = rng.uniform(-1.0, 1.0), 0.0, 0
        self.agents = list(self.possible_agents)
        return self.observe(), {agent: {} for agent in self.agents}

    def step(self, actions):
        force = float(actions["tug"][0]) * (1.0 + int(actions["winch"]))
        self.speed = 0.9 * self.speed + 0.05 * force
        self.load += self.speed
        self.step_count += 1
        reward = -abs(self.load) - 0.1 * abs(self.speed)
        over = self.step_count >= self.steps  # A limit on steps truncates; the task's own end terminates.
        live = list(self.agents)
        if over:
            self.agents = []
        same = lambda value: dict.fromkeys(live, value)  # noqa: E731
        return self.observe(), same(reward), same(False), same(over), {agent: {} for agent in live}


def make_env(**settings):
    return NAME_CLASS(**settings)
