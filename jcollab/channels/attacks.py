"""Attacks: what byzantine neighbors send to ONE receiver.

An attack is a function ``attack(own, messages, weights, byzantine, context) -> messages``:

    own        value that the receiver shares in this round, leaves ``[...]``
    messages   honest messages of its neighbors, leaves ``[K, ...]``
    weights    mixing weights ``[K]``, 0 where no message arrives
    byzantine  bool ``[K]``, the slots of byzantine neighbors
    context    a :class:`jcollab.core.Wire` of one receiver: random key, round, the values ``sent``
               by all clients ``[n, ...]``, the numbers of the receiver and the senders

The result has leaves ``[K, ...]``, of which only byzantine slots are used, or ``[...]`` where all
byzantine neighbors send the same message. So attackers know all messages of the round, cooperate,
and can send another message to each neighbor.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.aggregators.common import squared_distances, weighted_sum
from jcollab.core import Array, Attack, Batches, LocalRows, PyTree, Wire
from jcollab.topology import byzantine_mask


def dissensus(epsilon: Any = 1.5, *, uniform: bool = False) -> Attack:
    """Pushes the receiver away from its honest neighbors, which divides the graph.

        x_i - epsilon ( sum_{j honest} w_ij (x_j - x_i) ) / ( sum_{j byzantine} w_ij )

    Plain gossip then moves the receiver by (1 - epsilon) times its move without the attack:
    epsilon = 1 freezes it, a larger one reverses it.

    Args:
        epsilon: factor, may be traced.
        uniform: whether to compute with equal weights, for rules that ignore weights.

    Raises:
        ValueError: if epsilon is no finite number.

    Source: He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """
    checks.finite(epsilon=epsilon)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        weights = (weights > 0).astype(weights.dtype) if uniform else weights
        good, bad = jnp.where(byzantine, 0, weights), jnp.where(byzantine, weights, 0).sum()
        push = jnp.where(bad > 0, epsilon / jnp.where(bad > 0, bad, 1), 0)

        def message(x: Array, messages: Array) -> Array:
            return x - push.astype(x.dtype) * weighted_sum(good, messages, x)

        return jax.tree.map(message, own, messages)

    return attack


def alie(z: Any = None, *, n: int | None = None, byzantine: int | None = None) -> Attack:
    """A little is enough (ALIE): a message within the spread of the honest ones, ``mean - z std``.

    Mean and (unbiased) standard deviation are those of the values of the receiver and its honest
    neighbors, coordinate by coordinate.

    Args:
        z: number of standard deviations, may be traced; None for :func:`alie_z` of n and byzantine.
        n: number of clients.
        byzantine: number of byzantine clients.

    Raises:
        ValueError: unless z or both numbers are given, and not all of them.

    Source: Baruch et al. 2019, arXiv 1902.06156.
    """
    if z is None and n is not None and byzantine is not None:
        z = alie_z(n, byzantine)
    elif z is None or n is not None or byzantine is not None:
        raise ValueError(
            f"z, or both n and byzantine, must be given, got z={z}, n={n}, byzantine={byzantine}"
        )
    checks.finite(z=z)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)

        def message(x: Array, messages: Array) -> Array:
            mean = _honest_mean(x, messages, good)
            squares = jnp.square(x - mean) + weighted_sum(good, jnp.square(messages - mean[None]))
            spread = squares / jnp.maximum(good.sum(), 1).astype(x.dtype)
            return mean - z * jnp.sqrt(spread)

        return jax.tree.map(message, own, messages)

    return attack


def alie_z(n: int, byzantine: int) -> float:
    """The largest z at which ALIE has a majority: ``Phi^-1((n - m - s) / (n - m))``.

    with ``s = floor(n/2 + 1) - m``.

    Args:
        n: number of clients.
        byzantine: m, number of byzantine clients, 0 <= m < n/2.

    Raises:
        ValueError: if m is out of range.

    Example:
        >>> round(jc.channels.attacks.alie_z(20, 4), 4)
        0.1573
    """
    from scipy.special import ndtri  # slow to import

    checks.count("n", n)
    checks.count("byzantine", byzantine, 0, (n - 1) // 2)
    supporters = math.floor(n / 2 + 1) - byzantine
    return float(ndtri((n - byzantine - supporters) / (n - byzantine)))


def inner_product_manipulation(epsilon: Any = 0.1) -> Attack:
    """``-epsilon`` times the mean of the values of the receiver and its honest neighbors (IPM).

    Raises:
        ValueError: if epsilon is no finite number.

    Source: Xie et al. 2019, arXiv 1903.03936.
    """
    checks.finite(epsilon=epsilon)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)
        return jax.tree.map(lambda x, m: -epsilon * _honest_mean(x, m, good), own, messages)

    return attack


def bit_flip() -> Attack:
    """Every attacker sends its honest value with the opposite sign: ``-x_k``."""
    return lambda own, messages, weights, byzantine, context: jax.tree.map(jnp.negative, messages)


def gaussian(scale: Any) -> Attack:
    """Every attacker adds noise to its honest value: ``x_k + N(0, scale^2)``.

    Args:
        scale: standard deviation, >= 0; may be traced.

    Raises:
        ValueError: if the scale is negative or no number.
    """
    checks.finite(at_least=0, scale=scale)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        leaves, structure = jax.tree.flatten(messages)
        keys = jax.random.split(context.key, len(leaves))
        noisy = [
            leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype)
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, noisy)

    return attack


def mimic(client: int | None = None) -> Attack:
    """All attackers repeat the value of one honest client, which gets too much weight.

    Each message is an honest one; with heterogeneous data the attack does harm all the same.

    Args:
        client: number of the client to repeat; None for the honest neighbor that is farthest from
            the mean of the values of the receiver and its honest neighbors.

    Raises:
        ValueError: if ``client`` is negative; when it is used, if it is none of 0..n-1.

    Source: Karimireddy, He and Jaggi 2020, arXiv 2006.09365.
    """

    if client is not None:
        checks.count("client", client, 0)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        if client is not None:
            checks.count("client", client, 0, layout.num_clients(context.sent) - 1)
            return jax.tree.map(lambda leaf, x: leaf[client].astype(x.dtype), context.sent, own)
        good = ~byzantine & (weights > 0)

        mean = jax.tree.map(lambda x, m: _honest_mean(x, m, good), own, messages)
        far = squared_distances(mean, messages)
        chosen = jnp.argmax(jnp.where(good, far, -1))
        return jax.tree.map(lambda leaf: leaf[chosen], messages)

    return attack


def choose(attacks: tuple[Attack, ...] | list[Attack], index: Any) -> Attack:
    """One of several attacks by a number that may be traced, for sweeps in one program.

    Args:
        attacks: the attacks.
        index: number of the attack, in 0..len(attacks)-1; may be traced.

    Raises:
        TypeError: if one of them is no function.
        ValueError: without an attack, or if ``index`` is out of range.
    """
    if not attacks:
        raise ValueError("attacks must be at least one, got none")
    checks.functions(**{f"attacks[{i}]": one for i, one in enumerate(attacks)})
    checks.count("index", index, 0, len(attacks) - 1)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        slots = len(weights)

        def run(one: Attack) -> Callable[[], PyTree]:
            def branch() -> PyTree:
                return fill_slots(one(own, messages, weights, byzantine, context), own, slots)

            return branch

        return jax.lax.switch(index, [run(one) for one in attacks])

    return attack


def only(attack: Attack, *fields: str) -> Attack:
    """Attacks some fields of messages that are NamedTuples; the other fields stay honest.

    Args:
        attack: any attack, which gets these fields alone, as a dictionary.
        *fields: their names, for example ``"values"`` of
            :class:`jcollab.objectives.prototypes.Prototypes`.

    Raises:
        TypeError: if ``attack`` is no function.
        ValueError: without a field; when it is used, if messages have no such field.
    """
    checks.functions(attack=attack)
    if not fields:
        raise ValueError("fields must be at least one name, got none")

    def part(tree: Any) -> dict[str, PyTree]:
        if missing := set(fields) - set(getattr(tree, "_fields", ())):
            known = getattr(tree, "_fields", "which have none")
            raise ValueError(
                f"fields must be among those of the messages, {known}, got {sorted(missing)}"
            )
        return {name: getattr(tree, name) for name in fields}

    def partial_attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        seen = context._replace(sent=part(context.sent), own=part(context.own))
        wrong = attack(part(own), part(messages), weights, byzantine, seen)
        return messages._replace(**fill_slots(wrong, part(own), len(weights)))

    return partial_attack


def fill_slots(messages: PyTree, own: PyTree, slots: int) -> PyTree:
    """Messages with leaves ``[K, ...]`` in the types of ``own``.

    Raises:
        ValueError: if they are neither such nor ``[...]``.
    """

    def each(message: Array, x: Array) -> Array:
        shape = (slots, *x.shape)
        if jnp.shape(message) not in (shape, x.shape):
            raise ValueError(
                f"attack must return messages {list(shape)} or {list(x.shape)}, got "
                f"{list(jnp.shape(message))}"
            )
        return jnp.broadcast_to(message, shape).astype(x.dtype)

    return jax.tree.map(each, messages, own)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["batches", "byzantine"],
    meta_fields=["num_classes"],
)
@dataclasses.dataclass(frozen=True)
class FlippedLabels:
    """Batches with wrong labels at some clients, see :func:`flip_labels`."""

    batches: Any
    byzantine: Array | np.ndarray
    num_classes: int

    @property
    def length(self) -> int | None:
        """T, the number of rounds; None where there is no end."""
        return getattr(self.batches, "length", None)

    def draw(self, key: Array, step: Array) -> PyTree:
        """The batch of the round, leaves ``[n, ...]``."""
        batch = self.batches.draw(key, step)
        n, mask = layout.num_clients(batch, "batches"), jnp.asarray(self.byzantine)
        if len(mask) != n:
            raise ValueError(f"byzantine must be a mask of the n={n} clients, got [{len(mask)}]")
        return self._flip(batch, mask)

    def local(self, key: Array, step: Array) -> FlippedLabels:
        """The same round for sampled clients."""
        return dataclasses.replace(self, batches=self.batches.local(key, step))

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """What these clients need, with the mask of those that are byzantine."""
        rows = self.batches.rows(clients, num_steps)
        mask = self.byzantine if clients is None else self.byzantine[clients]

        def pick(own: tuple[PyTree, Array], common: PyTree, key: Array, k: Array) -> PyTree:
            return self._flip(rows.pick(own[0], common, key, k), own[1])

        return rows._replace(own=(rows.own, mask), pick=pick)

    def gather(self, clients: Any) -> FlippedLabels:
        """The data of these clients alone."""
        return dataclasses.replace(
            self, batches=self.batches.gather(clients), byzantine=self.byzantine[clients]
        )

    def _flip(self, batch: Any, mask: Array) -> Any:
        checks.labels("y", batch.y, batch.y.shape, self.num_classes)
        mask = mask.reshape(*mask.shape, *(1,) * (batch.y.ndim - mask.ndim))
        return batch._replace(y=jnp.where(mask, self.num_classes - 1 - batch.y, batch.y))


def flip_labels(batches: Batches, byzantine: Any, num_classes: int) -> FlippedLabels:
    """Lets byzantine clients train on wrong labels, ``y -> C - 1 - y``: an attack on the data.

    Args:
        batches: from :mod:`jcollab.data`, whose batches have a field ``y`` of integers.
        byzantine: bool ``[n]``.
        num_classes: C >= 1.

    Returns:
        Batches that take the place of ``batches``.

    Raises:
        TypeError: if ``byzantine`` is no mask; when it is used, if labels are no integers.
        ValueError: if ``byzantine`` leaves no client honest, or num_classes < 1; when it is used,
            if the mask has another length than n.

    Example:
        >>> data = jc.data.by_client(jc.data.Dataset(np.zeros(2), np.array([0, 1])), [[0], [1]])
        >>> batches = jc.data.minibatches(data, 3)
        >>> flip_labels(batches, [False, True], 10).draw(jax.random.key(0), 0).y.tolist()
        [[0, 0, 0], [8, 8, 8]]
    """
    checks.count("num_classes", num_classes)
    checks.mask("byzantine", byzantine, ("n",))
    return FlippedLabels(batches, byzantine_mask(byzantine, len(byzantine)), num_classes)


def _honest_mean(x: Array, messages: Array, good: Array) -> Array:
    return (x + weighted_sum(good, messages)) / (1 + good.sum()).astype(x.dtype)
