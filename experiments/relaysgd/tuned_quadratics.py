"""Tuned methods on quadratics of growing heterogeneity.

RelaySGD, arXiv 2110.04175, Figures 7, 8 and 10.

    python -m experiments relaysgd fig7

Gossip, D2, gradient tracking and RelaySGD tuned on 32 clients in a circle, noise.
Cost: 1 minute on 2 cores.
Expected: RelaySGD 51, 51, 54 steps at learning rates .869, .869, .898.

    python -m experiments relaysgd fig8

D2, gradient tracking and RelaySGD tuned on a star of 32 clients.
Cost: half a minute on 2 cores.
Expected: RelaySGD 8 steps, D2 65, gradient tracking 9 to 295.

    python -m experiments relaysgd fig10

Gossip, RelaySGD/Grad and RelaySGD tuned on a chain of 32 clients.
Cost: half a minute on 2 cores.
Expected: RelaySGD 51, 51, 50 steps, RelaySGD/Grad 134, 132, 282.

Learning rates are tuned without noise. Gossip and RelaySGD/Grad do not reach the optimum, so that
their final error is tuned.
"""

import functools
import pathlib
from typing import Literal

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, at_most
from experiments.fields import Count, NonNegative, Settings
from experiments.relaysgd._methods import GRAPHS, METHODS, published
from experiments.relaysgd._quadratics import error_curves, method, stack, tune
from jcollab import plots
from jcollab.data.synthetic import Quadratics

# the original's problems (n=32, d=10, smallest singular value .5, seed 0 of its generator)
PROBLEMS = pathlib.Path(__file__).parent / "problems" / "fig7_8_10.npz"
# by figure, the methods, and the largest learning rate of the final runs
COMPARED = {
    "fig7": dict.fromkeys(("D-PSGD ring", "D2 ring", "gradient tracking ring"), 0.02)
    | {"RelaySGD chain": 0.2},
    "fig8": dict.fromkeys(("D2 star", "gradient tracking star", "RelaySGD star"), np.inf),
    "fig10": dict.fromkeys(("D-PSGD ring", "RelaySGD/Grad chain", "RelaySGD chain"), np.inf),
}
GOSSIP_WEIGHT = 1 / 3 - 0.01  # keeps D2's mixing matrix on a ring away from its limit of -1/3


class Config(Settings):
    """Methods and problems."""

    figure: Literal["fig7", "fig8", "fig10"] = "fig7"
    zetas: tuple[NonNegative, ...] = (0.0, 0.1, 10.0)  # heterogeneities zeta^2
    noise: NonNegative = 0.05  # sigma of the gradients once the learning rates are tuned
    rounds: Count = 2000  # length of the final runs
    n: Count = 32  # clients
    d: Count = 10  # dimension
    max_steps: Count = 10_000  # rounds after which a run of the search stops
    seed: int = 0  # of gradient noise, and of random problems
    recorded_problems: bool = True  # uses the original's problems if n, d and zetas agree with them


PRESETS = {
    "fig7": Config(),
    "fig8": Config(figure="fig8", zetas=(0.0, 0.01, 0.1), noise=0.0, rounds=400),
    "fig10": Config(figure="fig10", zetas=(0.0, 0.01, 1.0), noise=0.0, rounds=1000),
}
X64 = True
SMOKE = {name: {"n": 4, "d": 3, "rounds": 20, "max_steps": 100} for name in PRESETS}


def run(config: Config, context: Context) -> Rows:
    """Tunes every method on every problem, then runs it with the tuned learning rate."""
    recorded = config.recorded_problems and (config.n, config.d) == (32, 10)
    stored = np.load(PROBLEMS) if recorded else {}
    drawn = functools.partial(
        jc.data.synthetic.random_quadratics, config.n, config.d, seed=config.seed
    )
    problems = stack(
        [
            Quadratics(stored[f"A_zeta{zeta2:g}"], stored[f"B_zeta{zeta2:g}"][..., 0])
            if f"A_zeta{zeta2:g}" in stored
            else drawn(zeta2=zeta2)
            for zeta2 in config.zetas
        ]
    )
    keys = jax.random.split(jax.random.key(config.seed), len(config.zetas))
    plateaus = {"D-PSGD": 7.0, "RelaySGD/Grad": 0.3}  # times max_steps
    for label, largest in context.cases(COMPARED[config.figure].items(), description="tuning"):
        name, _, graph = label.rpartition(" ")
        most = int(plateaus.get(name, 1) * config.max_steps)
        best = tune(method(label, config.n), problems, max_steps=most, plateau=name in plateaus)
        rates = np.nan_to_num(np.minimum(best.learning_rate, largest))
        mixer = None
        if config.noise and name in ("D2", "gradient tracking"):
            mixer = jc.gossip(jc.topology.constant_weights(GRAPHS[graph](config.n), GOSSIP_WEIGHT))
        final = method(label, config.n, noise=config.noise, mixer=mixer)
        errors = np.asarray(error_curves(final, problems, rates, config.rounds, keys))
        context.kept[label] = errors
        for i, zeta2 in enumerate(config.zetas):
            known = (recorded and published(config.figure, name, zeta2)) or (None, None)
            row = METHODS[label].tags | {
                "zeta2": zeta2,
                "steps": best.steps[i].item(),
                "learning_rate": best.learning_rate[i].item(),
                "recorded_steps": known[0],
                "recorded_learning_rate": known[1],
                "final_learning_rate": rates[i],
                "final_error": errors[i, -1],
            }
            yield row
            context.log(row | {"errors": errors[i, ::10]})


def claims(config: Config, rows: list[Row]) -> Claims:
    """Equality with recorded numbers of the original; independence of heterogeneity."""
    for name in dict.fromkeys(row["algorithm"] for row in rows):
        own = [row for row in rows if row["algorithm"] == name]
        tuned, recorded = (
            [(row[f"{kind}steps"], row[f"{kind}learning_rate"]) for row in own]
            for kind in ("", "recorded_")
        )
        if (None, None) not in recorded:
            sentence = f"{name}: tuned steps and learning rates are those of the original"
            texts = [
                "; ".join(f"{n} at {rate:.6g}" for n, rate in case) for case in (recorded, tuned)
            ]
            same = np.allclose(tuned, recorded, rtol=1e-9, atol=0)
            yield Claim(sentence, *texts, same)
    relay = [row["steps"] for row in rows if row["algorithm"] == "RelaySGD"]
    sentence = "heterogeneity does not slow RelaySGD down (most steps / fewest)"
    yield at_most(sentence, max(relay) / min(relay), 1.1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Error against rounds, one panel for each heterogeneity."""
    fig, panels = plots.row(len(config.zetas), 4.2, 3.8)
    for i, (ax, zeta2) in enumerate(zip(panels, config.zetas, strict=True)):
        for color, (label, errors) in zip(plots.COLORS, context.kept.items(), strict=False):
            ax.plot(np.maximum(errors[i], 1e-14), color=color, label=label, lw=1.6)
        ax.set(title=f"heterogeneity {zeta2:g}", xlabel="rounds", yscale="log")
        ax.set_ylim(1e-12 if config.noise == 0 else 1e-7, None)
    panels[0].set_ylabel("suboptimality of the mean model")
    panels[0].legend(loc="upper right", fontsize=9)
    context.save(fig, config.figure)
