"""Small environments for the tests, without any library's classes: spaces are known by their class names."""

import os
import subprocess
import sys
import time

import numpy as np


class Box:
    def __init__(self, low, high, shape, dtype=np.float32):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)


class Discrete:
    def __init__(self, n, start=0):
        self.n, self.start = n, start


class MultiDiscrete:
    def __init__(self, nvec):
        self.nvec = np.array(nvec)
        self.shape, self.dtype = self.nvec.shape, self.nvec.dtype


class Dict:
    def __init__(self, spaces):
        self.spaces = spaces


class Tuple:
    def __init__(self, spaces):
        self.spaces = tuple(spaces)


class Walk:
    """Three unlike agents on a line. `scout` has a mask, `mule` falls out at step 5, `arm` is continuous; ten steps."""

    possible_agents = ["scout", "mule", "arm"]

    def __init__(self, fault=None, at=3, pids=None, step_seconds=0.0, render_mode=None):
        self.render_mode = render_mode
        self.fault, self.at, self.step_seconds = fault, at, step_seconds
        self.agents = []
        if fault == "build_hang":
            time.sleep(1000)
        if pids:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            with open(pids, "a") as file:
                file.write(f"{os.getpid()} {child.pid}\n")
        print("this goes to standard output, which is not the protocol's")

    def observation_space(self, agent):
        image = Box(0, 255, (4, 4, 1), np.uint8)
        masked = Dict({"observation": Box(-100.0, 100.0, (2,)), "action_mask": Box(0, 1, (3,), np.int8)})
        return {"scout": masked, "mule": Dict({"kind": Discrete(2, start=5), "where": Box(-100.0, 100.0, (1,))}), "arm": image}[agent]

    def action_space(self, agent):
        return {"scout": Discrete(3, start=-1), "mule": MultiDiscrete([2, 3]), "arm": Box(-2.0, 2.0, (2, 1))}[agent]

    def state(self):
        return np.concatenate([self.x, [self.t]])

    def seen(self):
        blocked = np.array([self.x[0] > -3, True, self.x[0] < 3], np.int8)
        everything = {
            "scout": {"observation": np.array([self.x[0], self.t], np.float32), "action_mask": blocked},
            "mule": {"kind": 5 + self.t % 2, "where": np.array([self.x[1]], np.float32)},
            "arm": np.full((4, 4, 1), self.t, np.uint8),
        }
        if self.fault == "late mask" and self.t == 0:
            del everything["scout"]["action_mask"]
        if self.fault == "fractions" and self.t == self.at:
            everything["arm"] = everything["arm"] / 255
        if self.fault == "shape" and self.t == self.at:
            everything["scout"]["observation"] = np.zeros(3, np.float32)
        if self.fault == "nan" and self.t == self.at:
            everything["scout"]["observation"][1] = np.nan
        if self.fault == "dtype" and self.t == self.at:
            everything["arm"] = np.array(["x"] * 6)
        return {agent: everything[agent] for agent in self.agents}

    def reset(self, seed=None, options=None):
        self.rng, self.t = np.random.default_rng(seed), 0
        self.x = self.rng.uniform(-1, 1, 3).astype(np.float32)
        self.agents = list(self.possible_agents)
        return self.seen(), {agent: {} for agent in self.agents}

    def step(self, actions):
        if set(actions) != set(self.agents):
            raise ValueError(f"actions of {sorted(actions)} for {sorted(self.agents)}")
        time.sleep(self.step_seconds)
        self.t += 1
        if self.t == self.at:
            self.fail()
        self.x[0] += actions["scout"]
        if "mule" in actions:
            self.x[1] += actions["mule"][0] - actions["mule"][1]
        self.x[2] += float(actions["arm"].sum()) + self.rng.normal()
        live = list(self.agents)
        over = self.t >= 10
        terminated = {agent: agent == "mule" and self.t >= 5 for agent in live}
        self.agents = [agent for agent in live if not terminated[agent]]
        obs = self.seen()
        for agent in live:
            obs.setdefault(agent, {"kind": 5, "where": np.zeros(1, np.float32)})
        truncated = dict.fromkeys(live, over)
        self.agents = [] if over and self.fault != "stay" else self.agents
        return obs, {agent: float(self.x[0]) for agent in live}, terminated, truncated, {agent: {} for agent in live}

    def fail(self):
        if self.fault == "exit":
            sys.exit("the gearbox broke \udcff")
        if self.fault == "raise":
            raise RuntimeError("the gearbox broke")
        if self.fault == "die":
            os._exit(9)
        if self.fault == "hang":
            time.sleep(1000)

    def render(self):
        """Two rows of eight pixels in the colour (t, 2 t, 3 t), a black one below; nothing where nobody asked for pictures."""
        if self.render_mode is None:
            return None
        picture = np.zeros((3, 8, 3), np.uint8)
        picture[:2] = self.t, 2 * self.t, 3 * self.t
        return picture[:, :, :2] if self.fault == "picture" else picture

    def close(self):
        self.agents = []


