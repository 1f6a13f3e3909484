"""Writes crates/motley/tests/fixtures/import: files as HARL and EPyMARL save them, and what their networks put out.

    python tests/python/make_import_fixture.py        (needs PyTorch; the files in the tree are of PyTorch 2)

The networks are declared here anew from the architectures that the two projects describe: HARL's policies (LayerNorm on the
input; linear, activation, LayerNorm for each hidden layer; a GRU with LayerNorm; linear to logits or means) and EPyMARL's agents
(linear, ReLU, GRU cell, linear).
"""

import json
import pathlib

import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "motley" / "tests" / "fixtures" / "import"
AGENTS = 3
OBS = 18  # simple_spread with three agents.
ROWS = 5


class Base(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.feature_norm = nn.LayerNorm(width)
        layers = []
        for before, after in zip([width, *hidden], hidden):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.LayerNorm(after)]
        self.mlp = nn.Module()
        self.mlp.fc = nn.Sequential(*layers)

    def forward(self, x):
        return self.mlp.fc(self.feature_norm(x))


class Recurrent(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.rnn = nn.GRU(width, width, num_layers=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x, h):
        y, h = self.rnn(x[None], h)
        return self.norm(y[0]), h


class Policy(nn.Module):
    """HARL's stochastic policy."""

    def __init__(self, obs, hidden, outputs, recurrent=False, continuous=False):
        super().__init__()
        self.base = Base(obs, hidden)
        if recurrent:
            self.rnn = Recurrent(hidden[-1])
        self.act = nn.Module()
        out = nn.Module()
        if continuous:
            out.fc_mean = nn.Linear(hidden[-1], outputs)
            out.log_std = nn.Parameter(torch.ones(outputs))
        else:
            out.linear = nn.Linear(hidden[-1], outputs)
        self.act.action_out = out

    def forward(self, x, h=None):
        y = self.base(x)
        if h is not None:
            y, h = self.rnn(y, h)
        out = self.act.action_out
        return (out.fc_mean if hasattr(out, "fc_mean") else out.linear)(y), h


class Agent(nn.Module):
    """EPyMARL's recurrent agent."""

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.rnn = nn.GRUCell(hidden, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x, h):
        h = self.rnn(torch.relu(self.fc1(x)), h)
        return self.fc2(h), h


def stir(module, seed):
    """Weights, biases and norms that are all their own."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def numbers(tensor):
    return [[round(float(x), 7) for x in row] for row in tensor]


def harl_config(algo, continuous, recurrent, hidden, share=False):
    return {
        "main_args": {"algo": algo, "env": "pettingzoo_mpe", "exp_name": "fixture", "load_config": ""},
        "algo_args": {
            "seed": {"seed_specify": True, "seed": 7},
            "device": {"cuda": True, "torch_threads": 4},
            "train": {
                "n_rollout_threads": 4, "num_env_steps": 100000, "episode_length": 50, "eval_interval": 25, "use_valuenorm": True,
                "use_linear_lr_decay": False, "use_proper_time_limits": True, "model_dir": None,
            },
            "eval": {"use_eval": True, "n_eval_rollout_threads": 10, "eval_episodes": 40},
            "render": {"use_render": False, "render_episodes": 10},
            "model": {
                "hidden_sizes": hidden, "activation_func": "relu", "use_feature_normalization": True,
                "initialization_method": "orthogonal_", "gain": 0.01, "use_naive_recurrent_policy": False,
                "use_recurrent_policy": recurrent, "recurrent_n": 1, "data_chunk_length": 10, "lr": 0.0007, "critic_lr": 0.0005,
                "opti_eps": 1e-05, "weight_decay": 0, "std_x_coef": 1, "std_y_coef": 0.5,
            },
            "algo": {
                "ppo_epoch": 10, "critic_epoch": 8, "use_clipped_value_loss": True, "clip_param": 0.15, "actor_num_mini_batch": 2,
                "critic_num_mini_batch": 1, "entropy_coef": 0.01, "value_loss_coef": 1, "use_max_grad_norm": True,
                "max_grad_norm": 10.0, "use_gae": True, "gamma": 0.98, "gae_lambda": 0.9, "use_huber_loss": True,
                "use_policy_active_masks": True, "huber_delta": 10.0, "action_aggregation": "prod", "share_param": share,
                "fixed_order": False,
            },
            "logger": {"log_dir": "./results"},
        },
        "env_args": {"scenario": "simple_spread_v2", "continuous_actions": continuous},
    }  # fmt: skip


def harl(name, hidden, outputs, recurrent=False, continuous=False):
    folder = ROOT / name
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(harl_config("happo", continuous, recurrent, hidden), indent=1) + "\n")
    torch.manual_seed(100)
    obs = torch.randn(ROWS, AGENTS, OBS)
    told = {"obs": [numbers(step) for step in obs], "out": []}
    obs = torch.tensor(told["obs"])
    for agent in range(AGENTS):
        policy = stir(Policy(OBS, hidden, outputs, recurrent, continuous), agent)
        torch.save(policy.state_dict(), folder / "models" / f"actor_agent{agent}.pt")
        h, rows = (torch.zeros(1, 1, hidden[-1]) if recurrent else None), []
        with torch.no_grad():
            for step in range(ROWS):
                y, h = policy(obs[step, agent][None], h)
                rows.append(y[0])
        told["out"].append(numbers(rows))
    (folder / "expected.json").write_text(json.dumps(told) + "\n")


def epymarl(name, hidden, outputs):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "name": "qmix", "agent": "rnn", "mac": "basic_mac", "mixer": "qmix", "learner": "q_learner", "runner": "parallel",
        "env": "gymma", "env_args": {"key": "pz-mpe-simple-spread-v3", "time_limit": 25}, "hidden_dim": hidden, "use_rnn": True,
        "obs_agent_id": True, "obs_last_action": False, "obs_individual_obs": False, "lr": 0.0003, "gamma": 0.97, "batch_size": 16,
        "batch_size_run": 8, "buffer_size": 500, "t_max": 20000, "target_update_interval_or_tau": 0.01, "epsilon_start": 1.0,
        "epsilon_finish": 0.05, "epsilon_anneal_time": 5000, "standardise_rewards": True, "double_q": True, "mixing_embed_dim": 32,
        "seed": 3, "use_cuda": False, "action_selector": "epsilon_greedy", "optim_alpha": 0.99,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    torch.manual_seed(200)
    obs = torch.randn(ROWS, AGENTS, OBS)
    told = {"obs": [numbers(step) for step in obs], "out": [[] for _ in range(AGENTS)]}
    obs = torch.tensor(told["obs"])
    agent = stir(Agent(OBS + AGENTS, hidden, outputs), 9)
    torch.save(agent.state_dict(), folder / "agent.th")
    h = torch.zeros(AGENTS, hidden)
    with torch.no_grad():
        for step in range(ROWS):
            y, h = agent(torch.cat([obs[step], torch.eye(AGENTS)], 1), h)
            for k, row in enumerate(numbers(y)):
                told["out"][k].append(row)
    (folder / "expected.json").write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    harl("harl_discrete", [12, 8], 5)
    harl("harl_recurrent", [8], 5, recurrent=True)
    harl("harl_continuous", [8, 8], 5, continuous=True)
    epymarl("epymarl_qmix", 8, 5)
    # What must be refused: a pickle that calls something.
    torch.save(nn.Linear(2, 2), ROOT / "module.pt")
