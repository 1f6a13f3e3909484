"""The agents' spaces as gymnasium has them."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from .team import Agent


def observation_space(agent: Agent, masked: bool) -> spaces.Space:
    """The agent's own Box; with masks a Dict of `observation` and `action_mask`."""
    box = spaces.Box(agent.obs_low, agent.obs_high, agent.obs_shape, np.float32)
    if not (masked and agent.discrete):
        return box
    options = agent.mask.stop - agent.mask.start
    return spaces.Dict({"observation": box, "action_mask": spaces.Box(0, 1, (options,), np.int8)})


def action_space(agent: Agent) -> spaces.Space:
    """A choice, several choices, or a Box with the agent's own bounds."""
    kind = agent.action[0]
    if kind == "discrete":
        return spaces.Discrete(agent.action[1])
    if kind == "multi":
        return spaces.MultiDiscrete(agent.action[1])
    low, high = (np.array(bounds, np.float32) for bounds in agent.action[1:])
    return spaces.Box(low, high, dtype=np.float32)
