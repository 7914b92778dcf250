"""GradAlign descends on f + (beta/2) Var: the error of this is of second order in beta."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.grad_align import problems
from experiments.grad_align.kinds import Taylor
from jcollab import plots


def run(config: Taylor, context: Context) -> list[Row]:
    """The direction of one step for every beta, and with the opposite sign of the displacement."""
    with jax.enable_x64(True):
        rows = measure(config)
    for row in rows:
        context.log().write(row)
    context.save(_figure(rows), "taylor")
    return rows


def measure(config: Taylor) -> list[Row]:
    """A row for each beta, all from one program; in the precision that is on."""
    problem = problems.mlp()
    plain, extra = problems.grad_mean(problem), problems.grad_variance(problem)

    def direction(beta: Any) -> Any:
        step = jc.grad_align(problem.loss, optax.sgd(1.0), beta)
        return problem.start - problems.end(problem, step)

    betas = jnp.asarray(config.betas)
    both = jax.jit(jax.vmap(direction))(jnp.concatenate([betas, -betas]))
    aligned, opposed = jnp.split(both, 2)
    expected = plain + betas[:, None] / 2 * extra
    error, signal, wrong = (
        np.linalg.norm(difference, axis=1)
        for difference in (aligned - expected, aligned - plain, opposed - expected)
    )
    columns = zip(config.betas, error, signal, wrong, strict=True)
    rows: list[Row] = []
    for i, (beta, err, sig, bad) in enumerate(columns):
        ratio = error[i - 1] / err if i else None
        rows.append(
            {"beta": beta, "error": err, "ratio": ratio, "signal": sig, "wrong_sign_error": bad}
        )
    return rows


def claims(config: Taylor, rows: list[Row]) -> list[Claim]:
    """Second order, and the sign of the displacement."""
    found = []
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    if ratios:
        claim = "halving beta divides the error of the expansion by 4 (worst ratio)"
        worst = max(ratios, key=lambda ratio: abs(ratio - 4))
        found.append(Claim(claim, "3.9 to 4.1", worst, 3.9 <= worst <= 4.1))
    least = min(row["wrong_sign_error"] / row["signal"] for row in rows)
    claim = "with the opposite sign the error exceeds the signal (smallest ratio, 2 in the limit)"
    found.append(Claim(claim, ">= 1.7", least, least >= 1.7))
    return found


@plots.style()
def _figure(rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(6.2, 4.6))
    ax = fig.subplots()
    betas = np.array([row["beta"] for row in rows])
    lines = (
        ("wrong_sign_error", "error with the opposite sign", plots.COLORS[1]),
        ("signal", "what alignment adds to the gradient", plots.COLORS[2]),
        ("error", "error of the expansion", plots.COLORS[0]),
    )
    for name, label, color in lines:
        ax.plot(betas, [row[name] for row in rows], "o-", color=color, label=label)
    guide = 0.6 * rows[0]["error"] * (betas / betas[0]) ** 2
    ax.plot(betas, guide, ls=(0, (4, 2)), lw=1.2, color="gray", label=r"$\propto \beta^2$")
    ax.set(xscale="log", yscale="log", xlabel=r"displacement $\beta$", ylabel="norm")
    ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
    ax.minorticks_off()
    ax.set_title(r"one step against $\nabla (f + \frac{\beta}{2}\,\mathrm{Var})$")
    ax.legend(fontsize=9)
    return fig
