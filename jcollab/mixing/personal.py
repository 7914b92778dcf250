"""Averages that each client weighs for itself: by the others' mean, or by each other client."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Mixer, PyTree, Round, widen
from jcollab.mixing.average import dense_average
from jcollab.mixing.common import num_mixed, payload, weight_dtype
from jcollab.theory import averaging
from jcollab.theory.averaging.estimates import check_client_counts
from jcollab.theory.averaging.rules import PlugIn


class PersonalState(NamedTuple):
    """State of :func:`personal_average`; every leaf leads with the client axis.

    Attributes:
        weight: a, the weight of the others at each client in the last exchange, ``[n]``.
        counts: relative weights of the clients in the means of others, ``[n]``.
        variance: of each client's value, ``[n]``; a discounted sum where it is estimated.
        total: sum of the discounts in that sum, ``[n]``; 0 where nothing is known yet, -1 before
            the first exchange.
        last: the values exchanged last, ``[n, ...]``, or ``()``.
    """

    weight: Array
    counts: Array
    variance: Array
    total: Array
    last: PyTree


def personal_average(
    weight: float | Any | PlugIn,
    *,
    counts: Any = None,
    variance: Any = None,
    memory: float = 0.9,
) -> Mixer:
    """Every client averages its value with the others' mean: ``x_i' = (1 - a_i) x_i + a_i o_i``.

        o_i = (sum_j c_j x_j - c_i x_i) / (sum_j c_j - c_i)

    With ``a = 0`` clients learn alone; ``a = (n - 1) / n`` with equal counts is the common mean.
    Weights are fixed, or a rule (:func:`jcollab.theory.averaging.oracle` where the bias is known,
    or a plug-in) computes them from the exchanged values, one vector per client:

        a_i = rule(||o_i - x_i||^2, V_i, V_{o_i}),    V_{o_i} = sum_{j != i} c_j^2 V_j / (...)^2

    Args:
        weight: a in [0, 1], for all or ``[n]``, which may be traced (for sweeps); or a rule such
            as :func:`jcollab.theory.averaging.positive_part`.
        counts: c > 0 ``[n]``, numbers of samples; None for equal ones.
        variance: with a rule, V >= 0 of each client's value, for all or ``[n]``, summed over
            coordinates. None estimates it as ``||x_i(t) - x_i(t-1)||^2 / 2``, averaged over
            exchanges. It suits values that are drawn afresh, such as the updates that
            ``decentralized`` shares with ``mixing_weight=0``. Clients learn alone until they have
            exchanged twice.
        memory: in [0, 1), discount of the past in that average.

    Raises:
        TypeError: if ``weight`` is neither a number, an array nor a function.
        ValueError: for a weight outside [0, 1], counts that are not positive, a variance that is
            negative, not finite or given without a rule, a memory outside [0, 1); at ``init``,
            with fewer than 2 clients or lengths other than n.

    Source: Grimberg et al. 2021, arXiv 2110.12946, for a scalar mean.

    Example:
        >>> mixer = personal_average(averaging.positive_part, variance=0.1, counts=[10, 30, 20])
    """
    rule = weight if callable(weight) else None
    if rule is None:
        checks.number("weight", weight, at_least=0, at_most=1, arrays=True)
        if variance is not None:
            raise ValueError(f"variance must be None beside a fixed weight, got {variance}")
    if variance is not None:
        checks.finite(at_least=0, variance=variance, arrays=True)
    if counts is not None:
        checks.finite(above=0, counts=counts, arrays=True)
    checks.number("memory", memory, at_least=0, below=1)
    estimated = rule is not None and variance is None

    def init(x: PyTree) -> PersonalState:
        n, dtype = num_mixed(x), weight_dtype(x)

        def each(name: str, value: Any) -> Array:
            if np.shape(value) not in ((), (n,)):
                raise ValueError(f"{name} must be a number or [n={n}], got shape {np.shape(value)}")
            return jnp.broadcast_to(jnp.asarray(value, dtype), (n,))

        return PersonalState(
            weight=each("weight", 0.0 if rule else weight),
            counts=each("counts", check_client_counts(counts, n)),
            variance=each("variance", 0.0 if variance is None else variance),
            total=each("total", -1.0 if estimated else 1.0),
            last=x if estimated else (),
        )

    def update(x: PyTree, s: PersonalState, context: Round) -> tuple[PyTree, PersonalState]:
        others = averaging.others_mean(x, s.counts)
        if estimated:
            kept = jnp.where(s.total < 0, 0, memory)  # the first values have none before them
            fresh = jnp.where(s.total < 0, 0, 1 - memory)
            s = s._replace(
                variance=kept * s.variance + fresh * _squared_distances(x, s.last) / 2,
                total=kept * s.total + fresh,
                last=x,
            )
        if rule is not None:
            known = s.total > 0
            variances = s.variance / jnp.where(known, s.total, 1)
            chosen = rule(
                _squared_distances(others, x),
                variances,
                averaging.others_variance(variances, s.counts),
            )
            usable = known & jnp.isfinite(chosen)  # not so where others have diverged
            s = s._replace(weight=jnp.where(usable, chosen, 0).astype(s.weight.dtype))

        def blend(own: Array, other: Array) -> Array:
            wide = widen(own)
            a = s.weight.astype(wide.dtype).reshape(-1, *(1,) * (own.ndim - 1))
            # a client of weight 0 keeps its value even where the others have diverged
            mixed = jnp.where(a == 0, wide, (1 - a) * wide + a * other)
            return mixed.astype(own.dtype)

        return jax.tree.map(blend, x, others), s

    return Mixer(init, update, lambda x: np.full(layout.num_clients(x), float(payload(x))))


def collaboration(matrix: Any) -> Mixer:
    """Every client has its own weights for all clients: ``x_i' = sum_j C_ij x_j``.

    Rows of C sum to 1 and may have negative entries: weights of
    :func:`jcollab.theory.averaging.multi_node_weights`, or means within groups. Unlike in
    ``gossip``, columns need not sum to 1, so the clients' mean may change.

    Args:
        matrix: C ``[n, n]``, which may be traced.

    Raises:
        ValueError: if C is not square, not finite, or a row does not sum to 1; at ``init``, if n
            differs.
    """
    checks.finite(matrix=matrix, arrays=True)
    shape = np.shape(matrix)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"matrix must be square, [n, n], got shape {shape}")
    if not checks.traced(matrix):
        sums = np.asarray(matrix, float).sum(1)
        if (wrong := np.abs(sums - 1) > 1e-5).any():
            row = int(wrong.argmax())
            raise ValueError(f"matrix must have rows that sum to 1, got {sums[row]:g} in row {row}")

    def init(x: PyTree) -> Array:
        n = num_mixed(x)
        if n != shape[0]:
            raise ValueError(f"matrix must be [n={n}, n], since params are stacked so, got {shape}")
        return jnp.asarray(matrix, weight_dtype(x))

    def update(x: PyTree, s: Array, context: Round) -> tuple[PyTree, Array]:
        return jax.tree.map(lambda leaf: dense_average(leaf, s), x), s

    def bytes_sent(x: PyTree) -> Array:
        num_receivers = jnp.count_nonzero(jnp.asarray(matrix) * (1 - np.eye(shape[0])), axis=0)
        return num_receivers * float(payload(x))

    return Mixer(init, update, bytes_sent)


def _squared_distances(left: PyTree, right: PyTree) -> Array:
    """``||x_i - y_i||^2`` of every client over its whole pytree, ``[n]``."""
    return jax.vmap(averaging.squared_distance)(
        jax.tree.map(widen, left), jax.tree.map(widen, right)
    )