class Skirmish:
    """SMAC's interface: two units, one of which falls at step 2; won at step 4."""

    episode_limit = 6

    def __init__(self, win=True):
        self.win, self.battles_won = win, 0

    def reset(self):
        self.t = 0
        return self.get_obs(), self.get_state()

    def get_env_info(self):
        return {"episode_limit": self.episode_limit}

    def get_obs(self):
        return [np.array([self.t, i], np.float32) for i in range(2)]

    def get_state(self):
        return np.array([self.t], np.float32)

    def get_avail_actions(self):
        return [[0, 1, 1], [1, 0, 0] if self.t >= 2 else [0, 1, 0]]

    def step(self, actions):
        self.t += 1
        won = self.win and self.t == 4
        info = {"battle_won": won}
        if self.t == self.episode_limit:
            info["episode_limit"] = True
        return 1.5, won or self.t == self.episode_limit, info


def old_gym():
    """A single agent of the generation with four results and its own seed()."""

    class Env:
        observation_space, action_space = MultiDiscrete([2, 3]), Discrete(2)

        def seed(self, seed):
            self.rng = np.random.default_rng(seed)

        def reset(self):
            self.t = 0
            return self.rng.integers(0, 2, 2)

        def step(self, action):
            self.t += 1
            return self.rng.integers(0, 2, 2), 1, self.t == 5, {"TimeLimit.truncated": self.t == 5}

    return Env()


class Shifted:
    """A single agent that sees two choices, which count from 1 on."""

    observation_space, action_space = MultiDiscrete([2, 3]), Discrete(2)
    observation_space.start = np.array([1, 1])

    def reset(self, seed=None):
        return np.array([2, 3]), {}

    def step(self, action):
        return np.array([1, 1]), 0.0, True, False, {}


class Foraging:
    """A team in one Gymnasium environment. Unlike parts, each agent its reward; five steps.

    `common` pays and ends with scalars; `done` is of the generation without infos at a reset, and so has no masks; `long` pays one
    number too many.
    """

    def __init__(self, common=False, long=False, done=False):
        self.common, self.long, self.done = common, long, done
        self.observation_space = Tuple([Box(-50.0, 50.0, (2,)), Box(-50.0, 50.0, (3,))])
        self.action_space = Tuple([Discrete(3), MultiDiscrete([2, 2])])

    def seen(self):
        seen = np.array([self.x, self.t], np.float32), np.array([self.x, self.t, 1.0], np.float32)
        # One of the two agents has a mask, and it does not say so at the last step.
        return seen, {} if self.done or self.t == 5 else {"action_mask": [np.array([1, self.t % 2, 1]), None]}

    def reset(self, seed=None, options=None):
        self.t, self.x = 0, float(np.random.default_rng(seed).uniform(-1, 1))
        return self.seen()[0] if self.done else self.seen()

    def step(self, actions):
        first, second = actions
        self.t += 1
        self.x += first - float(second.sum())
        obs, info = self.seen()
        over = self.t == 5
        if self.done:
            return list(obs), [1.0, 2.0], [over, over], info
        reward = self.x if self.common else [1.0, 2.0, 3.0] if self.long else [self.x, 2.0]
        # The first agent is over at step 3 already.
        return obs, reward, False if self.common else [self.t >= 3, over], over and self.common, info


class Payday:
    """Pays at its end alone, at step 4: `late` has an empty mask there, and `early` one at step 2, where it leaves. `arm` has bounds
    that float32 does not hold. With `cut` the end is a limit's."""

    possible_agents = ["early", "late", "arm"]

    def __init__(self, bound=0.1, cut=False):
        self.bound, self.cut, self.agents = bound, cut, []

    def observation_space(self, agent):
        seen = Box(0.0, 4.0, (1,))
        return seen if agent == "arm" else Dict({"observation": seen, "action_mask": Box(0, 1, (2,), np.int8)})

    def action_space(self, agent):
        return Box(-self.bound, self.bound, (2,), np.float64) if agent == "arm" else Discrete(2)

    def seen(self, agents):
        time = np.array([self.t], np.float32)
        open_until = {"early": 2, "late": 4}
        return {
            agent: time if agent == "arm" else {"observation": time, "action_mask": np.full(2, self.t < open_until[agent], np.int8)}
            for agent in agents
        }

    def reset(self, seed=None, options=None):
        self.t, self.agents = 0, list(self.possible_agents)
        return self.seen(self.agents), {}

    def step(self, actions):
        arm = actions["arm"]
        if arm.dtype != np.float64 or (np.abs(arm) > self.bound).any():
            raise ValueError(f"{arm} lies outside of {self.bound}")
        self.t += 1
        live, over = list(self.agents), self.t == 4
        ended = {agent: (agent == "early" and self.t == 2) or (over and not self.cut) for agent in live}
        self.agents = [] if over else [agent for agent in live if not ended[agent]]
        return self.seen(live), dict.fromkeys(live, float(over)), ended, dict.fromkeys(live, over and self.cut), {}


class Locked:
    """A single agent without a choice where its game is over, which alone pays."""

    observation_space = Dict({"observation": Box(0.0, 3.0, (1,)), "action_mask": Box(0, 1, (2,), np.int8)})
    action_space = Discrete(2)

    def seen(self):
        return {"observation": np.array([self.t], np.float32), "action_mask": np.full(2, self.t < 3, np.int8)}

    def reset(self, seed=None, options=None):
        self.t = 0
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        return self.seen(), float(self.t == 3), self.t == 3, False, {}


nothing = object
constant = 3
