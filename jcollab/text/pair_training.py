"""Training of one encoder on sentences and their translations."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import Progress

from jcollab import local
from jcollab.algorithms import centralized
from jcollab.core import Algorithm, State, replicate, run
from jcollab.data.batches import from_function
from jcollab.objectives.bilingual import PairBatch, crosslingual
from jcollab.text.pairs import Pairs
from jcollab.text.sentences import SentenceEncoder
from jcollab.text.subwords import Subwords
from jcollab.text.translations import (
    Ordered,
    PieceData,
    epochs,
    in_order,
    neighbor_epoch,
    piece_data,
)
from jcollab.training.checkpoints import Checkpoints, Saved, form
from jcollab.training.run_log import RunLog, interruptible, opened, progress_bar


def dual_encoder(
    pairs: Pairs,
    vocabulary: Subwords,
    model: Any,
    *,
    loss: Callable | None = None,
    optimizer: optax.GradientTransformation | None = None,
    num_epochs: int = 5,
    batch_size: int = 512,
    max_len: int = 24,
    group: int | None = None,
    start: SentenceEncoder | None = None,
    seed: int = 0,
    evaluate: Callable[[SentenceEncoder], dict[str, Any]] | None = None,
    log: RunLog | str | os.PathLike | None = None,
    description: str = "dual encoder",
    progress: bool | Progress = True,
    stop: threading.Event | None = None,
    checkpoint: str | os.PathLike | None = None,
    identity: Mapping[str, Any] | None = None,
) -> SentenceEncoder:
    """Trains one encoder on pairs, both sides of which pass through the same weights.

    It is :func:`jcollab.centralized` on one client; for clients with pairs of their own, see
    :func:`pair_loss` and any builder.

    Args:
        pairs: sentences and translations.
        vocabulary: of both languages.
        model: :class:`jcollab.models.SharedEncoder` or :class:`jcollab.models.BagEncoder`.
        loss: ``loss(params, batch, key)``; None for in-batch contrast of cosines, see
            :func:`pair_loss` for the others.
        optimizer: None for Adam at 5e-3, falling to 2.5e-4.
        num_epochs: passes through the pairs.
        batch_size: b, pairs in a batch; others of the batch are the negatives.
        max_len: longest sentence in pieces while training.
        group: from the second pass on, batches are made of groups of so many pairs that lie near
            each other (hard negatives); None for random batches.
        start: an encoder whose weights training starts from.
        seed: of weights, order and masks.
        evaluate: ``evaluate(encoder) -> dict`` after each pass, for the log.
        log: where each pass writes a line, a file or a RunLog.
        description: title of the progress bar.
        progress: whether to show it, or a rich Progress to add it to.
        stop: ends training after the pass in which it is set; None for Ctrl-C.
        checkpoint: folder for the checkpoints of this training alone, one after each pass; from
            the newest, a training that was killed goes on to the same encoder.
        identity: what else must be the same for that.

    Returns:
        The encoder.

    Raises:
        ValueError: if there are fewer pairs than a batch takes, a number is not positive, or
            checkpoints are of another training (with the field that differs).

    Example:
        >>> pairs = jc.text.corpora.gettext_pairs("fr")  # doctest: +SKIP
        >>> words = jc.text.train_subwords(pairs.source + pairs.target)  # doctest: +SKIP
        >>> bag = jc.models.BagEncoder(words.size)  # doctest: +SKIP
        >>> encoder = jc.text.dual_encoder(pairs, words, bag)  # doctest: +SKIP
        >>> encoder.similarity(["Open a file"], ["Ouvrir un fichier"])  # doctest: +SKIP
    """
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
    data = piece_data(vocabulary, pairs, max_len)
    rounds = len(data.x) // batch_size if batch_size > 0 else 0
    if not rounds:
        raise ValueError(
            f"batch_size must be in 1..{len(data.x)} (the number of pairs), got {batch_size}"
        )
    if optimizer is None:
        rate = optax.linear_schedule(5e-3, 2.5e-4, num_epochs * rounds)
        optimizer = optax.adam(rate)
    loss = loss or pair_loss(model, vocabulary, ("contrastive",))
    algorithm = centralized(loss, optimizer)
    key, rng = jax.random.key(seed), np.random.default_rng(seed)
    state = _start(algorithm, key, model, start)
    examples = PairBatch(*(jnp.asarray(leaf) for leaf in data))

    def encoder(state: State) -> SentenceEncoder:
        return SentenceEncoder(vocabulary, model, state.shared.params, max(64, max_len))

    listen = interruptible() if stop is None else contextlib.nullcontext(stop)
    lines: list[str] = []
    first, store = 0, None
    if checkpoint is not None:
        store = Checkpoints(
            checkpoint,
            {
                **(identity or {}),
                **{"seed": seed, "pairs": len(data.x), "batch_size": batch_size, "group": group},
                **{"max_len": max_len, "num_epochs": num_epochs, **form(state)},
            },
        )
        if saved := store.newest(state):
            state, lines = saved.state, list(saved.lines)
            first = int(state.step) // rounds
            rng = _generator(saved.evaluations["generator"])
    sink = opened(log, None if store is None else lines)
    with contextlib.ExitStack() as stack:
        bar, interrupted = stack.enter_context(progress_bar(progress)), stack.enter_context(listen)
        if store:
            stack.callback(store.close)
        task = bar.add_task(description, total=num_epochs, completed=first)
        for epoch in range(first, num_epochs):
            if interrupted.is_set():
                break
            if group and epoch:
                vectors = _both(encoder(state), data)
                order = neighbor_epoch(rng, vectors, batch_size, group)
            else:
                order = epochs(rng, [np.arange(len(data.x))], batch_size, rounds)
            ordered = Ordered(examples, jnp.asarray(order))
            state, seen = run(
                algorithm,
                state,
                from_function(in_order, ordered),
                key,
                num_rounds=rounds,
                donate=True,
            )
            record = {name: np.mean(np.asarray(values)) for name, values in seen.items()}
            if not np.isfinite(record["loss"]):
                raise FloatingPointError(
                    f"loss is not finite in pass {epoch + 1}; a smaller learning rate may help"
                )
            evaluation = evaluate(encoder(state)) if evaluate else {}
            lines.append(sink.write({"epoch": epoch + 1, **record, **evaluation}))
            if store:
                store.save(epoch + 1, Saved(state, {}, {"generator": _words(rng)}, lines))
            bar.update(task, advance=1)
    return encoder(state)


def _words(rng: np.random.Generator) -> np.ndarray:
    """The state of NumPy's default generator, uint32 ``[16]``."""
    now = rng.bit_generator.state
    numbers = (*now["state"].values(), now["has_uint32"], now["uinteger"])
    return np.frombuffer(b"".join(n.to_bytes(16, "little") for n in numbers), np.uint32)


