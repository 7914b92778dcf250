"""Training, validation and test examples of every client."""

from __future__ import annotations

from typing import Any, Literal

import jax
import numpy as np

from jcollab import checks
from jcollab.core import Names
from jcollab.data.clients import ClientData, ClientRanges, by_client, check_clients

Clients = ClientData | ClientRanges


def split(
    data: Clients,
    *,
    test: float = 0.2,
    validation: float = 0.0,
    at_least: int | None = None,
    at_most: int | None = None,
    by: Literal["random", "order"] = "random",
    seed: int = 0,
) -> tuple[Clients, ...]:
    """Splits the examples of every client into training, validation and test examples.

    A client with m examples gets ``max(1, round(test * m))`` test examples, the same for
    validation, and trains on the rest. All parts have the same clients in the same order. Parts of
    ranges share one array of examples.

    Args:
        data: the data of clients.
        test: fraction of test examples, in [0, 1); 0 for no test examples.
        validation: fraction of validation examples, in [0, 1); 0 returns no such part.
        at_least: clients with fewer examples are dropped; None keeps all clients.
        at_most: number of examples that a client keeps, drawn at random, or with ``by="order"`` its
            last ones; None for all.
        by: ``"random"``, or ``"order"``: the last examples of each client are for tests, those
            before them for validation (for data in order of time).
        seed: seed of the random split.

    Returns:
        ``(train, test)`` or ``(train, validation, test)``, of the type of ``data``; ``test`` is
        missing if its fraction is 0.

    Raises:
        TypeError: if ``data`` is not the data of clients.
        ValueError: if fractions are out of range or sum to 1 or more, a number is not positive, no
            client is left, or a client has fewer examples than there are parts.

    Example:
        >>> data = jc.data.by_owner(np.arange(7), owners=["a"] * 5 + ["b"] * 2)
        >>> train, test = jc.data.split(data, by="order")
        >>> train.size.tolist(), test.size.tolist(), list(test.names)
        ([4, 1], [1, 1], ['a', 'b'])
    """
    check_clients(data)
    for name, fraction in (("test", test), ("validation", validation)):
        checks.number(name, fraction, at_least=0, below=1)
    if test + validation >= 1:
        raise ValueError(
            f"test and validation must sum to less than 1, got {test} and {validation}"
        )
    checks.counts(at_least=at_least, at_most=at_most)
    checks.one_of("by", by, ("random", "order"))
    checks.seed("seed", seed)
    fractions = [f for f in (validation, test) if f > 0]
    places = _places(data)
    kept = [i for i, own in enumerate(places) if len(own) >= (at_least or 0)]
    if not kept:
        most = max(map(len, places))
        raise ValueError(f"at_least must leave a client, got {at_least}; the largest has {most}")
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(1 + len(fractions))]
    for i in kept:
        own = places[i] if by == "order" else rng.permutation(places[i])
        own = own[-at_most:] if at_most else own
        held_out = [max(1, round(f * len(own))) for f in fractions]
        if len(own) <= sum(held_out):
            name = str(i) if data.names is None else repr(data.names[i])
            raise ValueError(
                f"every client must have at least {len(fractions) + 1} examples, got {len(own)} "
                f"for client {name}; at_least={len(fractions) + 1} drops such clients"
            )
        cuts = np.cumsum([len(own) - sum(held_out), *held_out])[:-1]
        for part, rows in zip(parts, np.split(own, cuts), strict=True):
            part.append(rows)
    names = None if data.names is None else [data.names[i] for i in kept]
    return tuple(_select(data, parts, names))


def _places(data: Clients) -> list[np.ndarray]:
    """Returns the rows of each client in the array of all examples."""
    if isinstance(data, ClientData):
        pairs = zip(np.asarray(data.indices), np.asarray(data.mask), strict=True)
        return [rows[present] for rows, present in pairs]
    start, size = np.asarray(data.start), np.asarray(data.size)
    return [np.arange(a, a + m) for a, m in zip(start, size, strict=True)]


def _select(data: Clients, parts: list[list[np.ndarray]], names: list[Any] | None) -> list[Clients]:
    if isinstance(data, ClientData):
        return [by_client(data.examples, part, names=names) for part in parts]
    # all parts of a client are neighbors in one array, which is copied once
    order = np.concatenate([rows for own in zip(*parts, strict=True) for rows in own])
    examples = jax.tree.map(lambda leaf: np.asarray(leaf)[order], data.examples)
    sizes = np.array([[len(rows) for rows in own] for own in zip(*parts, strict=True)], np.int32)
    starts = (np.cumsum(sizes).reshape(sizes.shape) - sizes).astype(np.int32)
    static = None if names is None else Names(names)
    return [
        ClientRanges(examples, starts[:, k].copy(), sizes[:, k].copy(), static)
        for k in range(len(parts))
    ]
