"""Records how vmas moves, in the format that `motley check vmas/SCENARIO --trace FILE` reads.

    python record.py OUT.npz SCENARIO [key=value ...]      (needs `pip install vmas`)

Arrays, for T steps of a batch of environments, all float32 unless said otherwise:
  states [T + 1, env, entity, (x, y, vx, vy, rot, ang_vel)], obs_I [T + 1, env, dim], act_I [T, env, dim], rewards [T, env, agent],
  dones [T, env] bool; drives [T, env, entity, 2] where scripts of vmas's are not repeated (forces, NaN for other bodies); entity_names, entity_kind, shapes (text), movable, rotatable, collide (bool), mass (float64), one an entity.
Actions are held for a few steps, so that bodies really run into each other. Environments are never reset: after the end of a task
the trace goes on. vmas is a peer, run and never copied: it is GPL-3.
"""

import ast
import random
import sys

import numpy as np
import torch
import vmas

ENVS, STEPS, HOLD, SEED = 2, 160, 15, 7
# Beginnings of the names of agents whose scripts Motley has its own of.
OWN_SCRIPTS = {"football": "agent_red"}


def literal(text):
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false") else text)
    except (ValueError, SyntaxError):
        return text


def main(out, scenario, *settings):
    torch.manual_seed(SEED)
    random.seed(SEED)
    kwargs = {key: literal(value) for key, value in (s.split("=", 1) for s in settings)}
    env = vmas.make_env(scenario, num_envs=ENVS, device="cpu", continuous_actions=True, seed=SEED, **kwargs)
    entities, agents = env.world.entities, env.agents

    def snap():
        return np.stack(
            [torch.cat([e.state.pos, e.state.vel, e.state.rot, e.state.ang_vel], -1).numpy().copy() for e in entities], 1
        )

    obs = [[o.numpy().copy()] for o in env.reset()]
    states, actions, rewards, dones, drives = [snap()], [[] for _ in agents], [], [], []
    scripted = [scenario in OWN_SCRIPTS and e.name.startswith(OWN_SCRIPTS[scenario]) for e in entities]
    nothing = np.full((ENVS, 2), np.nan, np.float32)
    held = None
    for t in range(STEPS):
        if t % HOLD == 0:
            held = [(2 * torch.rand(ENVS, 2) - 1).sign() * torch.rand(ENVS, 2).sqrt() * a.action.u_range for a in agents]
        seen, paid, done, _ = env.step([u.clone() for u in held])
        for k, u in enumerate(held):
            actions[k].append(u.numpy().copy())
            obs[k].append(seen[k].numpy().copy())
        rewards.append(np.stack([r.reshape(ENVS).numpy() for r in paid], -1).copy())
        dones.append(done.numpy().copy())
        drives.append(np.stack([e.action.u.numpy().copy() if s else nothing for e, s in zip(entities, scripted)], 1))
        states.append(snap())
    arrays = {f"obs_{k}": np.stack(o) for k, o in enumerate(obs)}
    arrays |= {f"act_{k}": np.stack(a) for k, a in enumerate(actions)}
    if any(scripted):
        arrays["drives"] = np.stack(drives)
    np.savez_compressed(
        out,
        states=np.stack(states),
        rewards=np.stack(rewards).astype(np.float32),
        dones=np.stack(dones),
        entity_names=np.array([e.name for e in entities]),
        entity_kind=np.array([type(e).__name__ for e in entities]),
        shapes=np.array([f"{type(e.shape).__name__}:{vars(e.shape)}" for e in entities]),
        movable=np.array([e.movable for e in entities]),
        rotatable=np.array([e.rotatable for e in entities]),
        collide=np.array([e.collide for e in entities]),
        mass=np.array([float(e.mass) for e in entities]),
        **arrays,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
