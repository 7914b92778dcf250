"""Groups of clients: clients with the same architecture are stacked, others are separate trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Predict, PyTree, Train


class Group(NamedTuple):
    """A group of clients with the same architecture.

    Attributes:
        features: ``features(params, x [b, ...]) -> [b, d]``, the input of the last layer; for a
            model with state (batch statistics), ``jc.stateful(features)`` of ``features(params,
            model_state, x)``.
        head: ``head(params, features [b, d]) -> logits [b, C]``.
        clients: number of clients.
        train: ``train(params, x, key) -> features``, used instead of ``features`` in training if a
            model behaves differently there; for a model with state, ``jc.stateful(train)`` of
            ``train(params, model_state, x, key) -> (features, model_state)``.

    Example:
        >>> narrow = jc.algorithms.Group(
        ...     features=lambda params, x: jnp.tanh(x @ params["w"]),
        ...     head=lambda params, features: features @ params["v"],
        ...     clients=2,
        ... )
        >>> params = {"w": jnp.zeros((5, 3)), "v": jnp.zeros((3, 4))}
        >>> features = narrow.features(params, jnp.ones((6, 5)))
        >>> features.shape, narrow.head(params, features).shape
        ((6, 3), (6, 4))
    """

    features: Predict
    head: Callable[[PyTree, Array], Array]
    clients: int
    train: Train | None = None


def split(tree: PyTree, groups: Sequence[Group]) -> list[PyTree]:
    """Splits a tree that is stacked for all clients into the rows of each group."""
    if len(groups) == 1:
        return [tree]
    ends = np.cumsum([group.clients for group in groups])
    cuts = zip(ends - [group.clients for group in groups], ends, strict=True)
    return [jax.tree.map(lambda leaf: leaf[a:b], tree) for a, b in cuts]  # noqa: B023


def join(parts: Sequence[PyTree]) -> PyTree:
    """Inverts :func:`split`."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def per_group(
    trees: PyTree,
    groups: Sequence[Group],
    several: bool,
    name: str = "params",
    optional: bool = False,
) -> list[PyTree]:
    """Returns one stacked tree for each group; raises a ValueError if one has a wrong length.

    Args:
        trees: a sequence with one tree for each group if ``several``, otherwise a single tree.
        groups: the groups.
        several: whether the user passed a sequence of groups.
        name: name of ``trees`` in error messages.
        optional: whether the tree of a group may be empty.
    """
    each = list(trees) if several else [trees]
    if len(each) != len(groups):
        raise ValueError(
            f"{name} must have {len(groups)} trees, one for each group, got {len(each)}"
        )
    for i, (tree, group) in enumerate(zip(each, groups, strict=True)):
        if optional and not jax.tree.leaves(tree):
            continue
        stacked = layout.num_clients(tree, f"{name}[{i}]" if several else name)
        if stacked != group.clients:
            raise ValueError(
                f"{name} of group {i} must be stacked for {group.clients} clients, got {stacked}"
            )
    return each


def check_groups(groups: Sequence[Any]) -> None:
    """Raises a TypeError or ValueError unless all are groups."""
    if not groups:
        raise ValueError("groups must have at least one Group, got none")
    for group in groups:
        if not isinstance(group, Group):
            raise TypeError(f"groups must be Groups, got {type(group).__name__}")
        given = {} if group.train is None else {"train of a group": group.train}
        checks.functions(**{"features of a group": group.features, "head of a group": group.head})
        checks.functions(**given)
        checks.count("clients of a group", group.clients)
