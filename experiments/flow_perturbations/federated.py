"""Accuracy of federated learning with a flow of public images that clients share.

Semantic perturbations with normalizing flows, arXiv 2108.07958, its method in a setting of ours.

    python -m experiments flow_perturbations federated

digits over 10 clients (Dirichlet .3): FedAvg with a flow of public images.
Cost: 3 minutes on 2 cores, no download.
Expected: latent perturbations are more accurate than plain FedAvg.
"""

import functools

import jcollab as jc
from experiments.contract import Context, Row
from experiments.fields import Count, Positive
from experiments.flow_perturbations import _training as training
from experiments.flow_perturbations._flow import make_problem
from experiments.training import partitions

shown, claims, figures = training.shown, training.claims, training.figures


class Config(training.Config):
    """Clients that share a flow of public images."""

    n: Count = 10  # clients
    alpha: Positive = 0.3  # of the Dirichlet distribution of labels
    public: float = 0.5  # share of the training set for the flow; clients get ``fraction``
    local_steps: Count = 5  # of a client in a round

    def _check(self) -> None:
        if not (self.public > 0 and self.public + self.fraction <= 1):
            raise ValueError(
                f"public must be above 0 and leave a fraction of {self.fraction} to the clients, "
                f"got {self.public}"
            )


PRESETS = {
    "federated": Config(
        **training.DIGITS,
        fraction=0.2,
        public=0.8,
        rounds=100,
        batch_size=16,
        methods=("plain", "randomized", "adversarial"),
    )
}
SMOKE = {"federated": training.SMALL | {"n": 2, "local_steps": 1}}


def run(config: Config, context: Context) -> list[Row]:
    """Trains the server's model for each method and seed; a seed also sets the partition."""
    problem = make_problem(config)
    seeds, labels = config.seeds, problem.train.y
    parts = [jc.data.dirichlet(labels, config.n, config.alpha, seed=seed) for seed in seeds]
    fedavg = functools.partial(jc.federated, local_steps=config.local_steps)
    batches = jc.data.minibatches(partitions(parts, problem.train), config.batch_size)
    return training.compare(problem, context, fedavg, config.n, batches)
