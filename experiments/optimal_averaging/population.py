"""Clients of a population: one weight for all, in theory and through the mixer.

Optimal model averaging, arXiv 2110.12946, the case of many clients.

    python -m experiments optimal_averaging population

20 clients of a population: weights and risks, theory and the mixer.
Cost: 15 s on 2 cores.
Expected: spread .3: a* = .655 with MSE .069, alone .2, all together .105.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above, at_most
from experiments.fields import Count, NonNegative, Plural, Settings
from jcollab import plots
from jcollab.theory import averaging

RULES = {
    "plug-in each": averaging.positive_part,
    "plug-in shared": averaging.shared_weight(averaging.positive_part),
}


class Config(Settings):
    """Clients with random targets, averaged by the mixer."""

    n: Plural = 20
    num_samples: Count = 5  # of each client
    variance: NonNegative = 1.0  # of a sample
    # standard deviations of the clients' targets
    spreads: tuple[NonNegative, ...] = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 1.0, 2.0)
    num_weights: Plural = 101  # points of the grid of weights in [0, 1]
    repetitions: Count = 40_000  # of the Monte Carlo
    seed: int = 0

    @property
    def clients(self) -> tuple[int, int, float]:
        """Arguments of the theory other than the spread."""
        return self.n, self.num_samples, self.variance

    @property
    def weights(self) -> np.ndarray:
        """Grid of weights."""
        return np.linspace(0, 1, self.num_weights)


PRESETS = {"population": Config()}
SMOKE = {"population": {"repetitions": 500, "spreads": (0.0, 0.3), "num_weights": 11}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each spread of the targets."""
    simulate = make_simulation(config)
    for i, spread in context.cases(enumerate(config.spreads), description="population"):
        errors, ruled = simulate(jax.random.fold_in(jax.random.key(config.seed), i), spread)
        context.kept[spread] = errors
        best = averaging.population_weight(*config.clients, spread)
        row = {"spread": spread, "a*": float(best), "a_mc": config.weights[errors.argmin()]}
        for name, weight in (("local", 0), ("global", 1), ("best", best)):
            row[name] = float(averaging.population_risk(weight, *config.clients, spread))
        row |= {"local_mc": errors[0], "global_mc": errors[-1], "best_mc": errors.min(), **ruled}
        yield row


def make_simulation(config: Config) -> Any:
    """Returns ``simulate(key, spread)``: mean squared errors of weights ``[A]`` and of rules."""
    size = config.n, config.repetitions
    variance = config.variance / config.num_samples

    def risk(mixer: jc.Mixer, key: Any, x: Any, targets: Any) -> Any:
        mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(key, 0))
        return jnp.mean((mixed - targets) ** 2)

    @jax.jit
    def simulate(key: Any, spread: Any) -> Any:
        target_key, noise_key = jax.random.split(key)
        targets = spread * jax.random.normal(target_key, size)
        local = targets + jnp.sqrt(variance) * jax.random.normal(noise_key, size)
        fixed = jax.lax.map(
            lambda a: risk(jc.personal_average(a), key, local, targets),
            jnp.asarray(config.weights, jnp.float32),
        )
        ruled = {}
        for name, rule in RULES.items():  # each repetition is one exchange, with its own weights
            mixer = jc.personal_average(rule, variance=variance)
            ruled[name] = jax.vmap(risk, (None, None, 1, 1))(mixer, key, local, targets).mean()
        return fixed, ruled

    return lambda key, spread: jax.device_get(simulate(key, spread))


def claims(config: Config, rows: list[Row]) -> Claims:
    """Measured and predicted best weights, and risks of the rules."""
    within = max(abs(row["a_mc"] - row["a*"]) for row in rows)
    names = ("local", "global", "best")
    off = max(abs(row[f"{name}_mc"] / row[name] - 1) for row in rows for name in names)
    gain = min(min(row["local"], row["global"]) / row["best"] for row in rows if row["spread"])
    shared, each = (max(row[name] / row["local"] for row in rows) for name in reversed(RULES))
    step = 1 / (config.num_weights - 1)
    beats = "the best weight beats both alone and all together (ratio of risks, least)"
    never = "one weight estimated from all clients never loses to learning alone (risk ratio)"
    loses = "a weight estimated by each client alone loses to learning alone at some spread"
    yield at_most("the best of the measured weights is the predicted one", within, 2 * step)
    yield at_most("measured risks, largest deviation from theory", off, 0.01)
    yield above(beats, gain, 1)
    yield at_most(never, shared, 1)
    yield above(loses, each, 1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Errors against the weight, and against the spread."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(11, 4.4))
    chosen = config.spreads if len(config.spreads) <= 5 else config.spreads[:7:2]
    for color, spread in zip(plots.COLORS, chosen, strict=False):
        theory = averaging.population_risk(config.weights, *config.clients, spread)
        left.plot(config.weights, theory, color=color, label=f"{spread:g}")
        left.plot(config.weights[::5], context.kept[spread][::5], "o", ms=4, color=color)
        best = averaging.population_weight(*config.clients, spread)
        lowest = averaging.population_risk(best, *config.clients, spread)
        left.plot(best, lowest, "*", ms=13, color=color)
    local = rows[0]["local"]
    left.set(title="One weight for all clients", ylim=(0, 2.2 * local), xlim=(0, 1))
    left.set(xlabel="weight of the others $a$", ylabel="mean squared error")
    left.legend(title="spread of the targets", title_fontsize=9, fontsize=9, ncol=2)
    spreads = np.array([row["spread"] for row in rows])
    fine = np.linspace(0, spreads.max(), 200)
    right.axhline(1, color="black", lw=1, ls=":", label="alone")
    optimal = averaging.population_weight(*config.clients, fine)
    lines = {"all together": 1, "best weight": optimal}
    for color, (name, weight) in zip(plots.COLORS, lines.items(), strict=False):
        risks = averaging.population_risk(weight, *config.clients, fine)
        right.plot(fine, risks / local, color=color, label=name)
    for color, name in zip(plots.COLORS[2:], RULES, strict=False):
        values = [row[name] / row["local"] for row in rows]
        right.plot(spreads, values, "o--", ms=6, lw=1.2, color=color, label=name)
    right.set(title="What the weight is worth", xlabel="spread of the targets", ylim=(0, 1.6))
    right.set_ylabel("mean squared error / alone")
    right.legend(fontsize=9, loc="lower right")
    context.save(fig, "population")
