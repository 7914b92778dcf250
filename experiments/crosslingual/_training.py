"""Bags of embeddings, what trainings report, and bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context
from jcollab import pair_training, plots


def falling(rate: float, rounds: int) -> optax.GradientTransformation:
    """Adam whose rate falls to a twentieth."""
    return optax.adam(optax.linear_schedule(rate, rate / 20, max(1, rounds)))


def vocabulary(pairs: Any, size: int) -> Any:
    """One vocabulary of both sides of all pairs."""
    return jc.data.train_subwords([*pairs.source, *pairs.target], size)


def reported(context: Context, **tags: Any) -> dict[str, Any]:
    """Arguments of a training that put it into the log, bar and checkpoints of the run."""
    options = context.fit_options(**tags)
    del options["on_divergence"]  # the training ends
    description = ", ".join(f"{name} {value}" for name, value in tags.items())
    return options | {"stop": context.stop, "description": description}


def bag(
    context: Context,
    config: Any,
    pairs: Any,
    words: Any,
    seed: int,
    *,
    drop: float = 0.0,
    margin: float = 0.0,
    group: int | None = None,
    **tags: Any,
) -> Any:
    """A bag of embeddings, trained by in-batch contrast of cosines."""
    model = jc.models.BagEncoder(words.size, config.width)
    options = {"temperature": config.temperature, "drop": drop, "margin": margin}
    rounds = config.epochs * (len(pairs.source) // config.batch_size)
    return pair_training.dual_encoder(
        pairs,
        words,
        model,
        loss=pair_training.pair_loss(model, words, ("contrastive",), **options),
        optimizer=falling(config.learning_rate, rounds),
        num_epochs=config.epochs,
        batch_size=config.batch_size,
        max_len=config.max_len,
        group=group,
        seed=seed,
        **reported(context, **tags),
    )


def bars(values: dict[str, dict[str, float]], names: tuple[str, ...], label: str = "P@1") -> Any:
    """One group of bars for each entry, one bar for each of the named values."""
    figure = plots.figure(figsize=(max(5.0, 1.6 + 1.1 * len(values)), 3.6))
    ax = figure.subplots()
    width = 0.8 / len(names)
    places = np.arange(len(values))
    for i, name in enumerate(names):
        heights = [row.get(name, np.nan) for row in values.values()]
        shown = ax.bar(places + i * width, heights, width, color=plots.COLORS[i], label=name)
        ax.bar_label(shown, fmt="{:.3f}", fontsize=7)
    ax.set_xticks(places + 0.4 - width / 2, list(values), rotation=20, ha="right")
    ax.set(ylim=(0, 1.05), ylabel=label)
    ax.legend(ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
    return figure
