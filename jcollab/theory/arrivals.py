"""Simulation of the order in which clients of different speed reach a server.

Every client computes, sends its result, fetches the newest model and starts again. Delays are not
an input: a client's delay is the number of steps that the server takes while the client computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import program

PyTree = Any
Array = jax.Array
Draw = Callable[[Array], Array]
Chance = Any  # a number, possibly traced


class Arrivals(NamedTuple):
    """A schedule of T arrivals.

    Attributes:
        client: int32 ``[T]``, the index of the client that arrives.
        time: ``[T]``, the time of the arrival, in the unit of the compute times.

    Example:
        >>> schedule = jc.theory.arrivals.Arrivals(client=[0, 1, 0], time=[1.0, 1.5, 2.0])
        >>> schedule.client[1], schedule.time[1]
        (1, 1.5)
    """

    client: Any
    time: Any


def fixed() -> Draw:
    """Builds the factor 1: every job takes the client's mean time.

    Returns:
        ``draw(key) -> []``.

    Example:
        >>> float(jc.theory.arrivals.fixed()(jax.random.key(0)))
        1.0
    """
    return lambda key: jnp.ones(())


def exponential() -> Draw:
    """Builds an exponential factor, which is memoryless, with mean 1.

    Returns:
        ``draw(key) -> []``.

    Example:
        >>> draw = jc.theory.arrivals.exponential()
        >>> keys = jax.random.split(jax.random.key(0), 20000)
        >>> round(float(jax.vmap(draw)(keys).mean()), 1)
        1.0
    """
    return lambda key: jax.random.exponential(key, dtype=jnp.float32)


def gamma(shape: Chance) -> Draw:
    """Builds a gamma factor with mean 1 and variance ``1 / shape``.

    Args:
        shape: of the distribution, > 0.

    Returns:
        ``draw(key) -> []``.

    Raises:
        ValueError: if shape is not positive.

    Example:
        >>> draw = jc.theory.arrivals.gamma(2.0)
        >>> keys = jax.random.split(jax.random.key(0), 20000)
        >>> round(float(jax.vmap(draw)(keys).var()), 1)
        0.5
    """
    checks.finite(above=0, shape=shape)
    return lambda key: jax.random.gamma(key, shape, dtype=jnp.float32) / shape


def lognormal(sigma: Chance) -> Draw:
    """Builds the lognormal factor ``exp(sigma z - sigma^2 / 2)``, z ~ N(0, 1), with mean 1.

    Args:
        sigma: standard deviation of the logarithm, >= 0.

    Returns:
        ``draw(key) -> []``.

    Raises:
        ValueError: if sigma < 0.

    Example:
        >>> draw = jc.theory.arrivals.lognormal(0.5)
        >>> keys = jax.random.split(jax.random.key(0), 20000)
        >>> round(float(jax.vmap(draw)(keys).mean()), 1)
        1.0
    """
    checks.finite(at_least=0, sigma=sigma)
    return lambda key: jnp.exp(sigma * jax.random.normal(key, dtype=jnp.float32) - sigma**2 / 2)


def straggling(probability: Chance, factor: Chance, draw: Draw | None = None) -> Draw:
    """Builds the factor of jobs that are delayed at random.

    With the given probability, a job takes ``factor`` times as long as ``draw`` returns.

    Args:
        probability: of a delay, in [0, 1].
        factor: > 0.
        draw: the job's usual factor; None for :func:`fixed`.

    Returns:
        ``draw(key) -> []``; its mean is not 1.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> draw = jc.theory.arrivals.straggling(probability=0.25, factor=5.0)
        >>> keys = jax.random.split(jax.random.key(0), 20000)
        >>> round(float(jax.vmap(draw)(keys).mean()), 1)  # 0.75 + 0.25 * 5
        2.0
    """
    checks.number("probability", probability, at_least=0, at_most=1)
    checks.finite(above=0, factor=factor)
    usual = draw or fixed()

    def drawn(key: Array) -> Array:
        late, own = jax.random.split(key)
        return usual(own) * jnp.where(
            jax.random.bernoulli(late, jnp.float32(probability)), factor, 1.0
        )

    return drawn


def compute_times(key: Array, n: int, draw: Draw, mean: float = 1.0) -> Array:
    """Draws the mean compute times of n clients, ``mean * draw(fold_in(key, client))``.

    Args:
        key: random key.
        n: number of clients, at least 1.
        draw: a factor such as :func:`lognormal`.
        mean: of all compute times, > 0.

    Returns:
        ``[n]``.

    Raises:
        ValueError: if n < 1 or mean is not positive.

    Example:
        >>> arrivals = jc.theory.arrivals
        >>> arrivals.compute_times(jax.random.key(0), 3, arrivals.fixed(), mean=2.0).tolist()
        [2.0, 2.0, 2.0]
    """
    checks.count("n", n)
    checks.finite(above=0, mean=mean)
    checks.key("key", key)
    return mean * jax.vmap(draw)(layout.client_keys(key, n))


def round_robin(num_arrivals: int, n: int | Array) -> Arrivals:
    """Builds the schedule of equally fast clients, which arrive in turn.

    Client ``t mod n`` arrives at time t, so that every delay is n - 1. The first n gradients are
    computed at the initial model, which corresponds to ``x(s) = x(0)`` for s < 0.

    Args:
        num_arrivals: T >= 1.
        n: number of clients, at least 1; possibly traced.

    Raises:
        ValueError: if an argument is below 1.

    Example:
        >>> jc.theory.arrivals.round_robin(5, n=3).client.tolist()
        [0, 1, 2, 0, 1]
    """
    checks.count("num_arrivals", num_arrivals)
    checks.count("n", n)
    turns = jnp.arange(num_arrivals, dtype=jnp.int32)
    return Arrivals(turns % jnp.asarray(n, jnp.int32), turns.astype(jnp.result_type(float)))


def simulate(
    key: Array,
    num_arrivals: int,
    compute_time: Any,
    *,
    link_time: Any = 0.0,
    draw: Draw | None = None,
    joins: Any = 0.0,
    leaves: Any = np.inf,
) -> Arrivals:
    """Simulates clients that repeatedly compute and send.

    Client i starts at ``joins_i``. Its job k takes ``compute_time_i draw(key_ik) + link_time_i``,
    and the next job begins when it ends. A job that would end after ``leaves_i`` never arrives. If
    two clients arrive at the same time, the client with the smaller index is first.

    Args:
        key: random key; job k of client i draws from ``fold_in(fold_in(key, i), k)``.
        num_arrivals: T >= 1.
        compute_time: mean time of a job, > 0, ``[n]``.
        link_time: time of both transfers of a job, >= 0, ``[n]`` or one for all.
        draw: a positive random factor of mean 1, such as :func:`exponential`; None for
            :func:`fixed`.
        joins: time at which each client joins, >= 0, ``[n]`` or one for all.
        leaves: time at which each client leaves, after ``joins``, ``[n]`` or one for all.

    Returns:
        The arrivals. If arguments are traced, they are not checked, and ``client`` is -1 after the
        last client has left.

    Raises:
        TypeError: if ``draw`` is not callable.
        ValueError: if an argument is out of range, shapes differ, or all clients leave before
            ``num_arrivals`` arrivals.

    Example:
        >>> schedule = jc.theory.arrivals.simulate(jax.random.key(0), 4, [1.0, 2.5])
        >>> schedule.client.tolist(), schedule.time.tolist()
        ([0, 0, 1, 0], [1.0, 2.0, 2.5, 3.0])
    """
    checks.count("num_arrivals", num_arrivals)
    checks.key("key", key)
    if draw is not None:
        checks.functions(draw=draw)
    compute_time, link_time, joins, leaves = map(as_array, (compute_time, link_time, joins, leaves))
    if jnp.ndim(compute_time) != 1 or jnp.size(compute_time) < 1:
        raise ValueError(f"compute_time must have shape [n], got {jnp.shape(compute_time)}")
    (n,) = jnp.shape(compute_time)
    given = {"link_time": link_time, "joins": joins, "leaves": leaves}
    for name, value in given.items():
        if jnp.shape(value) not in ((), (n,)):
            raise ValueError(f"{name} must be a number or [n={n}], got {jnp.shape(value)}")
    checks.finite(above=0, compute_time=compute_time, arrays=True)
    checks.finite(at_least=0, link_time=link_time, joins=joins, arrays=True)
    if not checks.traced(joins, leaves) and not np.all(np.less(joins, leaves)):
        raise ValueError(f"leaves must be after joins={joins}, got {leaves}")

    kind = jnp.result_type(float)
    link, begin, end = (jnp.broadcast_to(jnp.asarray(v, kind), (n,)) for v in given.values())
    compute = jnp.asarray(compute_time, kind)
    # compiled once per draw function and number of arrivals
    compiled = program(draw or _SAME, ("simulate", num_arrivals), _compiled(num_arrivals))
    client, time = compiled(key, compute, link, begin, end)
    if not checks.traced(client) and (left := int((client >= 0).sum())) < num_arrivals:
        raise ValueError(
            f"num_arrivals must be at most {left}, since all clients have left by then, "
            f"got {num_arrivals}"
        )
    return Arrivals(client, time)


_SAME = fixed()  # one object for all calls, since programs are cached by the function's identity


def _compiled(num_arrivals: int) -> Callable:
    def build(get: Callable[[], Draw]) -> Callable:
        return jax.jit(lambda *given: _simulate(num_arrivals, get(), *given))

    return build


def _simulate(
    num_arrivals: int,
    draw: Draw,
    key: Array,
    compute: Array,
    link: Array,
    joins: Array,
    leaves: Array,
) -> tuple[Array, Array]:
    n = compute.shape[0]

    def ends(i: Array, job: Array, start: Array) -> Array:
        # the key depends on client and job alone: the time of a job is the same in any schedule
        factor = draw(jax.random.fold_in(jax.random.fold_in(key, i), job))
        end = start + compute[i] * factor + link[i]
        # infinite for clients that left, so that argmin does not select them again
        return jnp.where(end <= leaves[i], end, jnp.inf)

    def arrive(carry: tuple, _: None) -> tuple:
        finish, jobs = carry
        i = jnp.argmin(finish)
        now = finish[i]
        jobs = jobs.at[i].add(1)
        finish = finish.at[i].set(ends(i, jobs[i], now))
        return (finish, jobs), (jnp.where(jnp.isfinite(now), i, -1).astype(jnp.int32), now)

    everyone, none = jnp.arange(n), jnp.zeros(n, jnp.int32)
    start = jax.vmap(ends)(everyone, none, joins)
    return jax.lax.scan(arrive, (start, none), None, length=num_arrivals)[1]


def delays_of(client: Any, n: int) -> np.ndarray:
    """Computes the delay of each arrival: the server's steps since the client fetched its model.

    The server takes one step at each arrival.

    Args:
        client: int ``[T]``, the indices of the arriving clients.
        n: number of clients; all fetch the model at the start.

    Returns:
        int ``[T]``.

    Raises:
        TypeError: if indices are not integers.
        ValueError: if there are no arrivals, or an index is outside 0..n-1.

    Example:
        >>> jc.theory.arrivals.delays_of([0, 0, 1, 0], n=2).tolist()
        [0, 0, 2, 1]
    """
    check(client, n)
    fetched, delays = np.zeros(n, int), []
    for t, i in enumerate(np.asarray(client)):
        delays.append(t - fetched[i])
        fetched[i] = t + 1
    return np.array(delays)


def check(client: Any, n: int, name: str = "client", lowest: int = 0) -> None:
    """Raises ValueError or TypeError if a schedule is empty or contains invalid client indices."""
    client = as_array(client)
    if jnp.ndim(client) != 1 or jnp.size(client) < 1:
        raise ValueError(f"{name} must have shape [T] with T at least 1, got {jnp.shape(client)}")
    if not jnp.issubdtype(client.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, got {client.dtype}")
    if checks.traced(client):
        return
    values = np.asarray(client)
    if values.min() < lowest or values.max() >= n:
        raise ValueError(
            f"{name} must have clients in {lowest}..{n - 1}, got {values.min()}..{values.max()}"
        )


def as_array(values: Any) -> Any:
    """Converts lists and numbers to NumPy arrays; jax arrays are returned unchanged."""
    return values if isinstance(values, Array) else np.asarray(values)
