"""What the experiments train alike: bags of embeddings, and reports of their passes."""

from __future__ import annotations

from typing import Any

import optax

import jcollab as jc
from experiments.contract import Context
from jcollab import pair_training


def falling(rate: float, rounds: int) -> optax.GradientTransformation:
    """Adam whose rate falls to a twentieth."""
    return optax.adam(optax.linear_schedule(rate, rate / 20, max(1, rounds)))


def reported(context: Context, description: str, **tags: Any) -> dict[str, Any]:
    """Arguments of a training that put it into the log, bar and checkpoints of the run."""
    options = context.fit_options(**tags)
    del options["on_divergence"]  # the training ends
    return options | {"stop": context.stop, "description": description}


def bag(
    pairs: Any,
    words: Any,
    *,
    width: int,
    batch_size: int,
    epochs: int,
    rate: float,
    temperature: float,
    drop: float = 0.0,
    margin: float = 0.0,
    **options: Any,
) -> Any:
    """A bag of embeddings, trained by in-batch contrast of cosines."""
    model = jc.models.BagEncoder(words.size, width)
    rounds = epochs * (len(pairs.source) // batch_size)
    loss = pair_training.pair_loss(
        model, words, ("contrastive",), temperature=temperature, drop=drop, margin=margin
    )
    return pair_training.dual_encoder(
        pairs,
        words,
        model,
        loss=loss,
        optimizer=falling(rate, rounds),
        num_epochs=epochs,
        batch_size=batch_size,
        **options,
    )


def plain_bag(config: Any, pairs: Any, words: Any, seed: int, report: dict[str, Any]) -> Any:
    """The bag that every configuration describes, against which all else is held."""
    return bag(
        pairs,
        words,
        width=config.width,
        batch_size=config.batch_size,
        epochs=config.epochs,
        rate=config.learning_rate,
        temperature=config.temperature,
        max_len=config.max_len,
        seed=seed,
        **report,
    )
