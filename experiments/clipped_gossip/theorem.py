"""Stationary error of ClippedGossip against the bound of the theorem, delta zeta^2 / gamma^2.

ClippedGossip, arXiv 2202.01545, the theorem on D-SGD with ClippedGossip.

    python -m experiments clipped_gossip theorem

Quadratics on rings, dumbbells and two cliques, a byzantine neighbor of each honest client.
Cost: 1 minute on 2 cores.
Expected: the error is below 2 delta zeta^2 / gamma^2, linear in delta and zeta^2.
"""

import itertools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import jcollab as jc
from experiments.contract import (
    Claim,
    Claims,
    Context,
    Row,
    Rows,
    at_most,
    between,
    columns,
    groups,
)
from experiments.fields import Bound, Count, Fraction, Positive, Settings
from jcollab import aggregators, plots
from jcollab.core import Round

FAMILIES = {
    "ring": jc.topology.ring,
    "dumbbell": lambda size: jc.topology.dumbbell(size).topology,
    "two cliques": lambda size: jc.topology.two_cliques(size, 0).topology,
}
FAR = 1e6  # distance of the message of a shift, which the receiver clips
ATTACKS = ("shift", "dissensus")


class Config(Settings):
    """Graphs, byzantine weights and heterogeneity."""

    families: tuple[Annotated[str, Bound(among=FAMILIES)], ...] = tuple(FAMILIES)
    rings: tuple[Annotated[int, Bound(at_least=3)], ...] = (4, 6, 9, 13, 19)  # lengths
    cliques: tuple[Annotated[int, Bound(at_least=2)], ...] = (2, 3, 4, 6, 9)  # clients of a clique
    deltas: tuple[Fraction, ...] = (0.003, 0.01, 0.03, 0.1)  # of each byzantine neighbor
    zetas: tuple[Positive, ...] = (0.5, 2.0)  # square root of the mean of ||grad f_i - grad f||^2
    learning_rate: Positive = 0.001  # of the steps, small beside gamma
    rounds: Count = 8000  # T; the error is the mean over the last quarter
    seed: int = 0  # not used, nothing is random


PRESETS = {"theorem": Config()}
X64 = True
SMOKE = {"theorem": {"rings": (4, 6), "cliques": (2, 3), "rounds": 8, "families": ("ring",)}}


def shift(own: Any, messages: Any, weights: Any, byzantine: Any, context: Any) -> Any:
    """All byzantine clients pull in one direction, in which the honest clients agree."""
    return own + FAR * jnp.array([0.0, 1.0])


def run(config: Config, context: Context) -> Rows:
    """Runs all weights, heterogeneities and attacks on a graph in one program."""
    sizes = {name: config.rings if name == "ring" else config.cliques for name in config.families}
    places = [(name, size) for name in config.families for size in sizes[name]]
    cases = [*itertools.product(config.deltas, config.zetas)]
    for family, size in context.cases(places, description="graphs"):
        honest = FAMILIES[family](size)
        gap, errors = _errors(config, honest, cases)
        for (delta, zeta), error in zip(cases, errors, strict=True):
            row = {"family": family, "clients": honest.n, "spectral_gap": gap}
            row |= {"delta": delta, "zeta": zeta, "bound": delta * zeta**2 / gap**2}
            yield row | dict(zip(ATTACKS, error, strict=True)) | {"error": error.max()}


