"""Other people's environments behind one interface: flat arrays in the order of `possible_agents`, nothing padded.

An adapter has `spec` (what it tells Motley about the team), `reset(seed, out)`, `step(actions, out) -> (status, won)` and `close()`.
`out` holds views of memory that Motley owns: obs, state (float32), rewards (float64), avail, alive (uint8).
"""

import importlib
import sys
import traceback

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2


class Missing(Exception):
    """A part outside Motley that is not there, and how to get it."""

    def __init__(self, what, mend):
        super().__init__(f"{what} is missing: {mend}")
        self.what, self.mend = what, mend


class Invalid(Exception):
    """A name or an environment that cannot be used at all."""


class Contract(Exception):
    """An environment that broke its word: where, what was expected, what was found."""

    def __init__(self, where, expected, found):
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where, self.expected, self.found = where, str(expected), str(found)


class Misshaped(Contract):
    """What an environment wrote does not fit the space that it declared: trying again mends nothing."""


try:
    import numpy as np
except ImportError:
    np = None


class Views:
    """Numpy views of one environment's part of the shared memory."""

    def __init__(self, obs, state, rewards, avail, alive):
        self.obs, self.state, self.rewards, self.avail, self.alive = obs, state, rewards, avail, alive


def describe_error(error):
    """The exception with the place in the user's code where it was raised."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    if frames:
        text += f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})"
    return text


def told(error):
    """An error as Motley reads it."""
    if isinstance(error, Missing):
        return {"kind": "missing", "what": error.what, "mend": error.mend}
    if isinstance(error, Contract):
        kind = "misshaped" if isinstance(error, Misshaped) else "contract"
        return {"kind": kind, "where": error.where, "expected": error.expected, "found": error.found}
    if isinstance(error, Invalid):
        return {"kind": "invalid", "text": str(error)}
    return {"kind": "failed", "text": describe_error(error)}


# ---- spaces ---------------------------------------------------------------------------------------------------------------


def kind_of(space):
    """The class name of a space of gymnasium or of the old gym; subclasses count as what they extend."""
    for cls in type(space).__mro__:
        if cls.__name__ in ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple", "Graph", "Sequence", "Text", "OneOf"):
            return cls.__name__
    return type(space).__name__


class Observed:
    """One observation space: how many numbers it is, and how a value of it is written."""

    def __init__(self, space, where, skip=()):
        kind = kind_of(space)
        self.where, self.kind, self.parts = where, kind, None
        self.shape, self.low, self.high = None, 0.0, 1.0
        if kind == "Box":
            self.space_shape, self.whole = tuple(space.shape), np.dtype(getattr(space, "dtype", None) or np.float32).kind in "iub"
            self.size = int(np.prod(self.space_shape, dtype=np.int64))
            self.low = float(np.min(space.low)) if self.size else 0.0
            self.high = float(np.max(space.high)) if self.size else 0.0
            # Networks divide an image by 255; a grid of zeros and ones is none.
            image = len(self.space_shape) == 3 and self.low == 0.0 and self.high == 255.0
            self.shape = list(self.space_shape) if image else [self.size]
        elif kind == "Discrete":
            self.size, self.start = int(space.n), int(getattr(space, "start", 0))
        elif kind == "MultiDiscrete":
            self.choices = [int(n) for n in np.asarray(space.nvec).ravel()]
            self.start = np.asarray(getattr(space, "start", np.zeros_like(space.nvec))).ravel()
            self.size = sum(self.choices)
        elif kind == "MultiBinary":
            self.size = int(np.prod(space.shape, dtype=np.int64))
        elif kind in ("Dict", "Tuple"):
            items = space.spaces.items() if kind == "Dict" else enumerate(space.spaces)
            self.parts = [(k, Observed(s, f"{where}[{k!r}]")) for k, s in items if k not in skip]
            self.size = sum(part.size for _, part in self.parts)
            self.low = min((p.low for _, p in self.parts), default=0.0)
            self.high = max((p.high for _, p in self.parts), default=0.0)
            if len(self.parts) == 1:
                self.shape = self.parts[0][1].shape
        else:
            raise Invalid(
                f"{where}: a {kind} space cannot be observed; Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple can: wrap the environment"
            )
        if self.size == 0:
            raise Invalid(f"{where}: the space {space} holds nothing")
        self.shape = self.shape or [self.size]

    def write(self, value, out):
        """Writes `value` into `out` (float32, `size` numbers)."""
        if self.parts is not None:
            at = 0
            for key, part in self.parts:
                try:
                    inner = value[key]
                except (KeyError, IndexError, TypeError):
                    raise Misshaped(part.where, "an entry", f"none in {type(value).__name__}") from None
                part.write(inner, out[at : at + part.size])
                at += part.size
            return
        try:
            array = np.asarray(value)
        except Exception:
            raise Misshaped(self.where, "numbers", type(value).__name__) from None
        if array.dtype.kind not in "fiub":
            raise Misshaped(self.where, "numbers", f"dtype {array.dtype}")
        if self.kind == "Box":
            if array.shape != self.space_shape:
                raise Misshaped(self.where, f"shape {self.space_shape}", f"shape {array.shape}")
            if self.whole and array.dtype.kind == "f":  # An image in 0..1 where bytes are declared would be divided by 255 once more.
                raise Misshaped(self.where, "whole numbers, as its space says", f"dtype {array.dtype}")
            out[:] = array.ravel()
        elif self.kind == "Discrete":
            k = int(array) - self.start if array.shape == () else -1
            if not 0 <= k < self.size:
                raise Contract(self.where, f"a whole number in {self.start}..{self.start + self.size}", array)
            out[:] = 0.0
            out[k] = 1.0
        elif self.kind == "MultiDiscrete":
            found, array = array, array.ravel()
            array = array - self.start if array.size == len(self.choices) else array
            if array.size != len(self.choices) or any(not 0 <= int(x) < n for x, n in zip(array, self.choices)):
                raise Contract(self.where, f"choices out of {self.choices} from {self.start} on", found)
            out[:] = 0.0
            at = 0
            for x, n in zip(array, self.choices):
                out[at + int(x)] = 1.0
                at += n
        else:
            if array.size != self.size:
                raise Misshaped(self.where, f"{self.size} bits", f"shape {array.shape}")
            out[:] = array.ravel()


class Acted:
    """One action space: its kind for Motley, and how Motley's numbers become an action."""

    def __init__(self, space, where):
        self.kind, self.where = kind_of(space), where
        if self.kind == "Discrete":
            self.width, self.start, self.mask_len = 1, int(getattr(space, "start", 0)), int(space.n)
            self.spec = {"discrete": int(space.n)}
        elif self.kind == "MultiDiscrete":
            choices = [int(n) for n in np.asarray(space.nvec).ravel()]
            self.width, self.mask_len, self.shape, self.dtype = len(choices), sum(choices), space.shape, space.dtype
            self.start = np.asarray(getattr(space, "start", np.zeros(space.shape, dtype=np.int64)))
            self.spec = {"multi": choices}
        elif self.kind == "MultiBinary":
            self.width, self.shape, self.dtype, self.start = int(np.prod(space.shape)), space.shape, space.dtype, 0
            self.mask_len = 2 * self.width
            self.spec = {"multi": [2] * self.width}
        elif self.kind == "Box":
            low, high = (np.asarray(b, dtype=np.float32).ravel() for b in (space.low, space.high))
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise Invalid(f"{where}: its Box has no bounds; wrap the environment so that every action has a low and a high")
            self.width, self.mask_len, self.shape, self.dtype = low.size, 0, space.shape, np.dtype(space.dtype)
            # float32(0.1) is more than 0.1: what is at a bound in Motley's numbers may lie outside of it in the space's own.
            self.bounds = None if self.dtype == np.float32 else [np.asarray(b, self.dtype) for b in (space.low, space.high)]
            self.spec = {"box": {"low": low.tolist(), "high": high.tolist()}}
        else:
            team = "; a Tuple is a team's, an agent a part, where the observation space is a Tuple of as many" if self.kind == "Tuple" else ""
            raise Invalid(f"{where}: a {self.kind} action space cannot be acted in; Discrete, MultiDiscrete, MultiBinary and Box can{team}")

    def read(self, numbers):
        """The action that `numbers` (float32, `width`) means."""
        if self.kind == "Discrete":
            return int(numbers[0]) + self.start
        if self.kind == "Box":
            action = numbers.reshape(self.shape).astype(self.dtype)
            return action if self.bounds is None else np.clip(action, *self.bounds)
        return (numbers.reshape(self.shape).astype(np.int64) + self.start).astype(self.dtype)

    def write_mask(self, mask, out):
        """Writes an availability mask (an array, or a tuple of arrays for several choices)."""
        if isinstance(mask, (tuple, list)) and len(mask) and np.ndim(mask[0]):
            mask = np.concatenate([np.asarray(m).ravel() for m in mask])
        mask = np.asarray(mask).ravel()
        if mask.size != self.mask_len:
            raise Misshaped(f"availability mask of {self.where}", f"{self.mask_len} entries", mask.size)
        out[:] = mask != 0


