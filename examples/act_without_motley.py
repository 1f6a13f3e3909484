"""A policy bundle in numpy, without Motley: python examples/act_without_motley.py RUN/policy

Plain and recurrent networks on vector observations. Needs numpy and safetensors.
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

    def outputs(self, agent, obs, h=None):
        """Logits or means of agent number `agent` for observations `[B, obs]`, and its memory."""
        g, group = next((g, x) for g, x in enumerate(self.info["groups"]) if agent in x["members"])
        unified = self.info.get("unified")
        if unified:  # One network for unlike agents: observations are padded to the widest, the kind behind them.
            kind = np.eye(unified["kinds"], dtype=np.float32)[unified["kind_of_agent"][agent]] if unified["kinds"] else []
            behind = np.concatenate([np.zeros(unified["observed"] - obs.shape[1], np.float32), kind])
            obs = np.concatenate([obs, np.tile(behind.astype(np.float32), (len(obs), 1))], 1)
        if group["agent_id"]:
            one_hot = np.eye(len(group["members"]), dtype=np.float32)[group["members"].index(agent)]
            obs = np.concatenate([obs, np.tile(one_hot, (len(obs), 1))], 1)
        h = np.zeros((len(obs), group["net"]["hidden_sizes"][-1]), np.float32) if h is None else h
        out, h = self.forward(g, obs, h)
        if unified:  # Its own actions out of the unified ones; those that are never available have none.
            out = out[:, [u or 0 for u in unified["from_env"][agent]]]
        return out, h


if __name__ == "__main__":
    bundle = Bundle(sys.argv[1])
    for k, agent in enumerate(bundle.info["team"]["agents"]):
        obs = np.zeros((1, int(np.prod(agent["obs"]["shape"]))), np.float32)
        print(agent["name"], bundle.outputs(k, obs)[0])
