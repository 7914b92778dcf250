"""The paper's distributed setting: alignment of the parts of a large batch, iid data.

Implicit gradient alignment, arXiv 2106.13897, the distributed experiments.

    python -m experiments grad_align distributed

Large-batch SGD, 20 of 94 iid shards in a round, and GradAlign by beta, on digits.
Cost: 1 minute on 2 cores (digits); --dataset mnist.
Expected: SGD .967, GradAlign .971; variance of gradients .31 to .11.
"""

import functools
from typing import Any

import jax
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, averaged, groups
from experiments.fields import Positive
from experiments.grad_align import _training as training


class Config(training.Config):
    """A large batch of shards, which are redistributed in every round."""

    gamma: Positive = 0.2  # learning rate
    betas: training.Displacements = (0.0, 0.2, 0.4, 0.6, 0.8)  # of GradAlign; 0 is large-batch SGD
    clip: Positive = 10.0  # largest norm of the gradient


PRESETS = {"distributed": Config()}
SMOKE = {"distributed": training.SMALL | {"betas": (0.0, 0.4)}}
# means over seeds
shown = averaged("method beta")
# error, loss and variance over rounds
figures = functools.partial(training.figures, "distributed")


def run(config: Config, context: Context) -> list[Row]:
    """Trains all displacements and seeds in one program."""
    task = training.make_task(config, lambda labels: jc.data.iid(len(labels), config.n))

    def some_shards(shards: Any, key: Any, step: Any) -> Any:
        """Samples a shard for each worker, in every round."""
        chosen = jc.layout.sample_clients(key, config.n, config.num_sampled)
        return jax.tree.map(lambda leaf: leaf[chosen], shards)

    def build(loss: Any, beta: Any) -> jc.Algorithm:
        optimizer = optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.add_decayed_weights(config.weight_decay),
            optax.sgd(config.gamma),
        )
        return jc.algorithms.grad_align(loss, optimizer, beta)

    names = "GradAlign", "parallel SGD"
    batches = jc.data.from_function(some_shards, task.shards)
    return training.train(
        context, config, task, names, "beta", config.betas, build, config.num_sampled, batches
    )


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """Alignment lowers the variance of gradients and raises the accuracy."""
    cases = {beta: own for (beta,), own in sorted(groups(rows, "beta").items())}
    plain = cases.pop(0.0)
    return training.alignment_claims("GradAlign", cases, "parallel SGD", plain)
