"""Several others with biases of the same sign, or biases that cancel.

Optimal model averaging, arXiv 2110.12946, the case of a weight for each client.

    python -m experiments optimal_averaging multi_node

Best weights of several others, on the simplex or not; biases that cancel.
Cost: 5 s on 2 cores.
Expected: risk / V_l .122 at opposite signs, scale 1; uniform .245.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, above, at_most, below
from experiments.fields import Bound, Count, NonNegative, Settings
from jcollab import plots
from jcollab.theory import averaging

METHODS = ("uniform", "one weight", "simplex", "optimal")


class Config(Settings):
    """A client with several others, whose biases have one sign or cancel."""

    # of each estimate, the client's own first
    variances: tuple[Annotated[float, Bound(at_least=1e-06)], ...] = (0.1, 0.05, 0.02, 0.2)
    biases: tuple[NonNegative, ...] = (0.3, 0.2, 0.05)  # sizes of the others' biases
    # of the biases
    scales: tuple[NonNegative, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    repetitions: Count = 200_000  # of the Monte Carlo
    seed: int = 0

    def _check(self) -> None:
        if len(self.biases) != len(self.variances) - 1:
            raise ValueError(
                f"biases must be those of the {len(self.variances) - 1} others, got {self.biases}"
            )


PRESETS = {"multi_node": Config()}
SMOKE = {"multi_node": {"repetitions": 500, "scales": (0.0, 1.0)}}


def patterns(config: Config) -> dict[str, np.ndarray]:
    """Returns biases of all estimates ``[M]``; the first, the client's own, is 0."""
    sizes = np.array([0.0, *config.biases])
    return {"one sign": sizes, "opposite signs": -sizes * (-1.0) ** np.arange(len(sizes))}


def all_weights(variances: np.ndarray, biases: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the weights of each method, ``[M]``."""
    count = len(variances)
    mean_variance = variances[1:].sum() / (count - 1) ** 2
    a = averaging.optimal_weight(variances[0], mean_variance, biases[1:].mean())
    return {
        "uniform": np.full(count, 1 / count),
        "one weight": np.concatenate([[1 - a], np.full(count - 1, a / (count - 1))]),
        "simplex": averaging.multi_node_weights(variances, biases, simplex=True),
        "optimal": averaging.multi_node_weights(variances, biases),
    }


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each pattern and scale; risks relative to learning alone."""
    variances = np.array(config.variances)
    noise = np.random.default_rng(config.seed).normal(size=(len(variances), config.repetitions))
    cases = context.cases(patterns(config).items(), config.scales, description="multi-node")
    exchange = jc.core.Round(jax.random.key(0), jnp.int32(0))
    for (pattern, sizes), scale in cases:
        biases = scale * sizes
        estimates = jnp.asarray(biases[:, None] + np.sqrt(variances)[:, None] * noise)
        row: Row = {"pattern": pattern, "scale": scale}
        for name, weights in all_weights(variances, biases).items():
            mixer = jc.mixing.collaboration(np.tile(weights, (len(weights), 1)))
            mixed, _ = mixer.update(estimates, mixer.init(estimates), exchange)
            risk = averaging.multi_node_risk(weights, variances, biases)
            row[name] = float(risk / variances[0])
            row[f"{name}_mc"] = float(jnp.mean(mixed[0] ** 2)) / variances[0]
        row["least_weight"] = float(weights.min())  # of the optimal ones
        yield row


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns the theory without Monte Carlo."""
    return [{k: v for k, v in row.items() if not k.endswith("_mc")} for row in rows]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The value of negative weights and of canceling biases."""
    off = max(abs(row[f"{name}_mc"] / row[name] - 1) for row in rows for name in METHODS)
    ordered = all(
        row["optimal"] <= row["simplex"] + 1e-12
        and row["simplex"] <= min(row["uniform"], row["one weight"]) + 1e-12
        and row["one weight"] < 1
        for row in rows
    )
    order = "optimal <= simplex <= one weight for all others < alone, everywhere"
    same, apart = (
        {row["scale"]: row for row in rows if row["pattern"] == pattern}
        for pattern in patterns(config)
    )
    least = min(row["least_weight"] for row in same.values())
    yield at_most("risk by Monte Carlo, largest deviation from theory", off, 0.02)
    yield Claim(order, "always", "always" if ordered else "not always", ordered)
    yield below("biases of one sign: a weight becomes negative", least, 0)
    scales = [scale for scale in config.scales if scale > 0]
    if scales:
        gain = min(same[scale]["simplex"] / apart[scale]["simplex"] for scale in scales)
        claim = "opposite signs cancel: risk on the simplex, one sign over opposite signs, least"
        yield above(claim, gain, 1)
        claim = "uniform weights lose to learning alone where biases are large (risk ratio)"
        yield above(claim, same[max(scales)]["uniform"], 1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Risks against the scale for both patterns, and the optimal weights at one scale."""
    fig, (*panels, last) = plots.subplots(1, 3, width_ratios=(1, 1, 0.9), figsize=(13.5, 4.3))
    variances = np.array(config.variances)
    fine = np.linspace(0, max(config.scales), 121)
    at = sorted(config.scales)[(len(config.scales) + 1) // 2]
    for i, (ax, (pattern, sizes)) in enumerate(zip(panels, patterns(config).items(), strict=True)):
        ax.axhline(1, color="black", lw=1, ls=":", label="alone")
        own = [row for row in rows if row["pattern"] == pattern]
        theory = [
            {
                name: averaging.multi_node_risk(weights, variances, scale * sizes) / variances[0]
                for name, weights in all_weights(variances, scale * sizes).items()
            }
            for scale in fine
        ]
        for color, name in zip(plots.COLORS, METHODS, strict=False):
            dashes = plots.DASHES[1] if name == "optimal" else "-"
            ax.plot(fine, [risk[name] for risk in theory], ls=dashes, color=color, label=name)
            measured = [row[f"{name}_mc"] for row in own]
            ax.plot([row["scale"] for row in own], measured, "o", ms=4.5, color=color)
        ax.set(title=f"Biases of {pattern}", xlabel="scale of the biases", ylim=(0, 1.5))
        weights = averaging.multi_node_weights(variances, at * sizes)
        places, color = np.arange(len(weights)) + (i - 0.5) * 0.38, plots.COLORS[4 + i]
        last.bar(places, weights, 0.38, color=color, label=pattern)
    panels[0].set_ylabel("mean squared error / alone")
    panels[1].legend(fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.66))
    last.axhline(0, color="black", lw=1)
    last.set_xticks(range(len(variances)), ["own", *(f"{bias:g}" for bias in config.biases)])
    last.set(title=f"Optimal weights at scale {at:g}", xlabel="size of the other's bias")
    last.legend(fontsize=9)
    context.save(fig, "multi_node")
