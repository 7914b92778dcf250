"""Types that parts pass to each other: states, contexts of a round, and the parts themselves.

Docstrings of the library use one alphabet of shapes:

    n  clients             K  neighbor slots     m  sampled clients     T  rounds
    H  local steps         b  batch               M  ensemble members    C  classes
    V  vocabulary          d  anything
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from jcollab.core.names import Names

PyTree = Any
Array = jax.Array
Metrics = dict[str, Array]


class State(NamedTuple):
    """The state of an algorithm, carried from round to round.

    Attributes:
        clients: pytree in which every leaf leads with the client axis, ``[n, ...]``.
        shared: pytree of server or global quantities, without a client axis.
        step: int32 ``[]``, number of finished rounds.

    Example:
        >>> state = jc.State(clients=jnp.zeros((4, 3)), shared=(), step=jnp.int32(0))
        >>> jax.tree.map(jnp.shape, state)
        State(clients=(4, 3), shared=(), step=())
    """

    clients: PyTree
    shared: PyTree
    step: Array


class Model(NamedTuple):
    """Parameters and state of a model, of ONE client or stacked over clients.

    Attributes:
        params: parameters.
        model_state: state, for example batch statistics; ``()`` if there is none.
    """

    params: PyTree
    model_state: PyTree = ()


class CohortRound(Protocol):
    """The signature of one round of the sampled clients, see :class:`Cohort`."""

    def __call__(
        self,
        clients: PyTree,
        shared: PyTree,
        batch: LocalRows,
        numbers: Array,
        key: Array,
        step: Array,
        n: int,
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Returns the new rows of the clients, the new shared state, and metrics."""


class Cohort(NamedTuple):
    """Functions that compute a round of m sampled clients without touching the others.

    Attributes:
        choose: ``choose(key, n) -> clients``, indices of the sampled clients, int ``[m]``. A result
            of None means all clients, in order.
        round: ``round(clients, shared, batch, numbers, key, step, n) -> (clients, shared,
            metrics)``. ``numbers`` are the indices of the sampled clients, int ``[m]``; ``clients``
            and ``batch`` (:class:`LocalRows`) contain the rows of these clients only. None if a
            round needs the state of all clients; then clients cannot stay in host memory.
        local_steps: H, number of batches that a client uses in a round.
    """

    choose: Callable[[Array, int], Array | None]
    round: CohortRound | None
    local_steps: int


class Init(Protocol):
    """The signature of ``init``."""

    def __call__(self, params: PyTree, model_state: PyTree = ()) -> State:
        """Returns the first state, for params and model_state with leaves ``[n, ...]``."""


class Algorithm(NamedTuple):
    """A pair of pure functions: one builds the first state, one computes a communication round.

    Attributes:
        init: ``init(params, model_state=()) -> State`` for leaves stacked over clients,
            ``[n, ...]``.
        update: ``update(state, batch, key) -> (State, metrics)``, one communication round. Batch
            leaves are ``[n, ...]``, and metrics is a dictionary of arrays.
        cohort: set if a round touches only m sampled clients. ``update`` then also accepts a
            :class:`Batches` object as its batch, and gathers the rows of these clients only.
        names: client names of the topology, None if it has none. The data must have the same.

    Example:
        >>> def init(params, model_state=()):
        ...     return jc.State(params, (), jnp.int32(0))
        >>> def update(state, batch, key):
        ...     new = state.clients - 0.5 * (state.clients - batch)
        ...     return jc.State(new, (), state.step + 1), {"mean": new.mean()}
        >>> algorithm = jc.Algorithm(init, update)
        >>> batches = jc.data.stacked(jnp.ones((2, 4)))  # [T, n]
        >>> _, log = jc.run(algorithm, algorithm.init(jnp.zeros(4)), batches, jax.random.key(0))
        >>> log["mean"].tolist()
        [0.5, 0.75]
    """

    init: Init
    update: Callable[[State, PyTree, Array], tuple[State, Metrics]]
    cohort: Cohort | None = None
    names: Names | None = None


class Round(NamedTuple):
    """The context of a mixer: the round that it is called in.

    Attributes:
        key: random key of this exchange.
        step: int32 ``[]``, number of finished rounds.
        batch: batch of the round, leaves ``[n, ...]``, or None.
    """

    key: Array
    step: Array
    batch: PyTree = None