def _errors(config: Config, honest: Any, cases: list[Any]) -> tuple[float, np.ndarray]:
    """Computes the spectral gap, and the stationary error under each attack, ``[cases, 2]``."""
    n = honest.n
    graph = jc.topology.attach_byzantine(honest, range(n))
    # lazy weights leave every client at least 1/2, of which its byzantine neighbor takes delta
    matrix = (np.eye(n) + jc.topology.mixing_matrix(honest)) / 2
    values, vectors = np.linalg.eigh(matrix)
    slowest = vectors[:, np.argsort(values)[-2]] * np.sqrt(n)

    def one(delta: Any, zeta: Any, attack: Any) -> Any:
        link = delta * jnp.eye(n)
        whole = jnp.block([[matrix - link, link], [link, jnp.eye(n) - link]])
        topology = jc.topology.with_weights(graph.topology, whole)
        attacks = [shift, jc.channels.attacks.dissensus(1.5)]
        mixer = jc.neighborhood(
            topology,
            aggregators.self_centered_clip(aggregators.oracle_radius(graph.byzantine)),
            jc.channels.byzantine(jc.channels.attacks.choose(attacks, attack), graph.byzantine),
            receivers=graph.honest,
        )
        # minima of f_i(x) = ||x - b_i||^2 / 2: mean 0, apart along the slowest mode of the graph
        targets = jnp.zeros((2 * n, 2)).at[:n, 0].set(zeta * slowest)
        start = jnp.zeros((2 * n, 2))

        def step(carry: Any, t: Any) -> Any:
            x, state = carry
            x = x - config.learning_rate * (x - targets)
            x, state = mixer.update(x, state, Round(jax.random.key(0), t))
            return (x, state), jnp.sum(x[:n].mean(0) ** 2)

        rounds = jnp.arange(config.rounds)
        _, errors = jax.lax.scan(step, (start, mixer.init(start)), rounds)
        return errors[-(config.rounds // 4) :].mean()

    deltas, zetas = (jnp.asarray(column) for column in zip(*cases, strict=True))
    every = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))
    errors = jax.jit(every)(deltas, zetas, jnp.arange(len(ATTACKS)))
    return jc.topology.spectral_gap(matrix), np.asarray(errors)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns the largest and smallest ratio of the error and the bound on each graph."""
    lines = []
    for (family, clients), own in groups(rows, "family clients").items():
        ratios = [row["error"] / row["bound"] for row in own]
        line = {"family": family, "clients": clients, "spectral_gap": own[0]["spectral_gap"]}
        lines.append(line | {"smallest_ratio": min(ratios), "largest_ratio": max(ratios)})
    return lines


def slope(x: Any, y: Any) -> tuple[float, float, float]:
    """Fits a line to logarithms: the slope and its 95 % interval by Student's t."""
    fit = scipy.stats.linregress(np.log(x), np.log(y))
    half = scipy.stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    return fit.slope, fit.slope - half, fit.slope + half


def claims(config: Config, rows: list[Row]) -> Claims:
    """The bound and its orders in delta, zeta and gamma, under the worst attack."""
    ratio = max(row["error"] / row["bound"] for row in rows)
    yield at_most("error over delta zeta^2 / gamma^2 (largest of all cases)", ratio, 2)
    # the theorem requires delta = O(gamma^2)
    small = [row for row in rows if row["delta"] <= 10 * row["spectral_gap"] ** 2]
    orders = [
        slope([r["delta"] * r["zeta"] ** 2 for r in own], [r["error"] for r in own])[0]
        for own in groups(small, "family clients").values()
        if len({row["delta"] for row in own}) > 1
    ]
    claim = "delta <= 10 gamma^2: the error is linear in delta zeta^2 (slope farthest from 1)"
    yield between(claim, max(orders, key=lambda order: abs(order - 1)), 0.95, 1.05)
    for (family,), own in groups(rows, "family").items():
        fit = slope(*columns(own, "bound error"))
        claim = f"{family}: slope of the error against delta zeta^2 / gamma^2"
        yield Claim(claim, "1 in the 95 % interval", _spoken(fit), fit[1] <= 1 <= fit[2])
        rest = [r["error"] / (r["delta"] * r["zeta"] ** 2) for r in own]
        fit = slope([1 / r["spectral_gap"] for r in own], rest)
        claim = f"{family}: order of the error in 1 / gamma"
        yield Claim(claim, "95 % interval at most 2", _spoken(fit), fit[2] <= 2)


def _spoken(fit: tuple[float, float, float]) -> str:
    value, low, high = fit
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the error under the worst attack against the bound, a panel for each family."""
    families = groups(rows, "family")
    size = (4.3 * len(families), 4.4)
    fig, axes = plots.subplots(1, len(families), sharey=True, squeeze=False, figsize=size)
    for ax, ((family,), own) in zip(axes.flat, families.items(), strict=True):
        for color, (gap,) in zip(plots.COLORS, graphs := groups(own, "spectral_gap"), strict=False):
            points = columns(graphs[gap,], "bound error")
            ax.plot(*points, "o", ms=4.5, color=color, label=rf"$\gamma$ = {gap:.3f}")
        ends = np.array([min(row["bound"] for row in own), max(row["bound"] for row in own)])
        ax.plot(ends, 2 * ends, "--", color="gray", label=r"$2 \, \delta \zeta^2 / \gamma^2$")
        fit = slope(*columns(own, "bound error"))[0]
        ax.set(title=f"{family}, slope {fit:.2f}", xscale="log", yscale="log")
        ax.set(xlabel=r"$\delta \zeta^2 / \gamma^2$")
        ax.legend(fontsize=8)
    axes[0, 0].set(ylabel="stationary error")
    context.save(fig, "theorem")
