"""Gymnasium environments: a team of one, or a team as the foraging and warehouse games of EPyMARL have it. Goes on from adapters.py."""


def tuple_of(space):
    """How many parts a Tuple space has; 0 for any other space."""
    return len(space.spaces) if kind_of(space) == "Tuple" else 0


def five(result):
    """A step's five results, also of the generation with one `done`."""
    if len(result) != 4:
        return result
    obs, reward, done, info = result
    over, cut = bool(np.all(done)), bool(info.get("TimeLimit.truncated", False))
    return obs, reward, over and not cut, over and cut, info


class Single(Adapter):
    """A Gymnasium environment: a team of one."""

    def __init__(self, env):
        self.env = env
        observed = [Observed(env.observation_space, "observation", ("action_mask",))]
        acted = [Acted(env.action_space, "agent \"agent\"")]
        obs, info = with_infos(self.start(0))
        masked = Parallel.mask_in(obs, info) is not None
        limit = getattr(getattr(env, "spec", None), "max_episode_steps", None)
        super().__init__(["agent"], observed, acted, None, True, masked, False, step_limit=limit)

    def start(self, seed):
        try:
            return self.env.reset(seed=seed)
        except TypeError:  # The generation before seeds in reset.
            self.env.seed(seed)
            return self.env.reset()

    def write(self, obs, info, out):
        self.observed[0].write(obs, out.obs)
        self.write_mask(0, Parallel.mask_in(obs, info), out)
        self.write_state(None, out)

    def reset(self, seed, out):
        obs, info = with_infos(self.start(seed))
        self.write(obs, info, out)

    def step(self, actions, out):
        obs, reward, terminated, truncated, info = five(self.env.step(self.action_of(0, actions)))
        out.rewards[0] = number(reward, "reward")
        self.write(obs, info, out)
        return settled(TERMINATED if terminated else TRUNCATED if truncated else RUNNING, out), None


class Team(Adapter):
    """A Gymnasium environment whose observations and actions are Tuples of one length: a part is an agent's."""

    start = Single.start

    def __init__(self, env):
        self.env = env
        names = [f"agent_{i}" for i in range(tuple_of(env.action_space))]
        spaces = list(zip(names, env.observation_space.spaces, env.action_space.spaces))
        observed = [Observed(seen, f"observation of agent \"{name}\"", ("action_mask",)) for name, seen, _ in spaces]
        acted = [Acted(space, f"agent \"{name}\"") for name, _, space in spaces]
        self.n = len(names)
        obs, info = self.opened(0)
        masked = any(mask is not None for mask in self.masks_in(self.parts(obs, "observations"), info))
        limit = getattr(getattr(env, "spec", None), "max_episode_steps", None)
        super().__init__(names, observed, acted, None, False, masked, False, step_limit=limit)

    def opened(self, seed):
        """A reset's observations and info. Without infos, two agents' observations would look like one of each."""
        result = self.start(seed)
        both = len(result) == 2 and isinstance(result[1], dict) and isinstance(result[0], (tuple, list, np.ndarray))
        return result if both else (result, {})

    def parts(self, value, where):
        """`value` as a list of one part an agent."""
        if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != self.n:
            found = f"{len(value)}" if hasattr(value, "__len__") else type(value).__name__
            raise Misshaped(where, f"{self.n} of them, one an agent", found)
        return list(value)

    def masks_in(self, obs, info):
        """Each agent's availability mask, None where it has none."""
        own = info.get("action_mask") if isinstance(info, dict) else None
        shared = [None] * self.n if own is None else self.parts(own, "infos[\"action_mask\"]")
        return [Parallel.mask_in(part, None) if mask is None else mask for part, mask in zip(obs, shared)]

    def write(self, obs, info, out):
        obs = self.parts(obs, "observations")
        for i, part in enumerate(obs):
            self.observed[i].write(part, self.obs_of(i, out))
        for i, mask in enumerate(self.masks_in(obs, info)):
            self.write_mask(i, mask, out)
        self.write_state(None, out)

    def reset(self, seed, out):
        obs, info = self.opened(seed)
        self.write(obs, info, out)

    def step(self, actions, out):
        joint = tuple(self.action_of(i, actions) for i in range(self.n))
        obs, reward, terminated, truncated, info = five(self.env.step(joint))
        paid = self.parts(reward, "rewards") if np.ndim(reward) else [reward] * self.n
        out.rewards[:] = [number(r, f"reward of agent \"{name}\"") for r, name in zip(paid, self.names)]
        self.write(obs, info, out)
        # Some libraries say for each agent whether it is over: the episode is where all are.
        ended = bool(np.all(terminated))
        over = ended or bool(np.all(np.logical_or(terminated, truncated)))
        return settled(RUNNING if not over else TERMINATED if ended else TRUNCATED, out), None
