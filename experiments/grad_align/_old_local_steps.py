"""Local steps descend on f + (c/2) Var: c of FedAvg, FedGA and SCAFFOLD, measured."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.grad_align import problems
from experiments.grad_align.kinds import LocalSteps
from jcollab import plots

EXACT = 1e-9  # of the coefficient, where the expansion has no remainder


def run(config: LocalSteps, context: Context) -> list[Row]:
    """One round of every method for every K, beta and gamma."""
    with jax.enable_x64(True):
        rows = measure(config)
    for row in rows:
        context.log().write(row)
    context.save(_figure(config, rows), "local_steps")
    return rows


def measure(config: LocalSteps) -> list[Row]:
    """Rows of a K come from one program, over all gammas and ratios."""
    problem = problems.quadratic()
    extra = problems.grad_variance(problem)
    gammas, ratios = jnp.asarray(config.gammas), jnp.asarray(config.ratios)
    rows: list[Row] = []
    for steps in config.steps:
        displaced, corrected = jax.jit(
            lambda gammas, ratios, steps=steps: (
                jax.vmap(jax.vmap(_fedga, (None, None, 0, None)), (None, None, None, 0))(
                    problem, steps, gammas, ratios
                ),
                jax.vmap(_scaffold, (None, None, 0))(problem, steps, gammas),
            )
        )(gammas, ratios)
        for ratio, ends in zip(config.ratios, np.asarray(displaced), strict=True):
            for gamma, moved in zip(config.gammas, ends, strict=True):
                method = "FedGA" if ratio else "FedAvg"
                rows.append(_row(method, steps, ratio, gamma, moved, np.asarray(extra)))
        for gamma, moved in zip(config.gammas, np.asarray(corrected), strict=True):
            rows.append(_row("SCAFFOLD", steps, None, gamma, moved, np.asarray(extra)))
    return rows


def _fedga(problem: problems.Problem, steps: int, gamma: Any, ratio: Any) -> Any:
    """How far FedGA ends from as many steps of gradient descent."""
    algorithm = jc.federated(
        problem.loss,
        optax.sgd(gamma),
        local_steps=steps,
        source=jc.sources.repeated(),
        drift=jc.local.gradient_alignment(ratio * gamma),
    )
    return problems.end(problem, algorithm) - problems.gradient_descent(problem, gamma, steps)


def _scaffold(problem: problems.Problem, steps: int, gamma: Any) -> Any:
    algorithm = jc.federated(
        problem.loss,
        optax.chain(jc.local.control_variate(), optax.sgd(gamma)),
        local_steps=steps,
        source=jc.sources.repeated(),
        drift=jc.local.scaffold(recomputed=True),
    )
    return problems.end(problem, algorithm) - problems.gradient_descent(problem, gamma, steps)


def _row(method: str, steps: int, ratio: float | None, gamma: float, moved: Any, extra: Any) -> Row:
    """What a round added to gradient descent, as a multiple of -(gamma K / 2) grad Var."""
    predicted = 0.0 if ratio is None else ratio - (steps - 1) / 2
    unit = -gamma * steps / 2 * extra
    scale = np.linalg.norm(moved)
    error = np.linalg.norm(moved - predicted * gamma * unit)
    return {
        "method": method,
        "K": steps,
        "beta_over_gamma": ratio,
        "gamma": gamma,
        "predicted": predicted,
        "measured": moved @ unit / (unit @ unit) / gamma,
        "relative_error": error / scale if predicted else None,
        "distance": scale,
    }


def shown(config: LocalSteps, rows: list[Row]) -> list[Row]:
    """A line for each method, K and beta: the coefficients and errors at every gamma."""
    table: dict[tuple, Row] = {}
    for row in rows:
        case = (row["method"], row["K"], row["beta_over_gamma"])
        line = table.setdefault(
            case,
            {name: row[name] for name in ("method", "K", "beta_over_gamma")}
            | {"c/gamma": row["predicted"]},
        )
        if row["gamma"] == min(config.gammas):
            line["measured"] = row["measured"]
        line[f"error {row['gamma']:g}"] = row["relative_error"]
    return list(table.values())


def scaffold_ratios(rows: list[Row], steps: int) -> list[float]:
    """(SCAFFOLD - GD) / (FedAvg - GD) in norm, for every gamma."""
    far = {r["gamma"]: r["distance"] for r in rows if (r["method"], r["K"]) == ("FedAvg", steps)}
    near = [r for r in rows if (r["method"], r["K"]) == ("SCAFFOLD", steps)]
    return [row["distance"] / far[row["gamma"]] for row in near if far[row["gamma"]] > 0]


def claims(config: LocalSteps, rows: list[Row]) -> list[Claim]:
    """c = beta - gamma (K - 1) / 2, and 0 for SCAFFOLD."""
    found = []
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if row["relative_error"] is not None:
            groups.setdefault((row["K"], row["beta_over_gamma"]), []).append(row["relative_error"])
    exact = [max(e) for (steps, ratio), e in groups.items() if _is_exact(steps, ratio)]
    if exact:
        claim = "K = 1, and K = 2 with beta = 0: the expansion is exact (largest relative error)"
        found.append(Claim(claim, f"<= {EXACT:g}", float(max(exact)), max(exact) <= EXACT))
    halvings = [
        a / b
        for (steps, ratio), errors in groups.items()
        if not _is_exact(steps, ratio)
        for a, b in itertools.pairwise(errors)
    ]
    if halvings:
        worst = float(max(halvings, key=lambda value: abs(value - 2)))
        claim = "otherwise the relative error of c halves with gamma (worst ratio)"
        found.append(Claim(claim, "1.9 to 2.1", worst, 1.9 <= worst <= 2.1))
    steps = max(config.steps)
    ratios = scaffold_ratios(rows, steps)
    if steps > 2 and ratios:
        claim = f"SCAFFOLD stays near gradient descent: its drift over FedAvg's, K = {steps}"
        found.append(Claim(claim, "<= 0.02", float(max(ratios)), max(ratios) <= 0.02))
    return found


def _is_exact(steps: int, ratio: float) -> bool:
    return steps == 1 or (steps == 2 and ratio == 0)


@plots.style()
def _figure(config: LocalSteps, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(6.6, 4.8))
    ax = fig.subplots()
    gamma = min(config.gammas)
    across = np.linspace(0, max(config.ratios), 2)
    for color, steps in zip(plots.COLORS, config.steps, strict=False):
        own = [r for r in rows if r["gamma"] == gamma and r["K"] == steps]
        ax.plot(across, across - (steps - 1) / 2, color=color, lw=1.4)
        aligned = [r for r in own if r["beta_over_gamma"] is not None]
        ax.plot(
            [r["beta_over_gamma"] for r in aligned],
            [r["measured"] for r in aligned],
            "o", color=color, ms=8, label=f"K = {steps}",
        )  # fmt: skip
        for row in own:
            if row["method"] == "SCAFFOLD" and steps == max(config.steps):
                ax.axhline(row["measured"], color=color, lw=1.4, ls=(0, (4, 2)))
                ax.annotate(
                    f"SCAFFOLD, K = {steps}", (across[-1], row["measured"]), ha="right",
                    xytext=(0, 5), textcoords="offset points", color=color, fontsize=9,
                )  # fmt: skip
    ax.set(xlabel=r"$\beta / \gamma$ of FedGA (FedAvg at 0)", ylabel=r"coefficient $c / \gamma$")
    ax.set_title(r"a round descends on $f + \frac{c}{2}$ Var;  lines: $\beta - \gamma (K-1)/2$")
    ax.legend(title="measured")
    return fig
