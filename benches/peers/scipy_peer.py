"""SciPy's side of a comparison: the ridge classifier by its LAPACK, which is OpenBLAS, in float64. With the argument `check`
a pass also ends with the residual of the equations, as ours does."""
import sys

import numpy as np
import scipy
from protocol import numbers, serve
from scipy.linalg import cho_factor, cho_solve

CHECK = "check" in sys.argv


def ridge(m, classes):
    """potrf and potrs in place, on a copy of G: later tasks add to it."""
    p = np.maximum(numbers(41, (1000, m), 2.0), 0.0).astype(np.float64)
    gram = np.asfortranarray(p.T @ p)
    gram[np.diag_indices(m)] += 1.0
    sums = np.asfortranarray(p.T @ np.eye(classes)[np.arange(1000) % classes])
    factor, x = np.empty_like(gram), np.empty_like(sums)

    def step():
        np.copyto(factor, gram)
        np.copyto(x, sums)
        lower = cho_factor(factor, lower=True, overwrite_a=True, check_finite=False)
        w = cho_solve(lower, x, overwrite_b=True, check_finite=False)
        if CHECK:
            assert np.abs(sums - gram @ w).max() <= 1e-6 * np.abs(sums).max()
        return w

    return step


def build(case):
    name, _, sizes = case.partition("-")
    return ridge(*map(int, sizes.split("x"))) if name == "ridge" else None


if __name__ == "__main__":
    print(f"SciPy {scipy.__version__}", file=sys.stderr)
    # Class by class, as minoise has it.
    serve(build, np.transpose)
