"""Mixers built from other mixers: over time, on parts of a model, or on interleaved coordinates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import Array, Mixer, PyTree, Round, Select, check_select, selected, widen
from jcollab.mixing.common import num_mixed, shared_names


def mix_every(period: int, mixer: Mixer) -> Mixer:
    """Builds a mixer that mixes only in every ``period``-th round, as local SGD does.

    Args:
        period: rounds from one exchange to the next, at least 1.
        mixer: any mixer.

    Raises:
        TypeError: if ``mixer`` is not a Mixer.
        ValueError: if period < 1.

    Example:
        >>> mixer, x = jc.mix_every(2, jc.all_reduce()), jnp.array([0.0, 3.0, 6.0])
        >>> for t in range(2):
        ...     mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), t))[0].tolist()
        [0.0, 3.0, 6.0]
        [3.0, 3.0, 3.0]
    """
    checks.count("period", period)
    checks.kind(Mixer, mixer=mixer)

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        # A cond, not a select: rounds without an exchange do not compute or communicate one. The
        # step counts finished rounds, so this round is number step + 1.
        return jax.lax.cond(
            (context.step + 1) % period == 0,
            lambda x, s: mixer.update(x, s, context),
            lambda x, s: (x, s),
            x,
            s,
        )

    return mixer._replace(update=update, bytes_sent=lambda x: mixer.bytes_sent(x) / period)


def mix_only(select: Select, mixer: Mixer) -> Mixer:
    """Builds a mixer for a part of the pytree; clients keep the rest, for example personal heads.

    Args:
        select: the leaves that are mixed, see :data:`jcollab.core.Select`: a function
            ``select(path, leaf) -> bool`` with a path such as ``"params/Dense_0/kernel"``, the
            beginning of such a path, or a pytree of bools.
        mixer: mixes the selected leaves, which it receives as a list of arrays.

    Raises:
        TypeError: if ``select`` has none of these forms, or ``mixer`` is not a Mixer.
        ValueError: in ``init``, if no leaf is selected.

    Example:
        >>> x = {"body": jnp.array([0.0, 4.0]), "head": jnp.array([0.0, 4.0])}
        >>> mixer = jc.mixing.mix_only(lambda path, leaf: "head" not in path, jc.all_reduce())
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed["body"].tolist(), mixed["head"].tolist()
        ([2.0, 2.0], [0.0, 4.0])
    """
    check_select("select", select)
    checks.kind(Mixer, mixer=mixer)

    # Paths depend on the structure alone, so the choice is made while the program is traced.
    def chosen(x: PyTree) -> list[bool]:
        return selected(select, x)

    def part(x: PyTree) -> list[Array]:
        return [leaf for leaf, flag in zip(jax.tree.leaves(x), chosen(x), strict=True) if flag]

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        mixed, s = mixer.update(part(x), s, context)
        fresh = iter(mixed)
        leaves, structure = jax.tree.flatten(x)
        flags = zip(leaves, chosen(x), strict=True)
        merged = [next(fresh) if flag else leaf for leaf, flag in flags]
        return jax.tree.unflatten(structure, merged), s

    return mixer._replace(
        init=lambda x: mixer.init(part(x)),
        update=update,
        bytes_sent=lambda x: mixer.bytes_sent(part(x)),
    )


def lazy_mixing(mixer: Mixer, weight: float = 0.5) -> Mixer:
    """Builds a mixer that blends each value with the mixed one: ``x' = (1 - a) x + a mix(x)``.

    For gossip, a = 1/2 gives the lazy matrix ``(I + W) / 2``.

    Args:
        mixer: any mixer.
        weight: a in (0, 1].

    Raises:
        TypeError: if ``mixer`` is not a Mixer.
        ValueError: if weight is outside (0, 1].

    Example:
        >>> mixer, x = jc.mixing.lazy_mixing(jc.all_reduce()), jnp.array([0.0, 3.0, 6.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed.tolist()
        [1.5, 3.0, 4.5]
    """
    checks.number("weight", weight, above=0, at_most=1)
    checks.kind(Mixer, mixer=mixer)

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        mixed, s = mixer.update(x, s, context)

        def blend(own: Array, other: Array) -> Array:
            return ((1 - weight) * widen(own) + weight * widen(other)).astype(own.dtype)

        return jax.tree.map(blend, x, mixed), s

    return mixer._replace(update=update)


def interleave(*mixers: Mixer) -> Mixer:
    """Builds a mixer that splits the flattened model: mixer ``c mod k`` mixes coordinate c.

    With two trees that use different links, each client sends half a model over each tree. Double
    binary trees are ``interleave(relay_sum(binary_tree(n)), relay_sum(binary_tree(n,
    reverse=True)))``.

    Args:
        *mixers: k >= 1 mixers for the same clients.

    Raises:
        TypeError: if an argument is not a Mixer.
        ValueError: without a mixer, or if client names differ; in ``init``, if a model has fewer
            coordinates than there are mixers.

    Example:
        >>> mixer = jc.mixing.interleave(jc.identity(), jc.all_reduce())
        >>> x, context = jnp.array([[0.0] * 3, [2.0] * 3]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()  # coordinate 1 is averaged
        [[0.0, 1.0, 0.0], [2.0, 1.0, 2.0]]

    Source: Vogels et al. 2021, arXiv 2110.04175; double trees of Sanders et al. 2009.
    """
    if not mixers:
        raise ValueError("mixers must be at least one, got none")
    checks.kind(Mixer, **{f"mixers[{i}]": mixer for i, mixer in enumerate(mixers)})
    count = len(mixers)

    def split(x: PyTree) -> list[Array]:
        leaves = jax.tree.leaves(x)
        flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
        if flat.shape[1] < count:
            raise ValueError(
                f"mixers must be at most {flat.shape[1]}, one for each coordinate, got {count}"
            )
        return [flat[:, i::count] for i in range(count)]

    def join(parts: list[Array], x: PyTree) -> PyTree:
        n, size = parts[0].shape[0], sum(part.shape[1] for part in parts)
        flat = jnp.zeros((n, size), parts[0].dtype)
        for i, part in enumerate(parts):
            flat = flat.at[:, i::count].set(part)
        fresh, start = [], 0
        for leaf in jax.tree.leaves(x):
            width = leaf.size // n
            fresh.append(flat[:, start : start + width].reshape(leaf.shape).astype(leaf.dtype))
            start += width
        return jax.tree.unflatten(jax.tree.structure(x), fresh)

    def init(x: PyTree) -> PyTree:
        num_mixed(x)
        return tuple(mixer.init(part) for mixer, part in zip(mixers, split(x), strict=True))

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        parts, states = [], []
        for i, (mixer, part) in enumerate(zip(mixers, split(x), strict=True)):
            # With one key for all, random mixers would draw the same peers and lose the same
            # messages.
            part, state = mixer.update(
                part, s[i], context._replace(key=jax.random.fold_in(context.key, i))
            )
            parts.append(part)
            states.append(state)
        return join(parts, x), tuple(states)

    def bytes_sent(x: PyTree) -> Array:
        # x may be shapes alone, which split cannot slice
        shapes = jax.eval_shape(split, x)
        return sum(mixer.bytes_sent(part) for mixer, part in zip(mixers, shapes, strict=True))

    return Mixer(init, update, bytes_sent, shared_names(*mixers))
