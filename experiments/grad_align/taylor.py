"""GradAlign descends on f + (beta/2) Var, up to an error of second order in beta.

Implicit gradient alignment, arXiv 2106.13897, the expansion of GradAlign's step.

    python -m experiments grad_align taylor

GradAlign's step against the gradient of f + (beta/2) Var, on a small tanh network.
Cost: seconds.
Expected: errors 1.077e-3 to 4.34e-6 for beta .2 to .0125, a quarter at each halving.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, at_least, between
from experiments.fields import Settings
from experiments.grad_align import _problems as problems
from jcollab import plots


class Config(Settings):
    """Displacements."""

    betas: problems.Halves = (0.2, 0.1, 0.05, 0.025, 0.0125)  # each half of the previous one
    seed: int = 0  # not used, nothing is random


PRESETS = {"taylor": Config()}
X64 = True
SMOKE = {"taylor": {"betas": (0.1, 0.05)}}


def run(config: Config, context: Context) -> list[Row]:
    """Computes the direction of a step for every beta and both signs of the displacement."""
    problem = problems.mlp()
    plain, extra = (jax.grad(f)(problem.start) for f in (problem.mean_loss, problem.variance))

    def direction(beta: Any) -> Any:
        return problem.start - problem.end(
            jc.algorithms.grad_align(problem.loss, optax.sgd(1.0), beta)
        )

    betas = jnp.asarray(config.betas)
    both = jax.jit(jax.vmap(direction))(jnp.concatenate([betas, -betas]))
    aligned, opposed = jnp.split(both, 2)
    expected = plain + betas[:, None] / 2 * extra
    error, signal, wrong = (
        np.linalg.norm(difference, axis=1)
        for difference in (aligned - expected, aligned - plain, opposed - expected)
    )
    names = "beta", "error", "ratio", "signal", "wrong_sign_error"
    columns = config.betas, error, [None, *(error[:-1] / error[1:])], signal, wrong
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The error has order 2, and the sign of the displacement matters."""
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    if ratios:
        claim = "halving beta divides the error of the expansion by 4 (worst ratio)"
        yield between(claim, max(ratios, key=lambda ratio: abs(ratio - 4)), 3.9, 4.1)
    least = min(row["wrong_sign_error"] / row["signal"] for row in rows)
    claim = "with the opposite sign the error exceeds the signal (smallest ratio, 2 in the limit)"
    yield at_least(claim, least, 1.7)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """The errors against beta."""
    lines = {
        "wrong_sign_error": ("error with the opposite sign", plots.COLORS[1], None),
        "signal": ("what alignment adds to the gradient", plots.COLORS[2], None),
        "error": ("error of the expansion", plots.COLORS[0], 2),
    }
    labels = {"xlabel": r"displacement $\beta$", "ylabel": "norm"}
    title = r"one step against $\nabla (f + \frac{\beta}{2}\,\mathrm{Var})$"
    context.save(problems.draw(rows, lines, title=title, **labels), "taylor")
