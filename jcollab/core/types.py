"""What parts pass to each other: states, contexts of a round, and the forms of parts.

Shape alphabet, used in every docstring of the library:

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
    """Everything that an algorithm carries from round to round.

    Attributes:
        clients: pytree whose every leaf leads with the client axis, ``[n, ...]``.
        shared: pytree of server or global quantities, without a client axis.
        step: int32 ``[]``, number of finished rounds.
    """

    clients: PyTree
    shared: PyTree
    step: Array


class Model(NamedTuple):
    """A model and what it carries along, of ONE client or stacked.

    Attributes:
        params: its parameters.
        model_state: what it carries along (batch statistics), ``()`` for nothing.
    """

    params: PyTree
    model_state: PyTree = ()


class CohortRound(Protocol):
    """One round of the sampled clients, see :class:`Cohort`."""

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
        """Their new rows, the new shared part of the state, and metrics."""


class Cohort(NamedTuple):
    """How a round of sampled clients is computed without touching the others.

    Attributes:
        choose: ``choose(key, n) -> clients``, int ``[m]``; None where all take part, in order.
        round: ``round(clients, shared, batch, numbers, key, step, n) -> (clients, shared,
            metrics)``; ``numbers`` are those of the sampled clients, int ``[m]``, and ``clients``
            and ``batch`` their rows (:class:`LocalRows`) alone. None where a round needs the state
            of all clients after all, so that it cannot stay in host memory.
        local_steps: H, batches that a client takes in a round.
    """

    choose: Callable[[Array, int], Array | None]
    round: CohortRound | None
    local_steps: int


class Init(Protocol):
    """How a run begins."""

    def __call__(self, params: PyTree, model_state: PyTree = ()) -> State:
        """The first state, for params and model_state with leaves ``[n, ...]``."""


class Algorithm(NamedTuple):
    """Pure functions: how a run begins, and one communication round.

    Attributes:
        init: ``init(params, model_state=()) -> State`` with leaves stacked over clients,
            ``[n, ...]``.
        update: ``update(state, batch, key) -> (State, metrics)``, one communication round; batch
            leaves are ``[n, ...]`` and metrics is a dictionary of arrays.
        cohort: for algorithms whose rounds touch only m sampled clients; ``update`` then also
            takes a :class:`Batches` object as its batch, from which it gathers their rows alone.
        names: of the clients, where a topology has them; those of the data must be the same.
    """

    init: Init
    update: Callable[[State, PyTree, Array], tuple[State, Metrics]]
    cohort: Cohort | None = None
    names: Names | None = None


class Round(NamedTuple):
    """What a mixer may use of a round.

    Attributes:
        key: random key of this exchange.
        step: int32 ``[]``, number of finished rounds.
        batch: batch of the round, leaves ``[n, ...]``; None where there is none.
    """

    key: Array
    step: Array
    batch: PyTree = None


class Mixer(NamedTuple):
    """How clients combine what they exchange; leaves of ``x`` are ``[n, ...]``.

    Attributes:
        init: ``init(x) -> s``; every leaf of ``s`` leads with the client axis.
        update: ``update(x, s, context) -> (x, s)`` with the :class:`Round` as its context.
        bytes_sent: ``bytes_sent(x) -> float [n]``, bytes that each client sends in one round (an
            average where rounds differ), from the shapes of ``x`` alone.
        names: of the clients, where the mixer's topology has them.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Round], tuple[PyTree, PyTree]]
    bytes_sent: Callable[[PyTree], Any]
    names: Names | None = None


class Receiver(NamedTuple):
    """What an aggregation rule may use of a round: its receiver and the senders.

    Attributes:
        key: random key of this receiver and round.
        step: int32 ``[]``, number of finished rounds.
        receiver: number of the receiver, int32 ``[]`` (n is a server).
        senders: numbers of the senders, int32 ``[K]`` (the receiver itself where padded).
        own_counts: False where ``own`` is no input of its own, as on a server that only combines
            messages.
        batch: the receiver's batch of this round.
    """

    key: Any = None
    step: Any = None
    receiver: Any = None
    senders: Any = None
    own_counts: bool = True
    batch: PyTree = None


