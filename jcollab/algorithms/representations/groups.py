"""Clients with models of different architectures: groups of equal ones, each stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Predict, PyTree, Train


class Group(NamedTuple):
    """Clients with one architecture.

    Attributes:
        features: ``features(params, x [b, ...]) -> [b, d]``, what is before the last layer; of a
            model with state (batch statistics), ``jc.stateful(features)`` of ``features(params,
            model_state, x)``.
        head: ``head(params, features [b, d]) -> logits [b, C]``.
        clients: how many there are.
        train: ``train(params, x, key) -> features`` takes the place of ``features`` where a model
            behaves differently in training; of a model with state, ``jc.stateful(train)`` of
            ``train(params, model_state, x, key) -> (features, model_state)``.
    """

    features: Predict
    head: Callable[[PyTree, Array], Array]
    clients: int
    train: Train | None = None


def split(tree: PyTree, groups: Sequence[Group]) -> list[PyTree]:
    """The rows of each group of something stacked for all clients."""
    if len(groups) == 1:
        return [tree]
    ends = np.cumsum([group.clients for group in groups])
    cuts = zip(ends - [group.clients for group in groups], ends, strict=True)
    return [jax.tree.map(lambda leaf: leaf[a:b], tree) for a, b in cuts]  # noqa: B023


def join(parts: Sequence[PyTree]) -> PyTree:
    """The inverse of :func:`split`."""
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
    """One stacked tree for each group; ValueError unless ``trees`` has them.

    Args:
        trees: one for each group where there are ``several``, else the tree of the only one.
        groups: the groups that they belong to.
        several: whether there are several.
        name: of ``trees`` in messages.
        optional: whether a group may have nothing.
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
                f"{name} of group {i} are stacked for {stacked} clients, but it has {group.clients}"
            )
    return each


def check_groups(groups: Sequence[Any]) -> None:
    """TypeError or ValueError unless they are groups."""
    if not groups:
        raise ValueError("groups must have at least one Group, got none")
    for group in groups:
        if not isinstance(group, Group):
            raise TypeError(f"groups must be Groups, got {type(group).__name__}")
        given = {} if group.train is None else {"train of a group": group.train}
        checks.functions(**{"features of a group": group.features, "head of a group": group.head})
        checks.functions(**given)
        checks.count("clients of a group", group.clients)
