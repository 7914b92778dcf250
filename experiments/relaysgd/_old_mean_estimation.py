"""Figure 9: clients estimate a common mean from a stream of samples, by RelaySum and by gossip."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.relaysgd.kinds import MeanEstimation
from jcollab import plots

TARGET = 1.0


def relay_estimate(n: int) -> jc.Algorithm:
    """Running sums of the samples and of their number, both relayed: ``x = sum / number``."""
    mixer = jc.relay_sum(jc.topology.chain(n), fill="zero")

    def init(key: Any, params: Any) -> jc.State:
        both = {"sum": params, "number": params}
        clients = jc.Clients(params, both, (), mixer.init(both))
        return jc.State(clients, (), jnp.int32(0))

    def update(state: jc.State, batch: Any, key: Any) -> tuple[jc.State, dict]:
        total, fresh = state.clients.extra, {"sum": batch, "number": jnp.ones_like(batch)}
        mixed, relayed = mixer.update(fresh, state.clients.mixer, key=key, step=state.step)
        total = jax.tree.map(lambda old, new: old + n * new, total, mixed)
        clients = jc.Clients(total["sum"] / total["number"], total, (), relayed)
        return jc.State(clients, (), state.step + 1), {}

    return jc.Algorithm(init, update)


def gossip_estimate(n: int) -> jc.Algorithm:
    """The running mean, gossiped after each sample: ``x = W (x + (s - x) / (t + 1))``."""
    mixer = jc.gossip(jc.topology.ring(n))

    def init(key: Any, params: Any) -> jc.State:
        return jc.State(jc.Clients(params, (), (), mixer.init(params)), (), jnp.int32(0))

    def update(state: jc.State, batch: Any, key: Any) -> tuple[jc.State, dict]:
        old = state.clients.params
        new = old + (batch - old) / (state.step + 1)
        new, mixed = mixer.update(new, state.clients.mixer, key=key, step=state.step)
        return jc.State(jc.Clients(new, (), (), mixed), (), state.step + 1), {}

    return jc.Algorithm(init, update)


METHODS = {"RelaySum": relay_estimate, "gossip": gossip_estimate}


def run(config: MeanEstimation, context: Context) -> list[Row]:
    """All seeds of one n in one program."""
    with jax.enable_x64(True):
        return _run(config, context)


def _run(config: MeanEstimation, context: Context) -> list[Row]:
    rows: list[Row] = []
    curves: dict[tuple[str, int], np.ndarray] = {}
    task = context.progress.add_task("mean estimation", total=len(config.ns) * len(METHODS))
    keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    for n in config.ns:
        for name, build in METHODS.items():
            if context.stop.is_set():
                return rows
            curves[name, n] = _errors(build(n), n, config.rounds, keys)
            ideal = 1 / (n * config.rounds)
            row = {
                "algorithm": name,
                "n": n,
                "error": curves[name, n][-1],
                "ideal": ideal,
                "ratio": curves[name, n][-1] / ideal,
            }
            rows.append(row)
            context.log().write(row | {"errors": curves[name, n][::5]})
            context.progress.advance(task)
    context.save(_figure(config, curves), "fig9")
    return rows


def _errors(algorithm: jc.Algorithm, n: int, rounds: int, keys: Any) -> np.ndarray:
    """Mean over clients and seeds of ``(x - 1)^2`` after each round, ``[T]``."""

    def sample(data: Any, key: Any, step: Any) -> Any:
        return TARGET + jax.random.normal(key, (n,))

    def error(state: jc.State) -> Any:
        return {"error": jnp.mean((state.clients.params - TARGET) ** 2)}

    def one(key: Any) -> Any:
        measured = jc.with_metrics(algorithm, error)
        state = measured.init(key, jnp.zeros(n))
        return jc.run(measured, state, (), key, num_rounds=rounds, sample=sample)[1]["error"]

    return np.asarray(jax.jit(jax.vmap(one))(keys)).mean(0)


def claims(config: MeanEstimation, rows: list[Row]) -> list[Claim]:
    """RelaySum comes close to 1/(nT), the variance of the mean of all samples; gossip does not."""
    most = max(config.ns)
    relay = max(r["ratio"] for r in rows if r["algorithm"] == "RelaySum")
    (gossip,) = (r["ratio"] for r in rows if r["algorithm"] == "gossip" and r["n"] == most)
    return [
        Claim("RelaySum's error over 1/(nT), worst n", "<= 1.5", relay, relay <= 1.5),
        Claim(f"gossip's error over 1/(nT) at n = {most}", ">= 2", gossip, gossip >= 2),
    ]


@plots.style()
def _figure(config: MeanEstimation, curves: dict[tuple[str, int], np.ndarray]) -> Any:
    fig = plots.figure(figsize=(9.5, 4.2))
    rounds = np.arange(1, config.rounds + 1)
    for ax, name in zip(fig.subplots(1, 2, sharey=True), METHODS, strict=True):
        for color, n in zip(plots.COLORS, config.ns, strict=False):
            ax.plot(rounds, curves[name, n], color=color, label=f"n = {n}")
            ax.plot(rounds, 1 / (n * rounds), color=color, ls=":", lw=1)
        ax.set(title=name, xscale="log", yscale="log", xlabel="samples per client T")
    ax.legend(fontsize=9, title="dotted: 1/(nT)")
    fig.axes[0].set_ylabel("mean squared error")
    return fig
