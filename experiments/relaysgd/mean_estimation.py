"""Clients estimate a common mean from a stream of samples, by RelaySum and by gossip.

RelaySGD, arXiv 2110.04175, Figure 9.

    python -m experiments relaysgd fig9

Mean estimation from a stream, RelaySum against gossip, 8 to 128 clients.
Cost: half a minute on 2 cores.
Expected: RelaySum reaches 1/(nT), gossip does not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, at_most
from experiments.fields import Count, Settings
from jcollab import plots

TARGET = 1.0
# an algorithm with one sample per client and round, its first parameters, and the estimate
Method = tuple[jc.Algorithm, Any, Callable[[Any], Any]]


class Config(Settings):
    """Numbers of clients and samples."""

    ns: tuple[Count, ...] = (8, 16, 32, 64, 128)  # numbers of clients
    rounds: Count = 400  # samples of each client, T
    num_seeds: Count = 40
    seed: int = 0  # of all samples


PRESETS = {"fig9": Config()}
X64 = True
SMOKE = {"fig9": {"ns": (3, 4), "rounds": 20, "num_seeds": 2}}


def _relay(n: int) -> Method:
    """Relays running sums of the samples and their number: ``x = sum / number``."""

    def loss(params: Any, sample: Any, key: Any) -> Any:
        return -(sample * params["sum"] + params["number"])

    mixer = jc.relay_sum(jc.topology.chain(n), fill="zero")
    start = {"sum": jnp.zeros(n), "number": jnp.zeros(n)}
    algorithm = jc.decentralized(loss, optax.sgd(n), mixer, mixing_weight=0.0)
    return algorithm, start, lambda params: params["sum"] / params["number"]


def _gossip(n: int) -> Method:
    """Mixes the running mean after each sample: ``x = W (x + (s - x) / (t + 1))``."""

    def loss(params: Any, sample: Any, key: Any) -> Any:
        return (params - sample) ** 2 / 2

    sgd = optax.sgd(lambda step: 1 / (step + 1))
    algorithm = jc.decentralized(loss, sgd, jc.gossip(jc.topology.ring(n)))
    return algorithm, jnp.zeros(n), lambda params: params


METHODS = {"RelaySum": _relay, "gossip": _gossip}


def run(config: Config, context: Context) -> Rows:
    """Runs all seeds of one n in one program."""
    keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    for n, name in context.cases(config.ns, METHODS, description="mean estimation"):
        errors = np.asarray(_errors(METHODS[name](n), n, config.rounds, keys)).mean(0)
        context.kept[name, n] = errors
        ideal = 1 / (n * config.rounds)
        row = {"algorithm": name, "n": n, "error": errors[-1]}
        row |= {"ideal": ideal, "ratio": errors[-1] / ideal}
        yield row
        context.log(row | {"errors": errors[::5]})


def _errors(method: Method, n: int, rounds: int, keys: jax.Array) -> jax.Array:
    """Computes the mean over clients of ``(x - 1)^2`` after each round, ``[S, T]``."""
    algorithm, start, estimate = method

    def sample(data: Any, key: Any, step: Any) -> Any:
        return TARGET + jax.random.normal(key, (n,))

    stream = jc.data.from_function(sample)

    def error(state: jc.State) -> Any:
        return {"error": jnp.mean((estimate(jc.params_of(state)) - TARGET) ** 2)}

    def one(key: Any) -> Any:
        measured = jc.with_metrics(algorithm, error)
        _, log = jc.run(measured, measured.init(start), stream, key, num_rounds=rounds)
        return log["error"]

    return jax.jit(jax.vmap(one))(keys)


def claims(config: Config, rows: list[Row]) -> Claims:
    """RelaySum is close to 1/(nT), the variance of the mean of all samples; gossip is not."""
    most = max(config.ns)
    relay = max(row["ratio"] for row in rows if row["algorithm"] == "RelaySum")
    (gossip,) = (r["ratio"] for r in rows if r["algorithm"] == "gossip" and r["n"] == most)
    yield at_most("RelaySum's error over 1/(nT), worst n", relay, 1.5)
    yield at_least(f"gossip's error over 1/(nT) at n = {most}", gossip, 2)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Error against the samples of a client, one panel for each method."""
    fig, panels = plots.row(2, 4.75, 4.2)
    rounds = np.arange(1, config.rounds + 1)
    for ax, name in zip(panels, METHODS, strict=True):
        for color, n in zip(plots.COLORS, config.ns, strict=False):
            ax.plot(rounds, context.kept[name, n], color=color, label=f"n = {n}")
            ax.plot(rounds, 1 / (n * rounds), color=color, ls=":", lw=1)
        ax.set(title=name, xscale="log", yscale="log", xlabel="samples per client T")
    ax.legend(fontsize=9, title="dotted: 1/(nT)")
    fig.axes[0].set_ylabel("mean squared error")
    context.save(fig, "fig9")
