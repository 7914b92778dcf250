"""GradAlign with beta = gamma / 2 has the implicit regulariser of SGD, one step after another."""

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
from experiments.grad_align.kinds import SgdRegulariser
from jcollab import plots


def run(config: SgdRegulariser, context: Context) -> list[Row]:
    """Gaps between end points for every learning rate."""
    with jax.enable_x64(True):
        rows = measure(config)
    for row in rows:
        context.log().write(row)
    context.save(_figure(rows), "sgd_regulariser")
    return rows


def measure(config: SgdRegulariser) -> list[Row]:
    """A row for each gamma: n steps of SGD, gradient descent and GradAlign from one start."""
    problem = problems.quadratic()
    n, extra = problem.n, problems.grad_variance(problem)
    orders = jnp.array(list(itertools.permutations(range(n))))

    def epoch(gamma: Any, order: Any) -> Any:
        """SGD: one client that meets the n batches one after another, leaves ``[n, 1, ...]``."""
        sgd = jc.centralized(problem.loss, optax.sgd(gamma))
        batches = jax.tree.map(lambda leaf: leaf[order][:, None], problem.data)
        key = jax.random.key(0)
        state, _ = jc.run(sgd, sgd.init(key, problem.start[None]), batches, key)
        return jc.params_of(state)[0]

    def ends(gamma: Any) -> tuple[Any, Any, Any]:
        aligned = jc.grad_align(problem.loss, optax.sgd(gamma), gamma / 2)
        return (
            jax.vmap(epoch, (None, 0))(gamma, orders).mean(0),
            problems.gradient_descent(problem, gamma, n),
            problems.end(problem, aligned, n),
        )

    gammas = jnp.asarray(config.gammas)
    sgd, descent, aligned = jax.jit(jax.vmap(ends))(gammas)
    predicted = -n * gammas[:, None] ** 2 / 4 * extra
    away, rest, near = (
        np.linalg.norm(difference, axis=1)
        for difference in (sgd - descent, sgd - descent - predicted, sgd - aligned)
    )
    return [
        {
            "gamma": gamma,
            "gap_to_gradient_descent": away[i],
            "order_gradient_descent": np.log2(away[i - 1] / away[i]) if i else None,
            "gap_to_grad_align": near[i],
            "order_grad_align": np.log2(near[i - 1] / near[i]) if i else None,
            "error_of_prediction": rest[i] / away[i],
        }
        for i, gamma in enumerate(config.gammas)
    ]


def claims(config: SgdRegulariser, rows: list[Row]) -> list[Claim]:
    """Second order from gradient descent, third from GradAlign."""
    found = []
    for name, label, order in (
        ("order_gradient_descent", "gradient descent", 2),
        ("order_grad_align", "GradAlign with beta = gamma/2", 3),
    ):
        orders = [row[name] for row in rows if row[name] is not None]
        if orders:
            worst = float(max(orders, key=lambda value: abs(value - order)))
            claim = f"SGD's mean over orders parts from {label} with order {order} (worst order)"
            found.append(Claim(claim, f"{order} within 0.05", worst, abs(worst - order) <= 0.05))
    last = rows[-1]
    closer = float(last["gap_to_gradient_descent"] / last["gap_to_grad_align"])
    claim = "at the smallest gamma, GradAlign is much closer to SGD (ratio of gaps)"
    found.append(Claim(claim, ">= 10", closer, closer >= 10))
    return found


@plots.style()
def _figure(rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(6.2, 4.6))
    ax = fig.subplots()
    gammas = np.array([row["gamma"] for row in rows])
    for name, label, order, color in (
        ("gap_to_gradient_descent", "to gradient descent", 2, plots.COLORS[1]),
        ("gap_to_grad_align", r"to GradAlign, $\beta = \gamma / 2$", 3, plots.COLORS[0]),
    ):
        gaps = np.array([row[name] for row in rows])
        ax.plot(gammas, gaps, "o-", color=color, label=label)
        guide = 0.6 * gaps[0] * (gammas / gammas[0]) ** order
        ax.plot(gammas, guide, ls=(0, (4, 2)), lw=1.2, color="gray")
        ax.annotate(
            rf"$\propto \gamma^{order}$", (gammas[0], guide[0]), ha="right",
            xytext=(-6, -26), textcoords="offset points", color="gray",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel=r"learning rate $\gamma$", ylabel="distance")
    ax.set_xticks(gammas, [f"{gamma:g}" for gamma in gammas])
    ax.minorticks_off()
    ax.set_title("from SGD after an epoch (mean of all orders)")
    ax.legend()
    return fig