def kinds_of(names, spaces):
    """A kind for each agent: the name without its number, told apart where the spaces differ."""
    seen, kinds = {}, []
    for name, space in zip(names, spaces):
        stem = name.rstrip("0123456789").rstrip("_-") or name
        known = seen.setdefault(stem, [])
        if space not in known:
            known.append(space)
        k = known.index(space)
        kinds.append(stem if k == 0 else f"{stem}.{k}")
    return kinds


def finite(x):
    """JSON has no infinities."""
    return x if np.isfinite(x) else None


class Adapter:
    """What all adapters share: agents with their spaces, offsets, the spec."""

    def __init__(self, names, observed, acted, state, common, masks, deaths, winning=False, step_limit=None, noop=None):
        self.names, self.observed, self.acted = list(names), observed, acted
        self.obs_at = np.cumsum([0] + [o.size for o in observed]).tolist()
        self.action_at = np.cumsum([0] + [a.width for a in acted]).tolist()
        self.mask_at = np.cumsum([0] + [a.mask_len for a in acted]).tolist()
        spaces = [(tuple(o.shape), str(a.spec)) for o, a in zip(observed, acted)]
        self.spec = {
            "agents": [
                {
                    "name": name,
                    "kind": kind,
                    "shape": o.shape,
                    "low": finite(o.low),
                    "high": finite(o.high),
                    "action": a.spec,
                    "noop": noop,
                }
                for name, kind, o, a in zip(self.names, kinds_of(self.names, spaces), observed, acted)
            ],
            "state": state,
            "common": common,
            "masks": masks,
            "deaths": deaths,
            "winning": winning,
            "step_limit": step_limit,
        }

    def obs_of(self, i, out):
        return out.obs[self.obs_at[i] : self.obs_at[i + 1]]

    def mask_of(self, i, out):
        return out.avail[self.mask_at[i] : self.mask_at[i + 1]]

    def write_mask(self, i, mask, out):
        """An agent's mask, where it gives one. A team's has places for masks, or has none, as its first reset shows."""
        if mask is None:
            return
        if not self.spec["masks"]:
            raise Misshaped(f"agent \"{self.names[i]}\"", "action masks from reset() on, or none at all", "the first one after a step")
        self.acted[i].write_mask(mask, self.mask_of(i, out))

    def action_of(self, i, actions):
        return self.acted[i].read(actions[self.action_at[i] : self.action_at[i + 1]])

    def write_state(self, state, out):
        if self.spec["state"] is None:
            out.state[:] = out.obs
            return
        array = np.asarray(state)
        if array.size != self.spec["state"] or array.dtype.kind not in "fiub":
            raise Misshaped("state", f"{self.spec['state']} numbers", f"shape {array.shape}, dtype {array.dtype}")
        out.state[:] = array.ravel()

    def draws(self):
        return getattr(self.env, "render_mode", None) == "rgb_array"

    def picture(self, width):
        """What the environment's own renderer shows, `[height, width, 3]` bytes; a wider one is shrunk by a whole number."""
        if not hasattr(self.env, "render"):
            raise Missing(f"a render() of {type(self.env).__name__}", "write one that returns the picture, bytes of (height, width, 3)")
        try:
            image = self.env.render()
        except TypeError:  # The generation that was told the mode with each call.
            image = self.env.render(mode="rgb_array")
        array = np.asarray(image[-1] if isinstance(image, list) and image else image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4) or array.size == 0:
            found = "None" if image is None else f"shape {array.shape}, dtype {array.dtype}"
            raise Misshaped("render()", "a picture, bytes of (height, width, 3)", found)
        k = max(1, min(-(-array.shape[1] // width), *array.shape[:2]))
        height, wide = array.shape[0] // k, array.shape[1] // k
        blocks = array[: height * k, : wide * k, :3].reshape(height, k, wide, k, 3)
        return blocks.mean((1, 3)).astype(np.uint8) if k > 1 else np.ascontiguousarray(blocks[:, 0, :, 0])

    def close(self):
        close = getattr(self.env, "close", None)
        if close is not None:
            close()


def with_infos(result):
    """A reset's (observation, info), also of the generation that returned the observation alone."""
    return result if isinstance(result, tuple) and len(result) == 2 else (result, {})


def number(value, where):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Contract(where, "a number", repr(value)) from None


def settled(status, out):
    """`status`; behind the end nobody chooses, whatever a mask says. Behind a cut its mask counts: what could follow is estimated."""
    if status == TERMINATED:
        out.avail[:] = 1
    return status


class Parallel(Adapter):
    """PettingZoo's ParallelEnv."""

    def __init__(self, env):
        self.env = env
        names = [str(a) for a in env.possible_agents]
        self.agents = list(env.possible_agents)
        if not names:
            raise Invalid("the environment has no possible_agents")
        observed = [Observed(env.observation_space(a), f"observation of agent \"{a}\"", ("action_mask",)) for a in self.agents]
        acted = [Acted(env.action_space(a), f"agent \"{a}\"") for a in self.agents]
        obs, infos = with_infos(env.reset(seed=0))
        masked = any(self.mask_in(obs.get(a), infos.get(a)) is not None for a in self.agents)
        super().__init__(names, observed, acted, self.state_size(), False, masked, len(names) > 1)

    @staticmethod
    def mask_in(obs, info):
        if isinstance(obs, dict) and "action_mask" in obs:
            return obs["action_mask"]
        return info.get("action_mask") if isinstance(info, dict) else None

    def state_size(self):
        try:
            return int(np.asarray(self.env.state()).size) or None
        except (NotImplementedError, AttributeError):
            return None

    def write(self, obs, infos, out):
        for i, agent in enumerate(self.agents):
            if agent not in obs:
                self.obs_of(i, out)[:] = 0.0
                continue
            self.observed[i].write(obs[agent], self.obs_of(i, out))
            self.write_mask(i, self.mask_in(obs[agent], infos.get(agent)), out)
            if not out.alive[i] and not self.mask_of(i, out).any():  # Who is dead needs no action, and an empty mask says no more.
                self.mask_of(i, out)[:] = 1
        self.write_state(None if self.spec["state"] is None else self.env.state(), out)

    def reset(self, seed, out):
        obs, infos = with_infos(self.env.reset(seed=seed))
        if set(self.env.possible_agents) != set(self.agents):
            raise Contract("possible_agents", self.agents, list(self.env.possible_agents))
        out.alive[:] = [agent in obs for agent in self.agents]
        self.write(obs, infos, out)

    def step(self, actions, out):
        live = set(self.env.agents)
        joint = {a: self.action_of(i, actions) for i, a in enumerate(self.agents) if a in live}
        obs, rewards, terminated, truncated, infos = self.env.step(joint)
        for i, agent in enumerate(self.agents):
            if agent in live and agent not in obs:
                raise Contract(f"step, agent \"{agent}\"", "an observation of every agent that acted", "none")
            if agent in rewards:
                out.rewards[i] = number(rewards[agent], f"reward of agent \"{agent}\"")
        left = set(self.env.agents)
        for agent in self.agents:
            if agent in left and (terminated.get(agent) or truncated.get(agent)):
                raise Contract(f"step, agent \"{agent}\"", "that it leaves `agents` once it is terminated or truncated", "it is still there")
        over = not left
        cut = any(truncated.get(a, False) and not terminated.get(a, False) for a in live)
        for i, agent in enumerate(self.agents):
            if over:  # Who was there until the end did not die, unless it ended while others were cut.
                out.alive[i] = agent in live and not (cut and terminated.get(agent, False))
            else:
                out.alive[i] = agent in left
        self.write(obs, infos, out)
        return settled(RUNNING if not over else TRUNCATED if cut else TERMINATED, out), None


class Smac(Adapter):
    """The interface of SMAC: get_obs, get_state, get_avail_actions, one common reward. Action 0 is the dead's alone."""

    def __init__(self, env):
        self.env = env
        env.reset()
        info = env.get_env_info() if hasattr(env, "get_env_info") else {}
        obs, masks = env.get_obs(), env.get_avail_actions()
        names = [f"agent_{i}" for i in range(len(obs))]
        observed = [_flat(np.asarray(o).size, f"observation of agent \"{n}\"") for n, o in zip(names, obs)]
        acted = [_choice(len(m), f"agent \"{n}\"") for n, m in zip(names, masks)]
        self.winning = hasattr(env, "get_stats") or hasattr(env, "battles_won")
        limit = info.get("episode_limit", getattr(env, "episode_limit", None))
        super().__init__(names, observed, acted, int(np.asarray(env.get_state()).size) or None, True, True, True, self.winning, limit, 0)

    def write(self, out):
        for i, (obs, mask) in enumerate(zip(self.env.get_obs(), self.env.get_avail_actions())):
            self.observed[i].write(np.asarray(obs).ravel(), self.obs_of(i, out))
            self.acted[i].write_mask(mask, self.mask_of(i, out))
            mask = self.mask_of(i, out)
            out.alive[i] = not (mask[0] and mask.sum() == 1)
        self.write_state(self.env.get_state(), out)

    def reset(self, seed, out):
        if hasattr(self.env, "seed") and callable(self.env.seed) and not hasattr(self.env, "_launch"):
            self.env.seed(seed)  # StarCraft II itself takes its seed when it is launched.
        self.env.reset()
        self.write(out)

    def step(self, actions, out):
        result = self.env.step([int(a) for a in actions])
        reward, terminated, info = result[0], result[1], result[-1]
        cut = bool(info.get("episode_limit", False)) or (len(result) > 3 and bool(result[2]))
        self.write(out)
        out.rewards[:] = number(reward, "reward")
        won = bool(info.get("battle_won", False)) if self.winning else None
        return (TRUNCATED if cut else TERMINATED if terminated else RUNNING), won


class Football(Adapter):
    """Google Research Football with as many left players agents as in HARL: 115 numbers each, the first reward for all."""

    def __init__(self, env, agents, limit):
        self.env, self.agents = env, agents
        names = [f"player_{i}" for i in range(agents)]
        observed = [_flat(115, f"observation of agent \"{n}\"") for n in names]
        acted = [_choice(19, f"agent \"{n}\"") for n in names]
        super().__init__(names, observed, acted, 115 + 11 * (agents - 1), True, False, False, True, limit)

    def write(self, obs, out):
        obs = np.asarray(obs, dtype=np.float32).reshape(self.agents, -1)
        for i in range(self.agents):
            self.observed[i].write(obs[i], self.obs_of(i, out))
        # The common part, then which player each agent is (entries 97 to 107).
        out.state[:97] = obs[0][:97]
        out.state[97 : 97 + 7] = obs[0][108:]
        out.state[104:] = obs[:, 97:108].ravel()

    def reset(self, seed, out):
        config = self.env.unwrapped._config  # A scenario draws a seed where none is set, and keeps the order of teams.
        config["game_engine_random_seed"], config["reverse_team_processing"] = seed, bool(seed % 2)
        obs, _ = with_infos(self.env.reset())
        self.write(obs, out)

    def step(self, actions, out):
        obs, reward, done, info = self.env.step([int(a) for a in actions])
        out.rewards[:] = number(np.asarray(reward).ravel()[0], "reward")
        self.write(obs, out)
        won = bool(info.get("score_reward", 0) > 0) if done else None
        if not done:
            return RUNNING, None
        cut = self.env.unwrapped.observation()[0]["steps_left"] == 0 and not won
        return (TRUNCATED if cut else TERMINATED), won


def _flat(size, where):
    box = type("Box", (), {"shape": (size,), "low": np.array(-np.inf), "high": np.array(np.inf)})
    return Observed(box(), where)


def _choice(n, where):
    return Acted(type("Discrete", (), {"n": n})(), where)


# ---- from names to environments ----------------------------------------------------------------------------------------------


def load(module):
    """Imports a module; what is missing is named with its mend."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise absent(error, module) from error


def absent(error, asked):
    """What is missing where `asked` was imported or made, with its mend."""
    name = error.name or asked
    own = asked == name or asked.startswith(name + ".")
    where = f" (asked for by {asked})" if not own else ""
    return Missing(
        f"the Python module \"{name}\"{where}",
        f"install it for {sys.executable} ({sys.executable} -m pip install ...), start Motley in the folder that holds it, "
        "or name another interpreter with MOTLEY_PYTHON",
    )


def adapt(env):
    """The adapter for an environment, by what it can do."""
    has = lambda *names: all(hasattr(env, n) for n in names)  # noqa: E731
    if has("agent_iter", "last", "possible_agents"):
        return Parallel(load("pettingzoo.utils.conversions").aec_to_parallel(env))
    if has("possible_agents", "observation_space", "action_space", "step", "reset"):
        return Parallel(env)
    if has("get_obs", "get_state", "get_avail_actions", "step", "reset"):
        return Smac(env)
    if has("observation_space", "action_space", "step", "reset"):
        team = tuple_of(env.action_space)
        return Team(env) if team and team == tuple_of(env.observation_space) else Single(env)
    raise Invalid(
        f"{type(env).__name__} is no environment that Motley knows: a PettingZoo ParallelEnv has possible_agents, a Gymnasium Env "
        "observation_space and action_space, one of SMAC's kind get_obs, get_state and get_avail_actions"
    )


def make_python(target, kwargs):
    """`module:callable`."""
    module, _, name = target.partition(":")
    found = load(module)
    for part in name.split("."):
        if not hasattr(found, part):
            near = [n for n in dir(found) if callable(getattr(found, n, None)) and not n.startswith("_")]
            raise Invalid(f"{module} has no \"{name}\"; it has {', '.join(near[:12]) or 'nothing to call'}")
        found = getattr(found, part)
    if not callable(found):
        raise Invalid(f"{target} is {type(found).__name__}, which cannot be called: name a function that returns an environment, or its class")
    try:
        return adapt(found(**kwargs))
    except ModuleNotFoundError as error:
        raise absent(error, target) from error


def make_gym(target, kwargs):
    gym = load("gymnasium")
    try:
        # Its own checker warns of teams and forbids pictures that work; `motley check` is for that.
        return adapt(gym.make(target, **{"disable_env_checker": True, **kwargs}))
    except gym.error.UnregisteredEnv as error:
        raise Invalid(f"gym/{target}: {error}") from error
    except gym.error.DependencyNotInstalled as error:
        raise Missing(f"a part of gym/{target}", str(error)) from error
    except ModuleNotFoundError as error:
        raise absent(error, f"gym/{target}") from error


PLAYERS = {
    "academy_pass_and_shoot_with_keeper": 2,
    "academy_run_pass_and_shoot_with_keeper": 2,
    "academy_3_vs_1_with_keeper": 3,
    "academy_counterattack_easy": 4,
    "academy_counterattack_hard": 4,
    "academy_corner": 11,
    "academy_single_goal_versus_lazy": 11,
}


def make_football(target, kwargs):
    try:
        football = importlib.import_module("gfootball.env")
    except ImportError as error:
        raise Missing(
            f"Google Research Football ({error})",
            "build it once with scripts/football, then set MOTLEY_PYTHON to the interpreter that it prints",
        ) from error
    agents = PLAYERS[target]
    limit = 3000 if target == "academy_single_goal_versus_lazy" else 400
    env = football.create_environment(
        env_name=target,
        representation="simple115v2",
        stacked=False,
        rewards="scoring,checkpoints",
        number_of_left_players_agent_controls=agents,
        render=False,
        **kwargs,
    )
    return Football(env, agents, limit)


MAKERS = {"py": make_python, "gym": make_gym, "football": make_football}


def make(kind, target, kwargs):
    """The adapter of a named environment."""
    if np is None:
        raise Missing("the Python package numpy", f"{sys.executable} -m pip install numpy")
    return MAKERS[kind](target, kwargs)


def make_drawn(kind, target, kwargs):
    """The same, made to be drawn: told so where it takes `render_mode`."""
    try:
        return make(kind, target, {**kwargs, "render_mode": "rgb_array"})
    except TypeError:
        return make(kind, target, kwargs)
