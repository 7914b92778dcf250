"""Figures 3 and 8: averaging on a chain whose middle link and byzantine weights vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import scipy.stats

import jcollab as jc
from experiments.clipped_gossip.kinds import Consensus
from experiments.contract import Claim, Context, Row
from jcollab import aggregators, plots

# the honest clients 2-3-4-5 in a chain; 0 is the byzantine neighbour of 3, and 1 that of 4
EDGES = ((2, 3), (3, 4), (4, 5), (0, 3), (1, 4))
BYZANTINE = np.arange(6) < 2
START = np.array([0.0, 0.0, 0.0, 0.0, 200.0, 200.0])
MEAN = START[~BYZANTINE].mean()
OUTER = 1 / 3  # weight of the links 2-3 and 4-5
COPIES = 100


def chain_matrix(beta: float, delta: float) -> np.ndarray | None:
    """W of the chain, ``[6, 6]``; None where client 3 would have a negative weight of its own."""
    if delta > 1 - OUTER - beta:
        return None
    matrix = np.zeros((6, 6))
    for (i, j), weight in zip(EDGES, (OUTER, beta, OUTER, delta, delta), strict=True):
        matrix[i, j] = matrix[j, i] = weight
    np.fill_diagonal(matrix, 1 - matrix.sum(1))
    return matrix


def repeated_median() -> aggregators.Rule:
    """Median of the inputs, each repeated ``floor(100 w)`` times (scalars only)."""

    def rule(own: Any, received: Any, weights: Any) -> Any:
        values, counts = _repeated(own, received, weights)
        ends = jnp.cumsum(counts)
        middle = ends[-1] // 2

        def at(position: Any) -> Any:
            return values[jnp.argmax(ends > position)]

        return jnp.where(ends[-1] % 2 == 1, at(middle), (at(middle - 1) + at(middle)) / 2)

    return rule


def repeated_trimmed_mean(byzantine: np.ndarray) -> aggregators.Rule:
    """Mean without the ``floor(100 delta_i)`` largest and smallest (at most 49) of the same."""
    who = jnp.asarray(byzantine)

    def rule(own: Any, received: Any, weights: Any, *, senders: Any) -> Any:
        values, counts = _repeated(own, received, weights)
        delta = jnp.where(who[senders], weights, 0).sum()
        cut = jnp.minimum(jnp.floor(COPIES * delta), 49)
        ends = jnp.cumsum(counts)
        low, high = ends - counts, ends
        kept = jnp.clip(high, cut, ends[-1] - cut) - jnp.clip(low, cut, ends[-1] - cut)
        return (kept * values).sum() / kept.sum()

    return rule


def _repeated(own: Any, received: Any, weights: Any) -> tuple[Any, Any]:
    values = jnp.concatenate([own[None], received])
    shares = jnp.concatenate([1 - weights.sum()[None], weights])
    order = jnp.argsort(values)
    return values[order], jnp.floor(COPIES * shares)[order]


DEFENSES: dict[str, Callable[[], aggregators.Rule]] = {
    "SCClip": lambda: aggregators.self_centered_clip(aggregators.oracle_radius(BYZANTINE)),
    "Gossip": aggregators.weighted,
    "Median": aggregators.coordinate_median,
    "TM": lambda: aggregators.trimmed_mean(1, shrink=True),
    "Median*": repeated_median,
    "TM*": lambda: repeated_trimmed_mean(BYZANTINE),
}


def run(config: Consensus, context: Context) -> list[Row]:
    """All cases of a defence in one program."""
    if unknown := set(config.defenses) - set(DEFENSES):
        raise ValueError(
            f"defenses must be among {', '.join(DEFENSES)}, got {', '.join(sorted(unknown))}"
        )
    with jax.enable_x64(True):
        return _run(config, context)


def _run(config: Consensus, context: Context) -> list[Row]:
    cases = [
        (delta, beta, matrix)
        for delta in config.deltas
        for beta in config.betas
        if (matrix := chain_matrix(beta, delta)) is not None
    ]
    if not cases:
        raise ValueError("deltas: every case has delta > 2/3 - beta; take smaller ones")
    task = context.progress.add_task("consensus", total=len(config.defenses))
    rows: list[Row] = []
    for defense in config.defenses:
        if context.stop.is_set():
            return rows
        values = _values(defense, [matrix for *_, matrix in cases], config)
        errors = ((values - MEAN) ** 2).mean(2)
        spread = values.var(2)
        for (delta, beta, matrix), error, distance, final in zip(
            cases, errors, spread, values[:, -1], strict=True
        ):
            gap = jc.topology.spectral_gap(jc.topology.honest_matrix(matrix, BYZANTINE))
            row = {
                "defense": defense,
                "delta_max": delta,
                "beta": beta,
                "p": gap**2,
                "spectral_gap": gap,
            }
            for when in (0, 1, 10, 100):
                if when <= config.rounds:
                    row[f"error_T{when}"] = error[when]
                    row[f"consensus_T{when}"] = distance[when]
            row["error"] = error[-1]
            row |= {f"x{i}": x for i, x in zip((2, 3, 4, 5), final, strict=True)}
            rows.append(row)
            context.log().write(row | {"errors": error, "consensus_distances": distance})
        context.progress.advance(task)
    context.save(_figure(config, rows), "consensus")
    return rows


def _values(defense: str, matrices: list[np.ndarray], config: Consensus) -> np.ndarray:
    """Values of the honest clients after each round, ``[cases, T + 1, 4]``."""
    graph = nx.empty_graph(6)
    graph.add_edges_from(EDGES)
    attack = jc.attacks.dissensus(config.strength)
    topologies = [
        jc.topology.with_weights(jc.topology.from_networkx(graph), matrix) for matrix in matrices
    ]
    mixer = jc.neighborhood(
        topologies[0],
        DEFENSES[defense](),
        jc.channels.byzantine(attack, BYZANTINE),
        receivers=~BYZANTINE,
    )
    weights = jnp.stack([jnp.asarray(topology.weights) for topology in topologies])

    def one(weights: Any) -> Any:
        x = jnp.asarray(START)
        state = mixer.init(x)._replace(weights=weights)

        def mix(x: Any, step: Any) -> Any:
            mixed, _ = mixer.update(x, state, key=jax.random.key(0), step=step)
            return mixed, mixed[~BYZANTINE]

        _, trace = jax.lax.scan(mix, x, jnp.arange(config.rounds))
        return jnp.concatenate([x[None, ~BYZANTINE], trace])

    return np.asarray(jax.jit(jax.vmap(one))(weights))


def shown(config: Consensus, rows: list[Row]) -> list[Row]:
    """The last errors, a line for each defence and beta, a column for each delta."""
    table: dict[tuple[str, float], Row] = {}
    for row in rows:
        line = table.setdefault(
            (row["defense"], row["beta"]), {"defense": row["defense"], "beta": row["beta"]}
        )
        line["gamma"] = row["spectral_gap"]
        for delta in config.deltas:
            line.setdefault(f"delta {delta:g}", None)
        line[f"delta {row['delta_max']:g}"] = row["error"]
    return list(table.values())


def claims(config: Consensus, rows: list[Row]) -> list[Claim]:
    """Clipping reaches the honest mean where the byzantine are few beside gamma; medians never."""
    found = []
    first = (START[~BYZANTINE] - MEAN) ** 2
    for defense in ("Median", "TM"):
        stuck = [abs(row["error"] - first.mean()) for row in rows if row["defense"] == defense]
        if stuck:
            claim = f"{defense} stays where it is, in every case (largest change of the error)"
            found.append(Claim(claim, "0", max(stuck), max(stuck) == 0))
    clipped = [row for row in rows if row["defense"] == "SCClip"]
    if len(clipped) > 2:
        ratio = [row["delta_max"] / row["spectral_gap"] ** 2 for row in clipped]
        rank = scipy.stats.spearmanr(ratio, [row["error"] for row in clipped]).statistic
        claim = "SCClip: the error grows with delta_max / gamma^2 (rank correlation)"
        found.append(Claim(claim, ">= 0.9", float(rank), rank >= 0.9))
        small = [row["error"] for row, r in zip(clipped, ratio, strict=True) if r <= 10]
        if small:
            claim = "SCClip: the mean is reached where delta_max <= 10 gamma^2 (largest error)"
            found.append(Claim(claim, "<= 1e-3", max(small), max(small) <= 1e-3))
    return found


@plots.style()
def _figure(config: Consensus, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(9.5, 4.4))
    left, right = fig.subplots(1, 2)
    for color, defense in zip(plots.COLORS, config.defenses, strict=False):
        own = [row for row in rows if row["defense"] == defense]
        ratio = [row["delta_max"] / row["spectral_gap"] ** 2 for row in own]
        error = [max(row["error"], 1e-20) for row in own]
        left.scatter(ratio, error, color=color, s=22, alpha=0.8, label=defense)
    left.set(xscale="log", yscale="log", ylim=(1e-21, 1e9))
    left.set(xlabel=r"$\delta_{max} / \gamma^2$", ylabel=f"error after {config.rounds} rounds")
    left.set_title("all cases")
    left.legend(fontsize=9)
    for color, delta in zip(plots.COLORS, config.deltas, strict=False):
        own = [r for r in rows if r["defense"] == config.defenses[0] and r["delta_max"] == delta]
        gaps = [row["spectral_gap"] for row in own]
        error = [max(row["error"], 1e-20) for row in own]
        label = rf"$\delta_{{max}}$ = {delta:g}"
        right.plot(gaps, error, "o-", color=color, ms=4, lw=1.4, label=label)
    right.set(xscale="log", yscale="log", ylim=(1e-21, 1e9), xlabel=r"spectral gap $\gamma$")
    right.set_title(config.defenses[0])
    right.legend(fontsize=9)
    return fig
