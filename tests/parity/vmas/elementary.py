"""Holds Motley's elementary functions (crates/motley-envs/src/vmas/elementary.rs) to PyTorch's, and records what their test compares with.

    python elementary.py             coefficients of the sine, and the tables of digests for the test
    python elementary.py --all       also every float32 from 2^-13 to 10000 as an angle, some minutes     (needs `pip install torch`)

A digest is the sum of an answer's bits times 1, 3, 5, ... over every 64th float32 of a binade, for angles first all of them positive,
then all negative. PyTorch must be one that computes with MKL on x86-64, as the wheels do; 2.15.0 gave the numbers in the test.
"""

import sys

import mpmath as mp
import numpy as np
import torch

FIRST, LAST, FAR, EVERY = -14, 13, 10000.0, 64
PI_HEAD = float.fromhex("0x1.921fb5444p+1")


def coefficients(terms=4):
    """Remez's exchange: x + c1 x^3 + ... against sin x, relative, on (0, pi/2]."""
    mp.mp.dps = 50
    end = mp.pi / 2
    points = [end * mp.sin(end * (k + 1) / (terms + 1)) for k in range(terms + 1)]
    while True:
        system = mp.matrix(terms + 1, terms + 1)
        wanted = mp.matrix(terms + 1, 1)
        for i, x in enumerate(points):
            for k in range(terms):
                system[i, k] = x ** (2 * k + 3) / mp.sin(x)
            system[i, terms] = (-1) ** i
            wanted[i] = 1 - x / mp.sin(x)
        c = mp.lu_solve(system, wanted)

        def error(x):
            return sum(c[k] * x ** (2 * k + 2) for k in range(terms)) * x / mp.sin(x) + x / mp.sin(x) - 1

        grid = [end * i / 2000 for i in range(1, 2001)]
        found = [error(x) for x in grid]
        turns = [i for i in range(1, 1999) if (found[i] - found[i - 1]) * (found[i + 1] - found[i]) < 0]
        extremes = [mp.findroot(lambda t: mp.diff(error, t), grid[i]) for i in turns[-terms:]] + [end]
        moved = max(abs(a - b) for a, b in zip(extremes, points))
        points = extremes
        if moved < mp.mpf(10) ** -20:
            return [float(c[k]) for k in range(terms)], float(abs(c[terms]))


def wave(x, shift, c):
    """Motley's sine (shift 0) or cosine (shift 1/2), in double precision and rounded once."""
    x = np.abs(x).astype(np.float64) if shift else x.astype(np.float64)
    k = np.rint(x * (1 / np.pi) + shift)
    r = (x - (k - shift) * PI_HEAD) - (k - shift) * float(mp.pi - mp.mpf(PI_HEAD))
    s = r * r
    y = r * (1 + s * (c[0] + s * (c[1] + s * (c[2] + s * c[3]))))
    return np.where(k % 2 == 0, y, -y).astype(np.float32)


def floats(first, last, step):
    bits = np.arange(int(np.float32(first).view(np.uint32)), int(np.float32(last).view(np.uint32)), step, dtype=np.uint32)
    return bits.view(np.float32)


def digest(y):
    with np.errstate(over="ignore"):
        return int((y.view(np.uint32).astype(np.uint64) * (2 * np.arange(len(y), dtype=np.uint64) + 1)).sum())


def main(everything):
    torch.set_num_threads(1)
    c, level = coefficients()
    print(f"PyTorch {torch.__version__}; coefficients {c}, relative error {level:.3g}")
    compared = off = 0
    for binade in range(FIRST, LAST + 1):
        x = floats(2.0**binade, min(2.0 ** (binade + 1), FAR), EVERY)
        x = np.concatenate([x, -x])
        answers = [torch.sin(torch.from_numpy(x)).numpy(), torch.cos(torch.from_numpy(x)).numpy()]
        compared += 2 * len(x)
        off += sum(int((wave(x, shift, c) != y).sum()) for shift, y in zip((0.0, 0.5), answers))
        print("(" + ", ".join([str(binade)] + [f"0x{digest(y):_x}" for y in answers]) + "),")
    print(f"{compared} answers compared, {off} differ")
    if not everything:
        return
    compared = off = 0
    at = 2.0**-13
    while at < FAR:
        x = floats(at, min(2 * at, FAR), 1)
        for shift, f in ((0.0, torch.sin), (0.5, torch.cos)):
            differ = x[wave(x, shift, c) != f(torch.from_numpy(x)).numpy()]
            compared, off = compared + len(x), off + len(differ)
            if len(differ):
                print(f"{f.__name__} differs at {differ.tolist()}")
        at *= 2
    print(f"{compared} answers compared, {off} differ")


if __name__ == "__main__":
    main("--all" in sys.argv[1:])
