"""The effect of lost messages on each method when clients have different labels.

RelaySGD, arXiv 2110.04175, the question of Table 5.

    python -m experiments relaysgd unreliable

0, 1 and 10 % of messages lost, digits at Dirichlet(0.01), five methods.
Cost: 5 minutes on 2 cores.
Expected: RelaySGD with the refreshed fill loses at most 1 point; initial fill much worse.
"""

import functools

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, at_least
from experiments.drawing import kept_curves
from experiments.fields import BelowOne, Fraction, Positive
from experiments.relaysgd import _methods as methods
from experiments.relaysgd import _training as training
from experiments.relaysgd._methods import Method, published
from experiments.tasks import make_task


class Config(training.Config):
    """Probabilities of loss, and data."""

    alpha: Positive = 0.01  # Dirichlet concentration of the labels
    losses: tuple[BelowOne, ...] = (0.0, 0.01, 0.1)  # probabilities that a message gets lost
    momentum: Fraction = 0.9  # Nesterov momentum of the local SGD


PRESETS = {"unreliable": Config()}
SMOKE = {
    "unreliable": training.SMOKE | {"num_seeds": 1, "learning_rates": (1.0,), "losses": (0.1,)}
}
# accuracy against rounds, one panel for each probability of loss
figures = kept_curves("unreliable", "test_mean_accuracy", ylim=(0, 1.02))


def _compared(loss: float) -> list[Method]:
    lossy = jc.channels.drop(loss)
    peers = functools.partial(methods.one_peer, channel=lossy)

    def ring(n: int) -> jc.Mixer:
        return jc.neighborhood(jc.topology.ring(n), jc.aggregators.weighted(), lossy)

    def relay(name: str, fill: str) -> Method:
        mixer = functools.partial(methods.double_trees, fill=fill, channel=lossy)
        return Method(f"RelaySGD, {name} fill", "double trees", methods.shared_models, mixer)

    return [
        relay("refreshed", "previous"),
        relay("initial", "initial"),
        Method("D-PSGD + QGM", "ring", methods.quasi_global, ring),
        Method("D2", "ring", methods.d2, ring),
        Method("SGP", "exponential", methods.shared_models, peers),
    ]


def run(config: Config, context: Context) -> Rows:
    """Trains every method at every probability of loss."""
    task = make_task(config.dataset, config.hidden, config.eval_examples)
    parts = config.partition(task.train.y, config.alpha)
    for loss in context.cases(config.losses):
        for method in context.cases(_compared(loss)):
            tags = {"algorithm": method.name, "loss": loss}
            row, curves = training.train(
                context, config, task, parts, method, config.momentum, tags
            )
            context.kept.setdefault(f"{loss:.0%} of messages lost", {})[method.name] = curves
            yield row | {"paper_cifar10": published("table5", method.name, loss)}


def claims(config: Config, rows: list[Row]) -> Claims:
    """The refreshed fill tolerates loss; the initial model as fill does not."""
    mean = {(row["algorithm"], row["loss"]): row["mean_accuracy"] for row in rows}
    most, least = max(config.losses), min(config.losses)
    refreshed = mean["RelaySGD, refreshed fill", most]
    lost = mean["RelaySGD, refreshed fill", least] - refreshed
    behind = refreshed - mean["RelaySGD, initial fill", most]
    where = f"loss {most:g}, mean accuracy"
    sentence = f"RelaySGD with the refreshed fill bears the loss ({where}, against loss {least:g})"
    yield Claim(sentence, "within 0.01", lost, lost <= 0.01)
    yield at_least(f"the initial fill is visibly worse ({where})", behind, 0.02)
