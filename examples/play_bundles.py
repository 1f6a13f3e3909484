"""Plays policies that were trained before: python examples/play_bundles.py [BUNDLE ...] [--episodes N]

Without names, every policy under `bundles/`. Prints the mean return of each over its episodes, and the share won where the task says
what winning is. Needs Motley's Python package.
"""

import argparse
import json
import pathlib

import motley

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "bundles"


def episode(policy, env, seed):
    """One episode of the team's best guesses: its return, and whether it was won (None where nobody can win)."""
    obs, _ = env.reset(seed=seed)
    memory, total, won = None, 0.0, None
    while env.agents:
        actions, memory = policy.act({name: obs[name] for name in env.agents}, state=memory)
        obs, rewards, _, _, infos = env.step(actions)
        total += next(iter(rewards.values())) if policy.team.common_reward else sum(rewards.values())
        won = next((info["won"] for info in infos.values() if "won" in info), won)
    return total, won


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=pathlib.Path)
    parser.add_argument("--episodes", type=int, default=20)
    args = parser.parse_args()
    for folder in args.bundles or sorted(card.parent for card in SHIPPED.glob("*/card.md")):
        policy = motley.load(folder)
        settings = json.loads((folder / "policy.json").read_text())["config"].get("task", {})
        settings.pop("reward", None)  # what the algorithm learned from, no part of the environment
        env = motley.make(policy.task, **settings)
        policy.check(env.team)
        played = [episode(policy, env, seed) for seed in range(args.episodes)]
        text = f"{folder.name}: return {sum(total for total, _ in played) / len(played):.1f}"
        wins = [won for _, won in played if won is not None]
        print(text + (f", {100 * sum(wins) / len(played):.0f} % won" if wins else ""))


if __name__ == "__main__":
    main()
