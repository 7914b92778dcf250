"""Relay-Adam: RelaySum after local steps of Adam, when clients hold different labels.

RelaySGD, arXiv 2110.04175, the question of Table 4.

    python -m experiments relaysgd adam

All-reduce, RelaySum of models and of updates, and gossip with Adam; digits, 16 clients.
Cost: 2 minutes on 2 cores.
Expected: Relay-Adam at most 1 point behind all-reduce, D-PSGD at least 5, as in the paper.

Clients never send the state of Adam, so that every client divides by its own second moments.
Relay-Adam relays models after the step, as in the paper; Relay-Adam/Grad relays updates alone.
"""

from typing import Any

import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, at_most
from experiments.drawing import kept_curves
from experiments.fields import Positive
from experiments.relaysgd import _training as training
from experiments.relaysgd._methods import GRAPHS, Method, published
from experiments.tasks import make_task


class Config(training.Config):
    """Data and training."""

    alphas: tuple[Positive, ...] = (0.1, 0.01)  # Dirichlet concentrations of the labels
    learning_rates: tuple[Positive, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
    decay: bool = True


PRESETS = {"adam": Config()}
SMOKE = {"adam": training.SMOKE | {"num_seeds": 1, "learning_rates": (0.01,), "alphas": (0.1,)}}
# accuracy of the worst client against rounds, one panel for each alpha
figures = kept_curves("adam", "test_worst_accuracy", ylim=(0, 1.02))


def models(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """Builds a step of Adam, after which models are mixed; Adam keeps its own momentum."""
    return jc.decentralized(loss, optax.adam(rate), mixer)


def updates(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """Builds a step of Adam whose updates are mixed, and added to the client's own model."""
    return jc.decentralized(loss, optax.adam(rate), mixer, mixing_weight=0.0)


def _relay(fill: Any) -> Any:
    return lambda n: jc.relay_sum(jc.topology.chain(n), fill=fill)


def _gossip(graph: str) -> Method:
    return Method("D-PSGD Adam", graph, models, lambda n: jc.gossip(GRAPHS[graph](n)))


METHODS = (
    Method("all-reduce Adam", "complete", models, lambda n: jc.all_reduce()),
    Method("Relay-Adam", "chain", models, _relay("initial")),
    Method("Relay-Adam/Grad", "chain", updates, _relay("zero")),
    _gossip("ring"),
    _gossip("chain"),
)


def run(config: Config, context: Context) -> Rows:
    """Trains every method for every alpha."""
    task = make_task(config.dataset, config.hidden, config.eval_examples)
    for alpha in context.cases(config.alphas):
        parts = config.partition(task.train.y, alpha)
        for method in context.cases(METHODS):
            tags = method.tags | {"alpha": alpha}
            row, curves = training.train(context, config, task, parts, method, 0.0, tags)
            panel = context.kept.setdefault(f"label split Dirichlet({alpha:g})", {})
            panel[str(method)] = curves
            yield row | {"paper_ag_news": published("table4", method.name)}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Table 4: Relay-Adam is close to all-reduce, gossip is not."""
    for alpha in config.alphas:
        worst = {
            f"{row['algorithm']} {row['topology']}": row["worst_accuracy"]
            for row in rows
            if row["alpha"] == alpha
        }
        where = f"worst client, alpha {alpha:g}"

        def behind(name: str, worst: dict[str, float] = worst) -> float:
            return worst["all-reduce Adam complete"] - worst[name]

        relay, updates_alone = behind("Relay-Adam chain"), behind("Relay-Adam/Grad chain")
        yield at_most(
            f"Relay-Adam is close to all-reduce with Adam ({where})",
            relay,
            0.01,
            note="Table 4: .010",
        )
        yield at_most(
            f"relaying the updates of Adam alone is close, too ({where})", updates_alone, 0.01
        )
        yield at_least(
            f"D-PSGD with Adam on a ring is behind all-reduce ({where})",
            behind("D-PSGD Adam ring"),
            0.05,
            note="Table 4: .069",
        )
    yield training.inside_grid(config, rows)