class Mixer(NamedTuple):
    """Functions that combine the values that clients exchange; leaves of ``x`` are ``[n, ...]``.

    Attributes:
        init: ``init(x) -> s``, the first state. Every leaf of ``s`` leads with the client axis.
        update: ``update(x, s, context) -> (x, s)`` with a :class:`Round` as context.
        bytes_sent: ``bytes_sent(x) -> float [n]``, bytes that each client sends in one round (an
            average if rounds differ), computed from the shapes of ``x``.
        names: client names of the mixer's topology, None if it has none.

    Example:
        >>> def toward_mean(x, s, context):
        ...     return jax.tree.map(lambda leaf: 0.5 * leaf + 0.5 * leaf.mean(0), x), s
        >>> mixer = jc.Mixer(lambda x: (), toward_mean, lambda x: jnp.full(2, 4.0))
        >>> mixer.update(jnp.array([0.0, 4.0]), (), None)[0].tolist()
        [1.0, 3.0]
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Round], tuple[PyTree, PyTree]]
    bytes_sent: Callable[[PyTree], Any]
    names: Names | None = None


class Receiver(NamedTuple):
    """The context of an aggregation rule: one receiver and its senders.

    Attributes:
        key: random key of this receiver and round.
        step: int32 ``[]``, number of finished rounds.
        receiver: index of the receiver, int32 ``[]``; n stands for a server.
        senders: indices of the senders, int32 ``[K]``; the receiver's index in padded slots.
        own_counts: whether ``own`` counts as an input. False on a server, which has no value to
            contribute and only combines messages.
        batch: the receiver's batch of this round.
    """

    key: Any = None
    step: Any = None
    receiver: Any = None
    senders: Any = None
    own_counts: bool = True
    batch: PyTree = None


class Rule(NamedTuple):
    """Functions by which ONE receiver combines messages, see :mod:`jcollab.aggregators`.

    Attributes:
        init: ``init(own) -> s``, the first state of the rule.
        update: ``update(own, messages, weights, s, context) -> (new, s)`` with leaves ``[...]``
            and ``[K, ...]``, weights ``[K]``, and a :class:`Receiver` as context.
        min_inputs: smallest number of inputs that the rule requires, including the receiver's own
            value.
        name: name of the rule in error messages.

    Example:
        >>> def largest(own, messages, weights, s, context):
        ...     return jnp.maximum(own, messages.max(0)), s
        >>> rule = jc.aggregators.Rule(lambda own: (), largest)
        >>> rule.update(jnp.array(1.0), jnp.array([3.0, 2.0]), jnp.ones(2), (), None)[0].tolist()
        3.0
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Array, PyTree, Receiver], tuple[PyTree, PyTree]]
    min_inputs: int = 1
    name: str = "rule"


class Wire(NamedTuple):
    """The context of a channel or an attack: messages in transit.

    An inbox contains the messages to r receivers, which are all n clients or some of them. An
    attack is called for one receiver at a time; there the axis r is missing.

    Attributes:
        key: random key of this exchange (in an attack, of this receiver).
        step: int32 ``[]``, number of finished rounds.
        sent: pytree ``[n, ...]``, the value that each client sends in this round.
        own: pytree ``[r, ...]``, each receiver's own value.
        receiver: int32 ``[r]``, index of the client that receives each row of the inbox; n stands
            for a server.
        senders: int32 ``[r, K]``, index of the sender of each slot; the receiver's index in padded
            slots.
        weights: ``[r, K]``, mixing weight of each slot; 0 in padded slots.
    """

    key: Array
    step: Array
    sent: PyTree
    own: PyTree
    receiver: Array
    senders: Array
    weights: Array


class Channel(NamedTuple):
    """Functions that change messages between sender and receiver, for example lose or delay them.

    A mixer may pass the inboxes of all clients at once or of a few at a time. Results must not
    depend on that: each row is computed separately, with random keys folded by
    ``context.receiver``.

    Attributes:
        init: ``init(inbox) -> s`` for an inbox with leaves ``[r, K, ...]``. Leaves of s lead with
            ``[r, K]`` too.
        update: ``update(inbox, arrived, s, context) -> (inbox, arrived, s)`` with a :class:`Wire`
            as context. ``arrived`` is bool ``[r, K]``, and False in padded slots.

    Example:
        >>> def lose_first(inbox, arrived, s, context):
        ...     return inbox, arrived.at[:, 0].set(False), s
        >>> channel = jc.Channel(lambda inbox: (), lose_first)
        >>> channel.update(jnp.ones((1, 3)), jnp.ones((1, 3), bool), (), None)[1].tolist()
        [[False, True, True]]
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, Array, PyTree, Wire], tuple[PyTree, Array, PyTree]]


class Attack(Protocol):
    """A function that returns what the byzantine neighbors of ONE receiver send to it."""

    def __call__(
        self, own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        """Returns messages that replace the honest ones in slots where ``byzantine`` [K] is True.

        Leaves are ``[K, ...]``, or ``[...]`` if all byzantine neighbors send the same.
        """


class Batches(Protocol):
    """Data, and how rounds draw from it: a pytree of arrays with static sizes."""

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the batch of round ``step`` of a run with this key, leaves ``[n, ...]``."""

    def local(self, key: Array, step: Array) -> LocalBatches:
        """Returns the batches of the same round for an algorithm that samples clients."""


class LocalRows(NamedTuple):
    """Data of a few clients for their local steps.

    Attributes:
        own: leaves ``[m, ...]``, one row for each client.
        common: arrays that all clients use, without a client axis.
        pick: ``pick(own row, common, key, k) -> batch``, the batch of local step k of ONE client.
        repeats: whether all local steps of a round use the same batch.
    """

    own: PyTree
    common: PyTree
    pick: Callable[[PyTree, PyTree, Array, Array], PyTree]
    repeats: bool


class LocalBatches(Protocol):
    """Batches of one round for the local steps of sampled clients."""

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the data of these clients, int ``[m]``; None for all, in order."""

    def gather(self, clients: Any) -> LocalBatches:
        """Returns the data of these clients only, as NumPy arrays, for data in host memory."""


class Clients(NamedTuple):
    """The client part of the state of the library's builders; every leaf is ``[n, ...]``.

    Attributes:
        params: model parameters.
        model_state: state of the model (batch statistics, an EMA teacher), or ``()``.
        opt_state: state of the local optimizer.
        mixer: state of the mixer.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree
