"""Figure 5: the constant rho = m / p of the theory, from the matrix of delays on a tree."""

from __future__ import annotations

import numpy as np

from jcollab.topology import Topology, require_tree

MOST_POWERS = 100
PATIENCE = 10


def delay_matrix(tree: Topology) -> np.ndarray:
    """One round on the history of all models, with the delays ``d_ij`` of the overlapped form.

    Rows and columns run over (age k, client i), k = 0..diameter: the newest block averages
    ``x_j`` of age ``d_ij`` with weight 1/n, every other block moves one age on. The matrix is
    row-stochastic, ``[(diameter + 1) n, (diameter + 1) n]``.
    """
    require_tree(tree)
    n, ages = tree.n, tree.diameter + 1
    matrix = np.zeros((ages, n, ages, n))
    for age in range(ages - 1):
        matrix[age + 1, :, age, :] = np.eye(n)
    i, j = np.indices((n, n))
    matrix[0, i, tree.distances, j] = 1 / n
    return matrix.reshape(ages * n, ages * n)


def smallest_rho(tree: Topology) -> tuple[int, float, float]:
    """The m and p with the smallest ``rho = m / p`` such that, for all X,

        || (W^m - W^inf) X ||^2 <= (1 - p)^{2m} || (W - W^inf) X ||^2 in spectral norms.

    Returns:
        m, p and m / p. As in the original, p must lie below the second largest modulus of an
        eigenvalue, and the search over m stops ten values after the best one.

    Source: Vogels et al. 2021, arXiv 2110.04175, appendix.
    """
    matrix = delay_matrix(tree)
    limit = matrix
    for _ in range(20):
        limit = limit @ limit
    second = np.sort(np.abs(np.linalg.eigvals(matrix)))[-2]
    scale = np.linalg.norm(matrix - limit, 2) ** 2
    best, worse, power = (0, 0.0, np.inf), 0, np.eye(len(matrix))
    for m in range(1, MOST_POWERS):
        power = power @ matrix
        ratio = np.linalg.norm(power - limit, 2) ** 2 / scale
        p = 1 - ratio ** (1 / (2 * m))
        if ratio >= 1 or p >= second:
            continue
        if m / p < best[2]:
            best = (m, float(p), float(m / p))
        else:
            worse += 1
            if worse > PATIENCE:
                break
    return best