def _generator(words: Any) -> np.random.Generator:
    """The generator in that state."""
    parts = np.asarray(words, np.uint32).reshape(4, 4)
    state, increment, has, word = (int.from_bytes(part.tobytes(), "little") for part in parts)
    rng = np.random.default_rng()
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": has,
        "uinteger": word,
    }
    return rng


def pair_loss(
    model: Any, vocabulary: Subwords, tasks: Any = ("ugt", "align", "sim"), **options: Any
) -> Callable:
    """The loss of a model on pairs, of one client: :func:`jcollab.objectives.crosslingual`.

    Args:
        model: flax module, ``model(ids, train) -> (vectors, logits)``.
        vocabulary: whose punctuation is never masked.
        tasks: terms.
        **options: further arguments; a model with a projection is contrasted after it.
    """
    if getattr(model, "projection", 0):
        options = {"project": functools.partial(model.apply, method="project")} | options
    maskable = vocabulary.maskable
    return crosslingual(model.apply, vocabulary.size, tasks, maskable=maskable, **options)


def released_optimizer(
    learning_rate: float = 1e-3,
    *,
    epoch_rounds: int,
    decay_from: float = 3,
    warmup: int = 2000,
    weight_decay: float = 1e-5,
) -> optax.GradientTransformation:
    """Adam with amsgrad, L2 decay inside of the gradient, linear warm-up, one step of decay.

        g <- g + decay x,   rate(t) = rate min(1, (t + 1) / warmup) (0.1 from epoch decay_from on)

    Args:
        learning_rate: rate.
        epoch_rounds: rounds of an epoch.
        decay_from: epochs, whole or in part, after which the rate is a tenth.
        warmup: rounds over which the rate rises.
        weight_decay: decay.

    Raises:
        ValueError: if a number is not positive.

    Source: Mao et al. 2021, arXiv 2105.13856, as released.
    """
    if learning_rate <= 0 or epoch_rounds < 1 or warmup < 1:
        raise ValueError(
            "learning_rate must be positive, epoch_rounds and warmup at least 1, got "
            f"{learning_rate}, {epoch_rounds} and {warmup}"
        )

    def rate(step: Any) -> Any:
        warm = jnp.minimum(1.0, (step + 1) / jnp.asarray(warmup, float))
        late = step >= decay_from * epoch_rounds
        return warm * jnp.where(late, 0.1 * learning_rate, learning_rate)

    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        local.scale_by_raw_amsgrad(),
        optax.scale_by_learning_rate(rate),
    )


def _start(algorithm: Algorithm, key: Any, model: Any, start: SentenceEncoder | None) -> State:
    params = start.params if start else model.init(key, jnp.zeros((1, 4), jnp.int32))
    # a copy: the buffers of the state are donated, those of the given encoder must stay
    return jax.tree.map(jnp.copy, algorithm.init(replicate(params, 1)))


def _both(encoder: SentenceEncoder, data: PieceData) -> np.ndarray:
    """Directions of pairs: the sum of those of both sides."""
    sides = [encoder.encode_ids(side) for side in (data.x, data.y)]
    return sum(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in sides)
