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


def normals(task, shape):
    """What minoise draws for a module: Philox4x32-10 with key (1, 0) and counter (element / 4, 0, task, 0), Box-Muller."""
    n = int(np.prod(shape))
    words = [np.arange((n + 3) // 4, dtype=np.uint64)] + [np.full((n + 3) // 4, x, np.uint64) for x in (0, task, 0)]
    key, low = [1, 0], np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        high_a, high_b = a >> np.uint64(32), b >> np.uint64(32)
        words = [high_b ^ words[1] ^ np.uint64(key[0]), b & low, high_a ^ words[3] ^ np.uint64(key[1]), a & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    u = [((w >> np.uint64(8)).astype(np.float64) + 0.5) * 2.0**-24 for w in words]
    radius, angle = [np.sqrt(-2 * np.log(u[i])) for i in (0, 2)], [2 * np.pi * u[i] for i in (1, 3)]
    z = [f(angle[i]) * radius[i] for i in (0, 1) for f in (np.cos, np.sin)]
    return np.stack(z, 1).reshape(-1)[:n].reshape(shape).astype(np.float32)


def answer(build, array, case, seconds):
    """First and best time of a case in ms; mean and root mean square of its results, and their mean with other weights for
    every place, so that results in another order differ."""
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
    # What was timed is what is judged; training starts anew.
    judged, times = (build(case), 5) if case.partition("-")[0] in ("train", "paper") else (run, 1)
    results = np.stack([np.ravel(array(judged())) for _ in range(times)]).astype(np.float64).ravel()
    weighted = (results * numbers(77, results.shape, 2.0)).mean()
    rms = np.sqrt(np.square(results).mean())
    return f"{first * 1e3:.4f} {best * 1e3:.4f} {results.mean():.9e} {rms:.9e} {weighted:.9e}"


def serve(build, array):
    """Answers cases from standard input. `build(case)` makes one pass, or None; `array` makes its result one of numpy's."""
    for line in sys.stdin:
        case, seconds = line.split()
        print(answer(build, array, case, float(seconds)), flush=True)
