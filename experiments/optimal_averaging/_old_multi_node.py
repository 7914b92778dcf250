"""Several others with biases of their own, which point one way or cancel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging.kinds import MultiNode
from jcollab import averaging, plots

METHODS = ("uniform", "one weight", "simplex", "optimal")


def patterns(config: MultiNode) -> dict[str, np.ndarray]:
    """Biases of all estimates ``[M]``, the client's own 0 first."""
    sizes = np.array(config.biases)
    signs = (-1.0) ** np.arange(len(sizes))
    return {
        "one sign": np.concatenate([[0.0], sizes]),
        "opposite signs": np.concatenate([[0.0], sizes * signs]),
    }


def all_weights(variances: np.ndarray, biases: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of each method ``[M]``."""
    count = len(variances)
    mean_variance = variances[1:].sum() / (count - 1) ** 2
    a = averaging.optimal_weight(variances[0], mean_variance, biases[1:].mean())
    return {
        "uniform": np.full(count, 1 / count),
        "one weight": np.concatenate([[1 - a], np.full(count - 1, a / (count - 1))]),
        "simplex": averaging.multi_node_weights(variances, biases, simplex=True),
        "optimal": averaging.multi_node_weights(variances, biases),
    }


def run(config: MultiNode, context: Context) -> list[Row]:
    """One row for each pattern and scale of the biases; risks over that of learning alone."""
    rows: list[Row] = []
    variances = np.array(config.variances)
    noise = np.random.default_rng(config.seed).normal(size=(len(variances), config.repetitions))
    task = context.progress.add_task("multi-node", total=2 * len(config.scales))
    for pattern, sizes in patterns(config).items():
        for scale in config.scales:
            if context.stop.is_set():
                return rows
            biases = scale * sizes
            estimates = biases[:, None] + np.sqrt(variances)[:, None] * noise
            row: Row = {"pattern": pattern, "scale": scale}
            for name, weights in all_weights(variances, biases).items():
                risk = averaging.multi_node_risk(weights, variances, biases)
                row[name] = float(risk / variances[0])
                row[f"{name}_mc"] = measured(weights, estimates) / variances[0]
                if name == "optimal":
                    row["least_weight"] = float(weights.min())
            context.log().write(row)
            rows.append(row)
            context.progress.advance(task)
    context.save(_figure(config, rows), "multi_node")
    return rows


def measured(weights: np.ndarray, estimates: np.ndarray) -> float:
    """Mean squared error of the first client after the exchange."""
    mixer = jc.collaboration(np.tile(weights, (len(weights), 1)))
    x = jnp.asarray(estimates)
    mixed, _ = mixer.update(x, mixer.init(x), key=jax.random.key(0), step=jnp.int32(0))
    return float(jnp.mean(mixed[0] ** 2))


def shown(config: MultiNode, rows: list[Row]) -> list[Row]:
    """The theory only."""
    return [{k: v for k, v in row.items() if not k.endswith("_mc")} for row in rows]


def claims(config: MultiNode, rows: list[Row]) -> list[Claim]:
    """What negative weights and cancelling biases are worth."""
    off = max(abs(row[f"{name}_mc"] / row[name] - 1) for row in rows for name in METHODS)
    found = [
        Claim("risk by Monte Carlo, largest deviation from theory", "<= 2 %", off, off <= 0.02)
    ]
    ordered = all(
        row["optimal"] <= row["simplex"] + 1e-12
        and row["simplex"] <= min(row["uniform"], row["one weight"]) + 1e-12
        and row["one weight"] < 1
        for row in rows
    )
    claim = "optimal <= simplex <= one weight for all others < alone, everywhere"
    found.append(Claim(claim, "always", "always" if ordered else "not always", ordered))
    same = {row["scale"]: row for row in rows if row["pattern"] == "one sign"}
    apart = {row["scale"]: row for row in rows if row["pattern"] == "opposite signs"}
    least = min(row["least_weight"] for row in same.values())
    found.append(Claim("biases of one sign: a weight becomes negative", "< 0", least, least < 0))
    scales = [scale for scale in config.scales if scale > 0]
    if scales:
        gain = min(same[scale]["simplex"] / apart[scale]["simplex"] for scale in scales)
        claim = "opposite signs cancel: risk on the simplex, one sign over opposite signs, least"
        found.append(Claim(claim, "> 1", gain, gain > 1))
        last = same[max(scales)]["uniform"]
        claim = "uniform weights lose to learning alone where biases are large (risk ratio)"
        found.append(Claim(claim, "> 1", last, last > 1))
    return found


@plots.style()
def _figure(config: MultiNode, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(13.5, 4.3))
    *panels, last = fig.subplots(1, 3, width_ratios=(1, 1, 0.9))
    variances = np.array(config.variances)
    fine = np.linspace(0, max(config.scales), 121)
    for ax, (pattern, sizes) in zip(panels, patterns(config).items(), strict=True):
        ax.axhline(1, color="black", lw=1, ls=":")
        ax.text(fine[-1], 1.02, "alone", ha="right", va="bottom", fontsize=9)
        lines = [all_weights(variances, scale * sizes) for scale in fine]
        for color, name in zip(plots.COLORS, METHODS, strict=False):
            theory = [
                averaging.multi_node_risk(weights[name], variances, scale * sizes) / variances[0]
                for weights, scale in zip(lines, fine, strict=True)
            ]
            dashes = plots.DASHES[1] if name == "optimal" else "-"
            ax.plot(fine, theory, ls=dashes, color=color, label=name)
            own = [row for row in rows if row["pattern"] == pattern]
            ax.plot(
                [row["scale"] for row in own], [row[f"{name}_mc"] for row in own],
                "o", ms=4.5, color=color,
            )  # fmt: skip
        ax.set(
            title=f"Biases of {pattern}",
            xlabel="scale of the biases",
            ylim=(0, 1.5),
        )
    panels[0].set_ylabel("mean squared error / alone")
    panels[1].legend(fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.66))
    at = sorted(config.scales)[(len(config.scales) + 1) // 2]
    width = 0.38
    names = ["own", *(f"{bias:g}" for bias in config.biases)]
    for i, (color, (pattern, sizes)) in enumerate(
        zip(plots.COLORS[4:], patterns(config).items(), strict=False)
    ):
        weights = averaging.multi_node_weights(variances, at * sizes)
        places = np.arange(len(weights)) + (i - 0.5) * width
        last.bar(places, weights, width, color=color, label=pattern)
    last.axhline(0, color="black", lw=1)
    last.set_xticks(np.arange(len(names)), names)
    last.set(title=f"Optimal weights at scale {at:g}", xlabel="size of the other's bias")
    last.legend(fontsize=9)
    return fig