class Rule(NamedTuple):
    """How ONE receiver combines messages with its own value, see :mod:`jcollab.aggregators`.

    Attributes:
        init: ``init(own) -> s``, the first state of the rule.
        update: ``update(own, messages, weights, s, context) -> (new, s)`` with leaves ``[...]``
            and ``[K, ...]``, weights ``[K]``, and the :class:`Receiver` as its context.
        min_inputs: the smallest number of inputs that the rule works with, the own value included.
        name: of the rule, for error messages.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Array, PyTree, Receiver], tuple[PyTree, PyTree]]
    min_inputs: int = 1
    name: str = "rule"


class Wire(NamedTuple):
    """What a channel or an attack may use while messages are in transit.

    An inbox has the messages of r receivers, of all n clients or of some of them. In an attack,
    which is called for one receiver, the axis r is missing.

    Attributes:
        key: random key of this exchange (in an attack, of this receiver).
        step: int32 ``[]``, number of finished rounds.
        sent: pytree ``[n, ...]``, the value that each client shares in this round.
        own: pytree ``[r, ...]``, the value of each receiver itself.
        receiver: int32 ``[r]``, the client that each row of the inbox belongs to (n is a server).
        senders: int32 ``[r, K]``, sender of each slot (the receiver itself where padded).
        weights: ``[r, K]``, mixing weight of each slot (0 where padded).
    """

    key: Array
    step: Array
    sent: PyTree
    own: PyTree
    receiver: Array
    senders: Array
    weights: Array


class Channel(NamedTuple):
    """What happens to messages between sender and receiver.

    A mixer may pass the inboxes of all clients at once or of a few at a time, so every row is
    treated on its own, and random numbers are drawn by the client that the row belongs to.

    Attributes:
        init: ``init(inbox) -> s`` for an inbox with leaves ``[r, K, ...]``; leaves of s lead with
            ``[r, K]`` as well.
        update: ``update(inbox, arrived, s, context) -> (inbox, arrived, s)`` with the
            :class:`Wire` as its context; ``arrived`` is bool ``[r, K]`` and False in padded slots.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, Array, PyTree, Wire], tuple[PyTree, Array, PyTree]]


class Attack(Protocol):
    """What byzantine neighbors of ONE receiver send: ``[K, ...]``, or ``[...]`` for all alike."""

    def __call__(
        self, own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        """Messages in place of the honest ones; ``byzantine`` is bool ``[K]``."""


class Batches(Protocol):
    """Data, and how rounds draw from it: a pytree whose numbers are static."""

    def draw(self, key: Array, step: Array) -> PyTree:
        """The batch of round ``step`` of a run with this key, leaves ``[n, ...]``."""

    def local(self, key: Array, step: Array) -> LocalBatches:
        """The same round for an algorithm that touches only sampled clients."""


class LocalRows(NamedTuple):
    """What a few clients need for their local steps.

    Attributes:
        own: leaves ``[m, ...]``, one row for each client.
        common: what all of them use, without a client axis.
        pick: ``pick(own row, common, key, k) -> batch`` of local step k of ONE client.
        repeats: whether all local steps of a round use the same batch.
    """

    own: PyTree
    common: PyTree
    pick: Callable[[PyTree, PyTree, Array, Array], PyTree]
    repeats: bool


class LocalBatches(Protocol):
    """Batches of one round for the local steps of sampled clients."""

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """What these clients need, int ``[m]``; None for all of them, in order."""

    def gather(self, clients: Any) -> LocalBatches:
        """The data of these clients alone, in NumPy, for data in host memory."""


class Clients(NamedTuple):
    """The client part of the state of the library's builders; every leaf is ``[n, ...]``.

    Attributes:
        params: model parameters.
        model_state: what the loss carries along (batch statistics, an EMA teacher, ``()``).
        opt_state: state of the local optimizer.
        mixer: state of the mixer.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree
