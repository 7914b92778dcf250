"""Mixers written client by client, in float64 NumPy, from the papers' equations."""

import numpy as np


def neighbors(edges, n):
    table = [[] for _ in range(n)]
    for i, j in edges:
        table[i].append(j)
        table[j].append(i)
    return table


def metropolis(edges, n):
    table = neighbors(edges, n)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in table[i]:
            matrix[i, j] = 1 / (1 + max(len(table[i]), len(table[j])))
        matrix[i, i] = 1 - matrix[i].sum()
    return matrix


def gossip(values, edges):
    """values: list over time of [n, d]; returns the list of outputs."""
    n = len(values[0])
    matrix = metropolis(edges, n)
    outputs = []
    for x in values:
        out = np.zeros_like(x)
        for i in range(n):
            for j in range(n):
                out[i] += matrix[i, j] * x[j]
        outputs.append(out)
    return outputs


def relay_sum(values, edges, *, start, fill="initial", overlap=False, arrives=None):
    """Message passing with dictionaries; ``arrives(t, receiver, sender) -> bool``."""
    n = len(values[0])
    table = neighbors(edges, n)
    message = {(k, i): np.zeros_like(values[0][0]) for i in range(n) for k in table[i]}
    count = dict.fromkeys(message, 0)
    reference = start.copy()
    outputs = []
    for t, x in enumerate(values):
        old_message, old_count = dict(message), dict(count)
        for i in range(n):
            for j in table[i]:
                others = [k for k in table[i] if k != j]
                message[i, j] = x[i] + sum((old_message[k, i] for k in others), np.zeros_like(x[i]))
                count[i, j] = 1 + sum(old_count[k, i] for k in others)
        for sender, receiver in message:
            if arrives is not None and not arrives(t, receiver, sender):
                message[sender, receiver] = np.zeros_like(x[0])
                count[sender, receiver] = 0
        read, read_count = (old_message, old_count) if overlap else (message, count)
        out = np.zeros_like(x)
        for i in range(n):
            total = x[i] + sum((read[k, i] for k in table[i]), np.zeros_like(x[i]))
            c = 1 + sum(read_count[k, i] for k in table[i])
            stand_in = {"initial": reference[i], "previous": reference[i], "own": x[i]}
            if fill == "counts":
                out[i] = total / c
            else:
                out[i] = (total + (n - c) * stand_in.get(fill, np.zeros_like(x[i]))) / n
        if fill == "previous":
            reference = out.copy()
        outputs.append(out)
    return outputs
