"""Methods by name, as parts of one algorithm."""

from __future__ import annotations

from typing import Any

import optax

import jcollab as jc
from experiments.rep_sharing.kinds import Base
from jcollab import objectives

NUM_CLASSES = 10


def parts(name: str, config: Base, n: int) -> dict[str, Any]:
    """What :func:`jcollab.representation_sharing` is given for a method.

    ``ours`` has the constants, the pooled mean and the self of the released code; ``ours paper``
    the constants and the mean of means of the paper; ``ours others`` leaves a client's own data out
    of what it learns from. ``FD`` is that of the released code, ``FD others`` that of Jeong et al.
    2018 (the other clients' logits, cross-entropy). ``FedProto`` is distillation alone, weight 1.
    """
    pull, tell = config.distillation, config.discrimination
    sharing = {
        "mixer": jc.server(),
        "observer": jc.random_peer(),
        "weighting": "samples",
        "samples_per_class": config.samples_per_class,
        "objective": objectives.representation_sharing(pull, tell),
    }
    alone = {"mixer": None, "objective": objectives.independent()}
    logits = {"mixer": jc.server(), "message": "logits", "weighting": "samples"}
    paper = objectives.representation_sharing(pull, tell, constants="paper")
    proto = {"observer": None, "objective": objectives.representation_sharing(1.0, 0.0)}
    return {
        "IL": alone,
        "CL": alone,
        "FL": alone | {"model_mixer": jc.server()},
        "FD": logits | {"objective": objectives.federated_distillation(pull)},
        "FD others": logits
        | {
            "objective": objectives.federated_distillation(1.0, form="cross_entropy"),
            "weighting": "clients",
            "own_share": 1 / n,
        },
        "FedProto": sharing | proto,
        "ours": sharing,
        "ours paper": sharing | {"weighting": "clients", "objective": paper},
        "ours others": sharing
        | {
            "weighting": "clients",
            "own_share": 1 / n,
            "observer": jc.random_peer(include_self=n == 1),
        },
    }[name]


def build(groups: Any, config: Base, options: dict[str, Any]) -> jc.Algorithm:
    """The algorithm of these parts."""
    rest = dict(options)
    return jc.representation_sharing(
        groups,
        optax.adam(config.learning_rate),
        rest.pop("mixer"),
        rest.pop("objective"),
        num_classes=NUM_CLASSES,
        num_features=config.num_features,
        batch_size=config.batch_size,
        **rest,
    )


def traffic(options: dict[str, Any], config: Base, n: int, model_bytes: int) -> tuple[int, int]:
    """Bytes up and down, of the client that sends most."""
    if "model_mixer" in options:
        return model_bytes, model_bytes
    width = NUM_CLASSES if options.get("message") == "logits" else config.num_features
    up, down = jc.algorithms.bytes_exchanged(
        options["mixer"],
        options.get("observer"),
        n,
        NUM_CLASSES,
        width,
        weighting=options.get("weighting", "clients"),
    )
    return int(up.max()), int(down.max())
