"""Averaging on a chain whose middle link and byzantine weights vary.

ClippedGossip, arXiv 2202.01545, Figures 3 and 8.

    python -m experiments clipped_gossip consensus

Averaging on a chain under dissensus, 265 cases.
Cost: half a minute on 2 cores.
Expected: SCClip reaches the mean where delta_max is small beside gamma^2; medians never.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import scipy.stats

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, at_least, at_most, pivoted
from experiments.fields import Bound, Count, Settings
from jcollab import aggregators, plots
from jcollab.core import Receiver, Round

# the honest clients 2-3-4-5 in a chain; 0 is the byzantine neighbor of 3, and 1 that of 4
EDGES = ((2, 3), (3, 4), (4, 5), (0, 3), (1, 4))
BYZANTINE = np.arange(6) < 2
START = np.array([0.0, 0.0, 0.0, 0.0, 200.0, 200.0])
MEAN = START[~BYZANTINE].mean()
OUTER = 1 / 3  # weight of the links 2-3 and 4-5
COPIES = 100


def chain_matrix(beta: float, delta: float) -> np.ndarray | None:
    """Returns W of the chain, ``[6, 6]``; None if the self-weight of client 3 would be negative."""
    if delta > 1 - OUTER - beta:
        return None
    matrix = np.zeros((6, 6))
    for (i, j), weight in zip(EDGES, (OUTER, beta, OUTER, delta, delta), strict=True):
        matrix[i, j] = matrix[j, i] = weight
    np.fill_diagonal(matrix, 1 - matrix.sum(1))
    return matrix


def repeated_median(own: Any, messages: Any, weights: Any, context: Receiver) -> Any:
    """Computes the median of scalar inputs, each repeated ``floor(100 w)`` times."""
    values, ends = _repeated(own, messages, weights)
    middle = jnp.stack([(ends[-1] - 1) // 2, ends[-1] // 2])
    return values[jnp.searchsorted(ends, middle, side="right")].mean()


def repeated_trimmed_mean(own: Any, messages: Any, weights: Any, context: Receiver) -> Any:
    """Computes their mean without the ``floor(100 delta_i)`` (at most 49) largest and smallest."""
    values, ends = _repeated(own, messages, weights)
    delta = jnp.where(jnp.asarray(BYZANTINE)[context.senders], weights, 0).sum()
    cut = jnp.minimum(jnp.floor(COPIES * delta), 49)
    counts = jnp.diff(jnp.clip(jnp.append(0.0, ends), cut, ends[-1] - cut))
    return (counts * values).sum() / counts.sum()


def _repeated(own: Any, messages: Any, weights: Any) -> tuple[Any, Any]:
    """Sorts inputs, and returns the place where the copies of each end."""
    values = jnp.append(own, messages)
    order = jnp.argsort(values)
    shares = jnp.append(1 - weights.sum(), weights)
    return values[order], jnp.cumsum(jnp.floor(COPIES * shares)[order])


DEFENSES = {
    "SCClip": lambda: aggregators.self_centered_clip(aggregators.oracle_radius(BYZANTINE)),
    "Gossip": aggregators.weighted,
    "Median": aggregators.coordinate_median,
    "TM": lambda: aggregators.trimmed_mean(1, shrink=True),
    "Median*": lambda: aggregators.rule(repeated_median),
    "TM*": lambda: aggregators.rule(repeated_trimmed_mean),
}
Defense = Annotated[str, Bound(among=DEFENSES)]
Weight = Annotated[float, Bound(above=0, at_most=2 / 3)]


class Config(Settings):
    """Defenses, and the weights of the links."""

    # with a star, values are repeated in proportion to their weights
    defenses: tuple[Defense, ...] = ("SCClip", "Median", "TM", "Median*", "TM*")
    deltas: tuple[Weight, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # of the byzantine neighbor
    betas: tuple[Weight, ...] = (  # of the link in the middle of the chain
        0.58, 0.45, 0.35, 0.267, 0.19, 0.12, 0.08, 0.04, 0.02, 0.01, 0.001,
    )  # fmt: skip
    strength: float = 0.05  # of the dissensus attack, eps
    rounds: Count = 100  # T
    seed: int = 0  # not used, nothing is random

    def _check(self) -> None:
        if chain_matrix(min(self.betas), min(self.deltas)) is None:
            raise ValueError("deltas: every case has delta > 2/3 - beta; take smaller ones")


PRESETS = {"consensus": Config()}
SMOKE = {"consensus": {"deltas": (0.1, 0.4), "betas": (0.267, 0.12), "rounds": 10}}
# the last errors, a line for each defense and beta, a column for each delta
shown = pivoted("defense beta", "delta_max", "error")


def run(config: Config, context: Context) -> Rows:
    """Runs all cases of a defense in one program."""
    cases = [(d, b, chain_matrix(b, d)) for d in config.deltas for b in config.betas]
    cases = [case for case in cases if case[-1] is not None]
    for defense in context.cases(config.defenses, description="consensus"):
        with jax.enable_x64(True):
            traces = _values(defense, [matrix for *_, matrix in cases], config)
        for (delta, beta, matrix), trace in zip(cases, traces, strict=True):
            errors, distances = ((trace - MEAN) ** 2).mean(1), trace.var(1)
            gap = jc.topology.spectral_gap(jc.topology.honest_matrix(matrix, BYZANTINE))
            row = {"defense": defense, "delta_max": delta, "beta": beta}
            row |= {"p": gap**2, "spectral_gap": gap, "error": errors[-1]}
            for t in {0, 1, 10, 100}.intersection(range(config.rounds + 1)):
                row |= {f"error_T{t}": errors[t], f"consensus_T{t}": distances[t]}
            yield row | dict(zip(("x2", "x3", "x4", "x5"), trace[-1], strict=True))
            context.log(row | {"errors": errors, "consensus_distances": distances})


def _values(defense: str, matrices: list[np.ndarray], config: Config) -> np.ndarray:
    """Computes values of the honest clients after each round, ``[cases, T + 1, 4]``."""
    chain = jc.topology.from_networkx(nx.Graph(EDGES))
    weights = np.stack([jc.topology.with_weights(chain, matrix).weights for matrix in matrices])
    mixer = jc.neighborhood(
        chain,
        DEFENSES[defense](),
        jc.channels.byzantine(jc.channels.attacks.dissensus(config.strength), BYZANTINE),
        receivers=~BYZANTINE,
    )

    def one(weights: Any) -> Any:
        x = jnp.asarray(START)
        state = mixer.init(x)._replace(weights=weights)

        def mix(x: Any, step: Any) -> Any:
            mixed, _ = mixer.update(x, state, Round(jax.random.key(0), step))
            return mixed, mixed[~BYZANTINE]

        _, trace = jax.lax.scan(mix, x, jnp.arange(config.rounds))
        return jnp.concatenate([x[None, ~BYZANTINE], trace])

    return np.asarray(jax.jit(jax.vmap(one))(weights))


def claims(config: Config, rows: list[Row]) -> Claims:
    """Clipping reaches the honest mean if delta_max is small against gamma^2; medians never do."""
    first = ((START[~BYZANTINE] - MEAN) ** 2).mean()
    for defense in ("Median", "TM"):
        changes = [abs(row["error"] - first) for row in rows if row["defense"] == defense]
        if changes:
            claim = f"{defense} stays where it is, in every case (largest change of the error)"
            yield Claim(claim, "0", max(changes), max(changes) == 0)
    clipped = [(_ratio(row), row["error"]) for row in rows if row["defense"] == "SCClip"]
    if len(clipped) > 2:
        claim = "SCClip: the error grows with delta_max / gamma^2 (rank correlation)"
        rank = scipy.stats.spearmanr(*zip(*clipped, strict=True)).statistic
        yield at_least(claim, rank, 0.9)
        small = [error for ratio, error in clipped if ratio <= 10]
        if small:
            claim = "SCClip: the mean is reached where delta_max <= 10 gamma^2 (largest error)"
            yield at_most(claim, max(small), 1e-3)


def _ratio(row: Row) -> float:
    return row["delta_max"] / row["spectral_gap"] ** 2


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws errors against delta_max / gamma^2, and of the first defense against gamma."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(9.5, 4.4))
    rows = [row | {"error": max(row["error"], 1e-20)} for row in rows]  # for the log scale
    for color, defense in zip(plots.COLORS, config.defenses, strict=False):
        points = [(_ratio(row), row["error"]) for row in rows if row["defense"] == defense]
        left.scatter(*zip(*points, strict=True), s=22, color=color, label=defense)
    for color, delta in zip(plots.COLORS, config.deltas, strict=False):
        own = [r for r in rows if (r["defense"], r["delta_max"]) == (config.defenses[0], delta)]
        error = [row["error"] for row in own]
        label = rf"$\delta_{{max}}$ = {delta:g}"
        right.plot([r["spectral_gap"] for r in own], error, "o-", color=color, label=label)
    left.set(xlabel=r"$\delta_{max} / \gamma^2$", ylabel=f"error after {config.rounds} rounds")
    right.set(xlabel=r"spectral gap $\gamma$")
    for ax, title in ((left, "all cases"), (right, config.defenses[0])):
        ax.set(title=title, xscale="log", yscale="log", ylim=(1e-21, 1e9))
        ax.legend(fontsize=9)
    context.save(fig, "consensus")
