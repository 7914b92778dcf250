"""Local steps descend on f + (c/2) Var: c of FedAvg, FedGA and SCAFFOLD, measured.

Implicit gradient alignment, arXiv 2106.13897, the expansion of local steps.

    python -m experiments grad_align local_steps

The coefficient c of the variance in FedAvg, FedGA and SCAFFOLD, measured.
Cost: seconds.
Expected: c = beta - gamma (K - 1) / 2; at K = 5, beta = 0: errors 5.1, 2.5, 1.24 %.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import contract
from experiments.contract import Claims, Context, Row, Rows, at_most, between, columns, pivoted
from experiments.fields import Count, Settings
from experiments.grad_align import _problems as problems
from experiments.grad_align._training import Displacements, local_method
from jcollab import plots

EXACT = 1e-9  # tolerance for the coefficient if the expansion has no remainder


class Config(Settings):
    """Learning rates, local steps and displacements."""

    gammas: problems.Halves = (0.01, 0.005, 0.0025)  # learning rates, each half of the previous one
    steps: tuple[Count, ...] = (1, 2, 5)  # numbers of local steps K
    ratios: Displacements = (0.0, 0.5, 1.0, 2.0)  # beta / gamma of FedGA; 0 is FedAvg
    seed: int = 0  # not used, nothing is random


PRESETS = {"local_steps": Config()}
X64 = True
SMOKE = {"local_steps": {"gammas": (0.01, 0.005), "steps": (2,), "ratios": (0.0, 1.0)}}
# errors of the predicted coefficient by gamma, a line for each method, K and beta
shown = pivoted("method K beta_over_gamma predicted", "gamma", "relative_error")


def run(config: Config, context: Context) -> Rows:
    """Runs each method and K for all gammas in one program."""
    problem = problems.quadratic()
    extra = np.asarray(jax.grad(problem.variance)(problem.start))
    gammas = jnp.asarray(config.gammas)
    for steps, ratio in itertools.product(config.steps, (*config.ratios, None)):
        method = "SCAFFOLD" if ratio is None else "FedGA"

        def moved(gamma: Any, method: str = method, steps: int = steps, ratio: Any = ratio) -> Any:
            """Returns the difference to as many steps of gradient descent."""
            beta = (ratio or 0.0) * gamma
            algorithm = local_method(method, problem.loss, beta, steps, optax.sgd(gamma))
            return problem.end(algorithm) - problem.gradient_descent(gamma, steps)

        predicted = 0.0 if ratio is None else ratio - (steps - 1) / 2
        for gamma, end in zip(config.gammas, jax.jit(jax.vmap(moved))(gammas), strict=True):
            # the difference to gradient descent, as a multiple of -(gamma K / 2) grad Var
            away, unit = np.asarray(end), -gamma * steps / 2 * extra
            error = np.linalg.norm(away - predicted * gamma * unit)
            yield {
                "method": "FedAvg" if ratio == 0 else method,
                "K": steps,
                "beta_over_gamma": ratio,
                "gamma": gamma,
                "predicted": predicted,
                "measured": away @ unit / (unit @ unit) / gamma,
                "relative_error": error / np.linalg.norm(away) if predicted else None,
                "distance": np.linalg.norm(away),
            }


def scaffold_ratios(rows: list[Row], steps: int) -> list[float]:
    """Computes ||SCAFFOLD - GD|| / ||FedAvg - GD|| for every gamma."""
    cases = contract.groups(rows, "method K")
    near, far = (columns(cases[name, steps], "distance")[0] for name in ("SCAFFOLD", "FedAvg"))
    return [*(near[far > 0] / far[far > 0])]


def claims(config: Config, rows: list[Row]) -> Claims:
    """c = beta - gamma (K - 1) / 2, and 0 for SCAFFOLD."""
    exact, halvings = [], []
    measured = [row for row in rows if row["relative_error"] is not None]
    for (steps, ratio), own in contract.groups(measured, "K beta_over_gamma").items():
        errors = columns(own, "relative_error")[0]
        if steps == 1 or (steps == 2 and ratio == 0):
            exact += [*errors]
        else:
            halvings += [*(errors[:-1] / errors[1:])]
    if exact:
        claim = "K = 1, and K = 2 with beta = 0: the expansion is exact (largest relative error)"
        yield at_most(claim, max(exact), EXACT)
    if halvings:
        claim = "otherwise the relative error of c halves with gamma (worst ratio)"
        yield between(claim, max(halvings, key=lambda value: abs(value - 2)), 1.9, 2.1)
    steps = max(config.steps)
    ratios = scaffold_ratios(rows, steps)
    if steps > 2 and ratios:
        claim = f"SCAFFOLD stays near gradient descent: its drift over FedAvg's, K = {steps}"
        yield at_most(claim, max(ratios), 0.02)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the coefficients against beta, measured and predicted."""
    fig, ax = plots.subplots(figsize=(6.6, 4.8))
    across = np.linspace(0, max(config.ratios), 2)
    for color, steps in zip(plots.COLORS, config.steps, strict=False):
        own = [r for r in rows if r["gamma"] == min(config.gammas) and r["K"] == steps]
        *aligned, scaffold = [row["measured"] for row in own]
        ax.plot(across, across - (steps - 1) / 2, color=color, lw=1.4)
        ax.plot(config.ratios, aligned, "o", color=color, ms=8, label=f"K = {steps}")
        if steps == max(config.steps):
            style = {"lw": 1.4, "ls": plots.DASHES[1], "label": f"SCAFFOLD, K = {steps}"}
            ax.axhline(scaffold, color=color, **style)
    ax.set(xlabel=r"$\beta / \gamma$ of FedGA (FedAvg at 0)", ylabel=r"coefficient $c / \gamma$")
    ax.set_title(r"a round descends on $f + \frac{c}{2}$ Var;  lines: $\beta - \gamma (K-1)/2$")
    ax.legend(title="measured")
    context.save(fig, "local_steps")
