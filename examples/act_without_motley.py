"""A policy bundle in numpy, without Motley: python examples/act_without_motley.py RUN/policy

Plain and recurrent networks on vector observations, with all that they read besides: fingerprints, the last action, the agent's number,
unified spaces. It does not run graph networks, one network that decides for all agents, or images: it says so, and `motley export` writes
those as ONNX. Needs numpy and safetensors.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x < 0, np.expm1(x), x),
    "selu": lambda x: np.where(x < 0, 1.7580993 * np.expm1(x), 1.050701 * x),
}


class Bundle:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.info = json.loads((folder / "policy.json").read_text())
        self.tensors = {}
        for file in folder.glob("*.safetensors"):
            self.tensors.update(load_file(file))

    def norm(self, x, name):
        gamma = self.tensors.get(f"{name}.gamma")
        if gamma is None:
            return x
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / scale * gamma + self.tensors[f"{name}.beta"]

    def forward(self, g, x, h):
        """One group's network: rows `[B, input]`, memory `[B, H]`; output and memory."""
        net, name = self.info["groups"][g]["net"], f"actor.{g}"
        x = self.norm(x, f"{name}.input_norm")
        for k in range(len(net["hidden_sizes"])):
            x = x @ self.tensors[f"{name}.hidden.{k}.weight"] + self.tensors[f"{name}.hidden.{k}.bias"]
            is_last = k + 1 == len(net["hidden_sizes"])
            activation = net.get("last_activation", net["activation"]) if is_last else net["activation"]
            x = self.norm(ACTIVATIONS[activation](x), f"{name}.hidden.{k}.norm")
        if net["recurrent"]:
            gates = x @ self.tensors[f"{name}.gru.weight_ih"] + self.tensors[f"{name}.gru.bias_ih"]
            state = h @ self.tensors[f"{name}.gru.weight_hh"] + self.tensors[f"{name}.gru.bias_hh"]
            (ir, iz, in_), (hr, hz, hn) = np.split(gates, 3, -1), np.split(state, 3, -1)
            sigmoid = ACTIVATIONS["sigmoid"]
            r, z = sigmoid(ir + hr), sigmoid(iz + hz)
            n = np.tanh(in_ + r * hn)
            h = (1 - z) * n + z * h
            x = self.norm(h, f"{name}.gru.norm")
        return x @ self.tensors[f"{name}.output.weight"] + self.tensors[f"{name}.output.bias"], h

    def group_of(self, agent):
        """The number and the description of the group that acts for agent number `agent`."""
        return next((g, x) for g, x in enumerate(self.info["groups"]) if agent in x["members"])

    def network(self, agent, shown, h=None, last=None):
        """What an agent's network puts out for rows `[B, shown]`, and its memory; without memory and last action an episode starts."""
        g, group = self.group_of(agent)
        net, rows = group["net"], len(shown)
        number = np.eye(len(group["members"]))[group["members"].index(agent)] if group["agent_id"] else []
        h = np.zeros((rows, net["hidden_sizes"][-1]), np.float32) if h is None and net["recurrent"] else h
        if last is None:
            last = np.zeros((rows, net["extra"] - len(group["constants"]) - len(number)), np.float32)
        constants, number = (np.tile(np.array(x, np.float32), (rows, 1)) for x in (group["constants"], number))
        return self.forward(g, np.concatenate([shown, constants, last, number], 1), h)

    def padded(self, agent, obs):
        """One network for unlike agents: observations are padded to the widest, the kind behind them."""
        unified = self.info.get("unified")
        if not unified:
            return obs
        kind = np.eye(unified["kinds"])[unified["kind_of_agent"][agent]] if unified["kinds"] else []
        behind = np.concatenate([np.zeros(unified["observed"] - obs.shape[1]), kind]).astype(np.float32)
        return np.concatenate([obs, np.tile(behind, (len(obs), 1))], 1)

    def outputs(self, agent, obs, h=None, last=None):
        """Logits, action values or means of agent number `agent` for observations `[B, obs]`, and its memory."""
        _, group = self.group_of(agent)
        beyond = {
            "a graph network, whose agents hear each other": "graph" in group,
            "one network that decides for all agents": self.info.get("central"),
            "a network on images": len(group["net"]["obs"]["shape"]) == 3,
        }
        for what in (what for what, is_so in beyond.items() if is_so):
            raise NotImplementedError(f"this example does not run {what}: take `motley export`")
        out, h = self.network(agent, self.padded(agent, obs), h, last)
        if self.info.get("unified"):  # Its own actions out of the unified ones; some are never available and have none.
            own = self.info["unified"]["from_env"][agent]
            out = np.where([u is None for u in own], -np.inf, out[:, [u or 0 for u in own]])
        return out, h

    def choices(self, agent):
        """How many options each of an agent's choices has; none where it acts in a box."""
        ((kind, sizes),) = self.info["team"]["agents"][agent]["action"].items()
        return {"Discrete": lambda: [sizes], "MultiDiscrete": lambda: sizes, "Box": lambda: []}[kind]()

    def encode(self, agent, action):
        """Actions `[B, choices]` or `[B, dim]` as the agent's network reads them at the next step."""
        _, group = self.group_of(agent)
        if not group["last_action"]:
            return None
        sizes = self.choices(agent)
        if self.info.get("unified"):
            action = np.array([u or 0 for u in self.info["unified"]["from_env"][agent]])[action]
            sizes = [group["net"]["output"]]
        one_hots = [np.eye(n, dtype=np.float32)[action[:, c]] for c, n in enumerate(sizes)]
        return np.concatenate(one_hots, 1) if sizes else action

    def greedy(self, agent, out, avail=None):
        """The best actions by `outputs`, `[B, choices]` or `[B, dim]`; `avail` `[B, options]` says which options there are."""
        sizes = self.choices(agent)
        if sizes:
            out = out if avail is None else np.where(avail, out, -np.inf)
            return np.stack([part.argmax(1) for part in np.split(out, np.cumsum(sizes)[:-1], 1)], 1)
        _, group = self.group_of(agent)
        ((kind, box),) = group["head"].items()
        low, high = np.array(box["low"], np.float32), np.array(box["high"], np.float32)
        mean = out[:, : len(low)]  # Log deviations may stand behind.
        return np.clip(mean, low, high) if kind == "Gaussian" else (low + high) / 2 + (high - low) / 2 * np.tanh(mean)

    def act(self, agent, obs, avail=None, memory=(None, None)):
        """Greedy actions of agent number `agent`, and the memory for its next step: its network's, and what it did."""
        out, h = self.outputs(agent, obs, *memory)
        action = self.greedy(agent, out, avail)
        return action, (h, self.encode(agent, action))


if __name__ == "__main__":
    bundle = Bundle(sys.argv[1])
    for k, agent in enumerate(bundle.info["team"]["agents"]):
        obs = np.zeros((1, int(np.prod(agent["obs"]["shape"]))), np.float32)
        try:
            print(agent["name"], *bundle.act(k, obs)[0])
        except NotImplementedError as why:
            sys.exit(f"{sys.argv[1]}: {why}")
