"""Personalized averages, with separate weights for every client."""

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
        variance: variance of each client's value, ``[n]``; a discounted sum if it is estimated.
        total: sum of the discounts in that sum, ``[n]``; 0 before there is an estimate, -1 before
            the first exchange.
        last: values of the last exchange, ``[n, ...]``, or ``()``.
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
    """Builds a mixer that averages with the others' mean: ``x_i' = (1 - a_i) x_i + a_i o_i``.

        o_i = (sum_j c_j x_j - c_i x_i) / (sum_j c_j - c_i)

    With ``a = 0`` clients learn alone; ``a = (n - 1) / n`` with equal counts gives the common mean.
    Weights are fixed, or a rule (:func:`jcollab.theory.averaging.oracle` if the bias is known, or a
    plug-in rule) computes them from the exchanged values, one vector per client:

        a_i = rule(||o_i - x_i||^2, V_i, V_{o_i}),    V_{o_i} = sum_{j != i} c_j^2 V_j / (...)^2

    Args:
        weight: a in [0, 1], for all or ``[n]``, which may be traced (for sweeps); or a rule such
            as :func:`jcollab.theory.averaging.positive_part`.
        counts: c > 0 ``[n]``, numbers of samples; None for equal counts.
        variance: with a rule, the variance V >= 0 of each client's value, summed over coordinates,
            for all or ``[n]``. None estimates it as ``||x_i(t) - x_i(t-1)||^2 / 2``, averaged over
            exchanges; clients learn alone until the second exchange. The estimate suits values
            that are sampled again in each round, such as the updates that ``decentralized`` shares
            with ``mixing_weight=0``.
        memory: discount of the past in that average, in [0, 1).

    Raises:
        TypeError: if ``weight`` is neither a number, an array nor a function.
        ValueError: for a weight outside [0, 1], counts that are not positive, a variance that is
            negative, not finite or given without a rule, a memory outside [0, 1); in ``init``,
            with fewer than 2 clients or lengths other than n.

    Example:
        >>> mixer, x = jc.mixing.personal_average(0.5), jnp.array([0.0, 3.0, 6.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed.tolist()  # the others' means are 4.5, 3 and 1.5
        [2.25, 3.0, 3.75]

    Source: Grimberg et al. 2021, arXiv 2110.12946, for a scalar mean.
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
            # Two draws with variance V differ by 2 V in expected square. The first exchange has no
            # predecessor; total = -1 marks it, and turns to 0 there.
            kept = jnp.where(s.total < 0, 0, memory)
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
            # The rule returns NaN or infinity if the others have diverged: the client learns alone.
            usable = known & jnp.isfinite(chosen)
            s = s._replace(weight=jnp.where(usable, chosen, 0).astype(s.weight.dtype))

        def blend(own: Array, other: Array) -> Array:
            wide = widen(own)
            a = s.weight.astype(wide.dtype).reshape(-1, *(1,) * (own.ndim - 1))
            # 0 * inf is NaN: a client of weight 0 keeps its value even if the others have diverged.
            mixed = jnp.where(a == 0, wide, (1 - a) * wide + a * other)
            return mixed.astype(own.dtype)

        return jax.tree.map(blend, x, others), s

    return Mixer(init, update, lambda x: np.full(layout.num_clients(x), float(payload(x))))


def collaboration(matrix: Any) -> Mixer:
    """Builds a mixer with one weight for every pair of clients: ``x_i' = sum_j C_ij x_j``.

    Rows of C sum to 1 and may have negative entries. Examples are the weights of
    :func:`jcollab.theory.averaging.multi_node_weights` and means within groups. Unlike in
    ``gossip``, columns need not sum to 1, so the clients' mean may change.

    Args:
        matrix: C ``[n, n]``, which may be traced.

    Raises:
        ValueError: if C is not square, not finite, or a row does not sum to 1; in ``init``, if n
            differs.

    Example:
        >>> groups = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
        >>> mixer, x = jc.mixing.collaboration(groups), jnp.array([0.0, 4.0, 9.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed.tolist()
        [2.0, 2.0, 9.0]
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
            raise ValueError(f"matrix must be [n={n}, n] for the n clients of params, got {shape}")
        return jnp.asarray(matrix, weight_dtype(x))

    def update(x: PyTree, s: Array, context: Round) -> tuple[PyTree, Array]:
        return jax.tree.map(lambda leaf: dense_average(leaf, s), x), s

    def bytes_sent(x: PyTree) -> Array:
        # Column j of C contains the weights of client j's value at the other clients.
        num_receivers = jnp.count_nonzero(jnp.asarray(matrix) * (1 - np.eye(shape[0])), axis=0)
        return num_receivers * float(payload(x))

    return Mixer(init, update, bytes_sent)


def _squared_distances(left: PyTree, right: PyTree) -> Array:
    """Computes ``||x_i - y_i||^2`` over the whole pytree of every client, ``[n]``."""
    return jax.vmap(averaging.squared_distance)(
        jax.tree.map(widen, left), jax.tree.map(widen, right)
    )
