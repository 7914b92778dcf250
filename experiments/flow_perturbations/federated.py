"""Federated learning whose clients share a flow of public images, and no data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.flow_perturbations import comparison, data, methods
from experiments.flow_perturbations.kinds import Federated
from experiments.tasks import stack_clients

shown = comparison.shown


def run(config: Federated, context: Context) -> list[Row]:
    """Rows of kind ``flow`` (one) and ``classifier``, the server's for each method and seed."""
    return comparison.compare(config, context, train)


def train(
    name: str,
    config: Federated,
    images: data.Images,
    classifier: methods.Classifier,
    models: dict[str, tuple[Any, Any]],
    context: Context,
) -> dict[str, Any] | None:
    """FedAvg with the augmentation of a method at every client; None after Ctrl-C.

    Seeds set the partition, initial values and batches, the same ones for every method.
    """
    used = {key: params for key, (_, params) in models.items()}

    def predict(params: Any, x: jax.Array) -> jax.Array:
        return classifier.predict(params, (), x)

    def build(params: Any) -> jc.Algorithm:
        own = {key: (model, params[key]) for key, (model, _) in models.items()}
        hook = methods.augmentation(name, config, images, classifier, own)
        loss = jc.objectives.classification(predict, augment=hook)
        local = jc.sources.local_batches(config.batch_size)
        return jc.federated(
            loss, methods.optimizer_of(config), local_steps=config.local_steps, source=local
        )

    seeds = [config.seed + i for i in range(config.num_seeds)]
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    starts = [jc.replicate(classifier.init(key)[0], config.n) for key in keys]
    params = jax.tree.map(lambda *rows: jnp.stack(rows), *starts)
    labels = images.train.y
    parts = [jc.data.dirichlet(labels, config.n, config.alpha, seed=seed) for seed in seeds]
    settings = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(seeds), *leaf.shape)), used)
    result = jc.fit(
        build,
        jax.vmap(build(used).init)(keys, params),
        stack_clients(parts, images.train, 1),
        jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
        num_rounds=config.rounds,
        sample=jc.data.whole,
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
        settings=settings,
        description=name,
        **context.fit_options(method=name),
    )
    if result.stopped != "finished":
        return None
    final = result.state.shared.params
    accuracy = methods.accuracies(classifier, final, (), images.test)
    return {"params": final, "extra": (), "accuracy": accuracy}


def claims(config: Federated, rows: list[Row]) -> list[Claim]:
    """As without clients, for the server's model."""
    return comparison.claims(config, rows)
