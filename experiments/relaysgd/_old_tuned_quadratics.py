"""Figures 7, 8 and 10: tuned methods on quadratics of growing heterogeneity."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.relaysgd.kinds import TunedQuadratics
from experiments.relaysgd.quadratic_methods import GOSSIP_WEIGHT, error_curves, method, stack
from experiments.relaysgd.search import Rule, tune
from jcollab import plots

# the original's problems (n=32, d=10, smallest singular value .5, seed 0 of its generator)
PROBLEMS = pathlib.Path(__file__).parent / "problems" / "fig7_8_10.npz"
RECORDED_SIZE = (32, 10)
# figure: {(method, topology): cap of the learning rate in the final run}
METHODS = {
    "fig7": {
        ("D-PSGD", "ring"): 0.02,
        ("D2", "ring"): 0.02,
        ("gradient tracking", "ring"): 0.02,
        ("RelaySGD", "chain"): 0.2,
    },
    "fig8": {
        ("D2", "star"): np.inf,
        ("gradient tracking", "star"): np.inf,
        ("RelaySGD", "star"): np.inf,
    },
    "fig10": {
        ("D-PSGD", "ring"): np.inf,
        ("RelaySGD/Grad", "chain"): np.inf,
        ("RelaySGD", "chain"): np.inf,
    },
}
# (figure, method): steps and learning rates recorded for the original's three heterogeneities
RECORDED = {
    ("fig7", "D-PSGD"): ((13, 1469, 19818), (1.25, 0.0103759765625, 0.000762939453125)),
    ("fig7", "D2"): ((18, 34, 54), (0.394287109375, 0.1953125, 0.15625)),
    ("fig7", "gradient tracking"): (
        (10, 301, 641),
        (0.4345703125, 0.019330978393554688, 0.0095367431640625),
    ),
    ("fig7", "RelaySGD"): ((51, 51, 54), (0.869140625, 0.869140625, 0.8984375)),
    ("fig8", "D2"): ((65, 65, 65), (0.078125, 0.078125, 0.078125)),
    ("fig8", "gradient tracking"): (
        (9, 280, 295),
        (0.72265625, 0.01781463623046875, 0.017242431640625),
    ),
    ("fig8", "RelaySGD"): ((8, 8, 8), (0.78125, 0.78125, 0.78125)),
    ("fig10", "RelaySGD/Grad"): (
        (134, 132, 282),
        (0.0653076171875, 0.06549835205078125, 0.0390625),
    ),
    ("fig10", "RelaySGD"): ((51, 51, 50), (0.869140625, 0.869140625, 0.8837890625)),
}


def run(config: TunedQuadratics, context: Context) -> list[Row]:
    """Tunes every method on every problem, then runs it with the learning rate found."""
    with jax.enable_x64(True):
        return _run(config, context)


def _run(config: TunedQuadratics, context: Context) -> list[Row]:
    problems, least = stack([_problem(config, zeta2) for zeta2 in config.zetas])
    keys = jax.random.split(jax.random.key(config.seed), len(config.zetas))
    recorded = _is_recorded(config)
    rows: list[Row] = []
    curves: dict[str, np.ndarray] = {}
    chosen = METHODS[config.figure]
    task = context.progress.add_task("tuning", total=len(chosen))
    for (name, graph), cap in chosen.items():
        if context.stop.is_set():
            return rows
        best = tune(method(name, graph, config.n), problems, least, _rule(config, name))
        rates = np.nan_to_num(np.minimum(np.asarray(best.learning_rate), cap))
        weight = GOSSIP_WEIGHT if config.noise and name in ("D2", "gradient tracking") else 0.0
        final = method(name, graph, config.n, noise=config.noise, weight=weight)
        curves[f"{name} ({graph})"] = error_curves(final, problems, rates, config.rounds, keys)
        for i, zeta2 in enumerate(config.zetas):
            steps, rate = RECORDED.get((config.figure, name), ((None,) * 3, (None,) * 3))
            row = {
                "algorithm": name,
                "topology": graph,
                "zeta2": zeta2,
                "steps": int(best.steps[i]),
                "learning_rate": float(best.learning_rate[i]),
                "recorded_steps": steps[i] if recorded else None,
                "recorded_learning_rate": rate[i] if recorded else None,
                "final_learning_rate": float(rates[i]),
                "final_error": float(curves[f"{name} ({graph})"][i, -1]),
            }
            rows.append(row)
            context.log().write(row | {"errors": curves[f"{name} ({graph})"][i, ::10]})
        context.progress.advance(task)
    context.save(_figure(config, curves), config.figure)
    return rows


def claims(config: TunedQuadratics, rows: list[Row]) -> list[Claim]:
    """Digit for digit where the original recorded its numbers; independence of heterogeneity."""
    found = []
    names = dict.fromkeys(row["algorithm"] for row in rows)
    for name in names:
        own = [row for row in rows if row["algorithm"] == name]
        if any(row["recorded_steps"] is None for row in own):
            continue
        same = all(
            row["steps"] == row["recorded_steps"]
            and np.isclose(row["learning_rate"], row["recorded_learning_rate"], rtol=1e-9)
            for row in own
        )
        found.append(
            Claim(
                f"{name}: tuned steps and learning rates are those of the original",
                "; ".join(
                    f"{r['recorded_steps']} at {r['recorded_learning_rate']:.6g}" for r in own
                ),
                "; ".join(f"{r['steps']} at {r['learning_rate']:.6g}" for r in own),
                same,
            )
        )
    relay = [row["steps"] for row in rows if row["algorithm"] == "RelaySGD"]
    ratio = max(relay) / min(relay)
    found.append(
        Claim(
            "heterogeneity does not slow RelaySGD down (most steps / fewest)",
            "<= 1.1", ratio, ratio <= 1.1,
        )
    )  # fmt: skip
    return found


def _is_recorded(config: TunedQuadratics) -> bool:
    same_size = (config.n, config.d) == RECORDED_SIZE
    return config.recorded_problems and same_size and len(config.zetas) == 3


def _problem(config: TunedQuadratics, zeta2: float) -> jc.data.Quadratics:
    if not _is_recorded(config):
        return jc.data.random_quadratics(config.n, config.d, zeta2=zeta2, seed=config.seed)
    stored = np.load(PROBLEMS)
    if f"A_zeta{zeta2:g}" not in stored:
        known = sorted(key.removeprefix("A_zeta") for key in stored if key.startswith("A"))
        raise ValueError(f"zetas must be among {', '.join(known)} with recorded problems")
    return jc.data.Quadratics(stored[f"A_zeta{zeta2:g}"], stored[f"B_zeta{zeta2:g}"][..., 0])


def _rule(config: TunedQuadratics, name: str) -> Rule:
    """Gossip and the Grad form come to rest above the optimum: their plateau is tuned."""
    if name == "D-PSGD":
        return Rule(plateau=True, max_steps=7 * config.max_steps)
    if name == "RelaySGD/Grad":
        return Rule(plateau=True, max_steps=3 * config.max_steps // 10)
    return Rule(max_steps=config.max_steps)


@plots.style()
def _figure(config: TunedQuadratics, curves: dict[str, np.ndarray]) -> Any:
    fig = plots.figure(figsize=(4.2 * len(config.zetas), 3.8))
    panels = fig.subplots(1, len(config.zetas), sharey=True, squeeze=False)[0]
    for i, (ax, zeta2) in enumerate(zip(panels, config.zetas, strict=True)):
        for color, (label, errors) in zip(plots.COLORS, curves.items(), strict=False):
            ax.plot(np.maximum(errors[i], 1e-14), color=color, label=label, lw=1.6)
        ax.set(title=f"heterogeneity {zeta2:g}", xlabel="rounds", yscale="log")
        ax.set_ylim(1e-12 if config.noise == 0 else 1e-7, None)
    panels[0].set_ylabel("suboptimality of the mean model")
    panels[0].legend(loc="upper right", fontsize=9)
    return fig
