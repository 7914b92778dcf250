"""Federated rounds client by client, in float64 NumPy, from the papers' equations.

Clients hold quadratics ``f_i(y) = y' A_i y / 2 - b_i' y`` and take full gradient steps.
"""

import numpy as np


def server_step(kind, state, update, rate=0.1):
    """One step of the server; ``update`` is the mean of ``y_i - x``."""
    t = state["t"] = state.get("t", 0) + 1
    if kind == "mean":
        return update
    if kind == "momentum":
        state["m"] = update + 0.9 * state.get("m", 0.0)
        return state["m"]
    if kind == "adagrad":
        state["v"] = state.get("v", 0.1 + 0 * update) + update**2
        return rate * update / np.sqrt(state["v"] + 1e-7)
    b1, b2 = 0.9, 0.999
    start = (0 if kind == "adam" else -1e-6) + 0 * update  # of the moments of the gradient -update
    state["m"] = b1 * state.get("m", start) + (1 - b1) * update
    old = state.get("v", abs(start))
    if kind == "adam":
        state["v"] = b2 * old + (1 - b2) * update**2
        return rate * (state["m"] / (1 - b1**t)) / (np.sqrt(state["v"] / (1 - b2**t)) + 1e-8)
    state["v"] = old - (1 - b2) * np.sign(old - update**2) * update**2
    return rate * (state["m"] / (1 - b1**t)) / (np.sqrt(state["v"] / (1 - b2**t)) + 1e-3)


def run(A, b, x, cohorts, *, method="fedavg", server="mean", weights=None, steps=None, gamma=0.05):
    """The server's models after each round; ``cohorts`` lists the clients of each round.

    ``method`` may name several, joined by ``+``, of which one at most has a memory.
    """
    n, kinds = len(A), method.split("+")
    p = np.ones(n) if weights is None else np.asarray(weights, float)
    steps = np.full(n, 3) if steps is None else steps
    own = [np.zeros_like(x) for _ in range(n)]
    memory, state, models = np.zeros_like(x), {}, []

    def grad(i, y):
        return A[i] @ y - b[i]

    for cohort in cohorts:
        share = {i: p[i] / sum(p[j] for j in cohort) for i in cohort}
        mean = sum(share[i] * grad(i, x) for i in cohort)
        updates, fresh = {}, list(own)
        for i in cohort:
            y = x.copy()
            if "fedga" in kinds:
                y = x + 0.1 * (grad(i, x) - mean)
            for _ in range(steps[i]):
                g = grad(i, y)
                if "fedprox" in kinds:
                    g = g + 0.7 * (y - x)
                if "scaffold" in kinds:
                    g = g - own[i] + memory
                if "scaffold recomputed" in kinds:
                    g = g - grad(i, x) + mean
                if "feddyn" in kinds:
                    g = g - own[i] + 0.7 * (y - x)
                y = y - gamma * g
            updates[i] = y - x
            if "scaffold" in kinds:  # option II of the paper
                fresh[i] = own[i] - memory + (x - y) / (steps[i] * gamma)
            if "feddyn" in kinds:
                fresh[i] = own[i] - 0.7 * (y - x)
        if "fednova" in kinds:
            direction = sum(share[i] * updates[i] / steps[i] for i in cohort)
            update = direction * sum(share[i] * steps[i] for i in cohort)
        else:
            update = sum(share[i] * updates[i] for i in cohort)
        if "scaffold" in kinds or "feddyn" in kinds:
            memory = memory + sum(p[i] * (fresh[i] - own[i]) for i in range(n)) / p.sum()
        if "feddyn" in kinds:
            update = update - memory / 0.7
        own = fresh
        x = x + server_step(server, state, update)
        models.append(x)
    return np.stack(models)
