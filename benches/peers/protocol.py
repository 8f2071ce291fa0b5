"""What the Python programs of a comparison share: the numbers of cases.rs, and its line protocol."""
import sys
import time

import numpy as np


def numbers(seed, shape, scale):
    """The numbers of cases.rs."""
    with np.errstate(over="ignore"):
        h = np.arange(np.prod(shape), dtype=np.uint32) ^ np.uint32(seed * 0x27D4EB2F & 0xFFFFFFFF)
        h *= np.uint32(0x9E3779B1)
        h = (h ^ h >> np.uint32(15)) * np.uint32(0x85EBCA77)
        h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE3D)
        h ^= h >> np.uint32(16)
    unit = (h >> np.uint32(8)).astype(np.float32) / np.float32(16777216)
    return ((unit - np.float32(0.5)) * np.float32(scale)).reshape(shape)


def answer(build, array, case, seconds):
    """First and best time of a case in ms, mean and root mean square of its results."""
    start = time.perf_counter()
    run = build(case)
    if run is None:
        return "none"
    run()
    first, best, runs = time.perf_counter() - start, float("inf"), 1
    end = time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(runs):
            run()
        taken = time.perf_counter() - start
        best = min(best, taken / runs)
        runs *= 2 if taken < 0.02 else 1
    fresh = build(case)
    results = np.stack([array(fresh()) for _ in range(5 if case == "train" else 1)]).astype(np.float64)
    return f"{first * 1e3:.4f} {best * 1e3:.4f} {results.mean():.9e} {np.sqrt(np.square(results).mean()):.9e}"


def serve(build, array):
    """Answers cases from standard input. `build(case)` makes one pass, or None; `array` makes its result one of numpy's."""
    for line in sys.stdin:
        case, seconds = line.split()
        print(answer(build, array, case, float(seconds)), flush=True)
