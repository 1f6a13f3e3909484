"""The PPO gradient step of the reference network (LayerNorm, 18-128-128-5, ReLU) in PyTorch on the CPU."""

import torch
from torch import nn

from common import gradient_duel


def step_of(rows):
    torch.manual_seed(rows)
    net = nn.Sequential(
        nn.LayerNorm(18), nn.Linear(18, 128), nn.ReLU(),
        nn.LayerNorm(128), nn.Linear(128, 128), nn.ReLU(),
        nn.LayerNorm(128), nn.Linear(128, 5),
    )  # fmt: skip
    adam = torch.optim.Adam(net.parameters(), lr=5e-4, eps=1e-5)
    x, action = torch.randn(rows, 18), torch.randint(0, 5, (rows,))
    old, advantage = torch.full((rows,), -1.609), torch.randn(rows)

    def step():
        log_p = torch.log_softmax(net(x), -1)
        ratio = torch.exp(log_p.gather(1, action[:, None])[:, 0] - old)
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        entropy = -(log_p.exp() * log_p).sum(-1)
        adam.zero_grad()
        (-(surrogate + 0.01 * entropy).mean()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        adam.step()

    return step


if __name__ == "__main__":
    gradient_duel(f"PyTorch {torch.__version__}", step_of)
