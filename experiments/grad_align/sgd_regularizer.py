"""GradAlign with beta = gamma / 2 has the implicit regularizer of sequential SGD.

Implicit gradient alignment, arXiv 2106.13897, the comparison with SGD.

    python -m experiments grad_align sgd_regulariser

An epoch of SGD in all orders of five batches, and GradAlign with beta = gamma/2.
Cost: seconds.
Expected: gap to gradient descent 4.6e-4 to 3.0e-5, to GradAlign 1.0e-5 to 1.6e-7.
"""

import itertools
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
    """Learning rates."""

    gammas: problems.Halves = (0.01, 0.005, 0.0025)  # each half of the previous one
    seed: int = 0  # not used, all orders are enumerated


PRESETS = {"sgd_regulariser": Config()}
X64 = True
SMOKE = {"sgd_regulariser": {"gammas": (0.01, 0.005)}}


def run(config: Config, context: Context) -> list[Row]:
    """Yields a row for each gamma: n steps of SGD, gradient descent and GradAlign."""
    problem = problems.quadratic()
    n, extra = len(problem.data["b"]), jax.grad(problem.variance)(problem.start)
    orders = jnp.array(list(itertools.permutations(range(n))))

    def epoch(gamma: Any, order: Any) -> Any:
        """Runs SGD as one client that uses n batches in turn, leaves ``[n, 1, ...]``."""
        sgd = jc.centralized(problem.loss, optax.sgd(gamma))
        batches = jax.tree.map(lambda leaf: leaf[order][:, None], problem.data)
        key = jax.random.key(0)
        state, _ = jc.run(sgd, sgd.init(problem.start[None]), jc.data.stacked(batches), key)
        return jc.params_of(state)[0]

    def ends(gamma: Any) -> tuple[Any, Any, Any]:
        aligned = jc.algorithms.grad_align(problem.loss, optax.sgd(gamma), gamma / 2)
        return (
            jax.vmap(epoch, (None, 0))(gamma, orders).mean(0),
            problem.gradient_descent(gamma, n),
            problem.end(aligned, n),
        )

    gammas = jnp.asarray(config.gammas)
    sgd, descent, aligned = jax.jit(jax.vmap(ends))(gammas)
    predicted = -n * gammas[:, None] ** 2 / 4 * extra
    away, rest, near = (
        np.linalg.norm(difference, axis=1)
        for difference in (sgd - descent, sgd - descent - predicted, sgd - aligned)
    )
    columns = {
        "gamma": config.gammas,
        "gap_to_gradient_descent": away,
        "order_gradient_descent": [None, *np.log2(away[:-1] / away[1:])],
        "gap_to_grad_align": near,
        "order_grad_align": [None, *np.log2(near[:-1] / near[1:])],
        "error_of_prediction": rest / away,
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The gap to gradient descent has order 2, the gap to GradAlign order 3."""
    for column, label, order in (
        ("order_gradient_descent", "gradient descent", 2),
        ("order_grad_align", "GradAlign with beta = gamma/2", 3),
    ):
        worst = max((row[column] for row in rows[1:]), key=lambda v: abs(v - order), default=None)
        claim = f"SGD's mean over orders parts from {label} with order {order} (worst order)"
        if worst is not None:
            yield between(claim, worst, order - 0.05, order + 0.05)
    closer = rows[-1]["gap_to_gradient_descent"] / rows[-1]["gap_to_grad_align"]
    claim = "at the smallest gamma, GradAlign is much closer to SGD (ratio of gaps)"
    yield at_least(claim, closer, 10)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """The gaps against gamma."""
    lines = {
        "gap_to_gradient_descent": ("to gradient descent", plots.COLORS[1], 2),
        "gap_to_grad_align": (r"to GradAlign, $\beta = \gamma / 2$", plots.COLORS[0], 3),
    }
    labels = {"xlabel": r"learning rate $\gamma$", "ylabel": "distance"}
    title = "from SGD after an epoch (mean of all orders)"
    context.save(problems.draw(rows, lines, title=title, **labels), "sgd_regulariser")
