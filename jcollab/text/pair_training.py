"""Training of sentence encoders on pairs of translations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, local
from jcollab.algorithms import centralized
from jcollab.core import Batches, Loss, State, replicate
from jcollab.objectives.bilingual import PairBatch, crosslingual
from jcollab.text.pairs import Pairs
from jcollab.text.sentences import SentenceEncoder, check_table
from jcollab.text.subwords import Subwords
from jcollab.text.translations import PieceData, epochs, in_order, neighbor_epoch, piece_data
from jcollab.training.checkpoints import Checkpoint
from jcollab.training.fit import fit
from jcollab.training.listeners import Listener, ProgressBar


def dual_encoder(
    pairs: Pairs,
    vocabulary: Subwords,
    model: Any,
    *,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    num_epochs: int = 5,
    batch_size: int = 512,
    max_len: int = 24,
    group: int | None = None,
    start: SentenceEncoder | None = None,
    seed: int = 0,
    evaluate: Callable[[SentenceEncoder], dict[str, Any]] | None = None,
    listeners: Sequence[Listener] = (ProgressBar("dual encoder"),),
    checkpoint: Checkpoint | None = None,
) -> SentenceEncoder:
    """Trains one sentence encoder on pairs; both sides pass through the same weights.

    The training is :func:`jcollab.centralized` on one client. To train with clients that have
    different pairs, pass :func:`pair_loss` to any builder.

    Args:
        pairs: sentences and translations.
        vocabulary: vocabulary of both languages.
        model: :class:`jcollab.models.SharedEncoder` or :class:`jcollab.models.BagEncoder`.
        loss: ``loss(params, batch, key)``; None for the contrastive loss of cosines within a
            batch. :func:`pair_loss` builds other losses.
        optimizer: optax transformation; None for Adam with a rate that decreases from 5e-3 to
            2.5e-4.
        num_epochs: number of passes through the pairs.
        batch_size: b, pairs in a batch; the other pairs of the batch are the negatives.
        max_len: longest sentence in pieces during training.
        group: size of the groups of near pairs (hard negatives) that batches consist of from the
            second pass on; None for random batches.
        start: encoder with the initial weights; None for random weights.
        seed: seed of weights, order and masks.
        evaluate: ``evaluate(encoder) -> dict``, called before the first pass and after each pass.
        listeners: receivers of a record of each pass, see :func:`jcollab.fit`.
        checkpoint: where the training is saved after passes; a training that was interrupted
            resumes and ends with the same encoder.

    Returns:
        The encoder.

    Raises:
        ValueError: if there are fewer pairs than batch_size, a number is not positive, or a
            checkpoint belongs to another training (with the field that differs).
        Diverged: if the loss is not finite.

    Example:
        >>> pairs = jc.text.Pairs(["cat", "dog"], ["chat", "chien"])
        >>> words = jc.text.train_subwords(pairs.source + pairs.target, size=32, min_frequency=1)
        >>> model = jc.models.BagEncoder(words.size, width=8)
        >>> options = {"optimizer": optax.adam(0.1), "num_epochs": 10, "batch_size": 2}
        >>> encoder = jc.text.dual_encoder(pairs, words, model, **options, listeners=())
        >>> encoder.nearest(["cat", "dog"], keys=["chien", "chat"])
        [['chat'], ['chien']]
    """
    checks.counts(num_epochs=num_epochs)
    checks.seed("seed", seed)
    data = piece_data(vocabulary, pairs, max_len)
    checks.count("batch_size", batch_size, 1, len(data.x))
    rounds = len(data.x) // batch_size
    if optimizer is None:
        optimizer = optax.adam(optax.linear_schedule(5e-3, 2.5e-4, num_epochs * rounds))
    algorithm = centralized(loss or pair_loss(model, vocabulary, ("contrastive",)), optimizer)
    key = jax.random.key(seed)
    # the shape of the example input does not change the weights
    params = start.params if start else model.init(key, jnp.zeros((1, 4), jnp.int32))
    if checkpoint is not None:
        # what changes the course of the training: it must not resume with other values
        own = {"seed": seed, "pairs": len(data.x), "batch_size": batch_size, "group": group}
        own |= {"max_len": max_len, "num_epochs": num_epochs}
        identity = {**(checkpoint.identity or {}), **own}
        checkpoint = dataclasses.replace(checkpoint, identity=identity)

    def encoder(state: State) -> SentenceEncoder:
        return SentenceEncoder(vocabulary, model, state.shared.params, max(64, max_len))

    result = fit(
        algorithm,
        algorithm.init(replicate(params, 1)),
        _passes(data, batch_size, group, seed, encoder),
        key,
        num_rounds=num_epochs * rounds,
        evaluate=None if evaluate is None else lambda state: evaluate(encoder(state)),
        eval_every=rounds,
        listeners=listeners,
        checkpoint=checkpoint,
    )
    return encoder(result.state)


def _passes(
    data: PieceData,
    batch_size: int,
    group: int | None,
    seed: int,
    encoder: Callable[[State], SentenceEncoder],
) -> Callable[[State], Batches]:
    """Returns ``batches(state)``, the batches of the pass that begins with a state.

    One generator draws the orders of all passes. The number of its draws in a pass does not depend
    on the vectors, so that a resumed training repeats the draws of earlier passes without their
    encoders.
    """
    total, rounds = len(data.x), len(data.x) // batch_size
    examples = PairBatch(*(jnp.asarray(leaf) for leaf in data))
    rng, drawn = np.random.default_rng(seed), 0

    def draw(epoch: int, vectors: Callable[[], np.ndarray]) -> np.ndarray:
        # the first pass has no trained vectors to find near pairs with: its batches are random
        if group and epoch:
            return neighbor_epoch(rng, vectors(), batch_size, group)
        return epochs(rng, [np.arange(total)], batch_size, rounds)

    def batches(state: State) -> Batches:
        nonlocal rng, drawn
        epoch = int(state.step) // rounds
        # the same or an earlier pass again: the generator restarts
        if drawn > epoch:
            rng, drawn = np.random.default_rng(seed), 0
        for earlier in range(drawn, epoch):
            draw(earlier, lambda: np.zeros((total, 1)))
        drawn = epoch + 1
        return in_order(examples, draw(epoch, lambda: _both(encoder(state), data)))

    return batches


def pair_loss(
    model: Any,
    vocabulary: Subwords,
    tasks: Sequence[str] = ("ugt", "align", "sim"),
    *,
    weights: tuple[float, float] = (2.0, 2.0),
    align: str = "dot",
    sim: str = "released",
    temperature: float = 0.05,
    margin: float = 0.0,
    drop: float = 0.0,
) -> Callable:
    """Builds the loss of a model on the pairs of one client.

    The terms and weights are those of :func:`jcollab.objectives.crosslingual`. For a model with a
    projection, the terms that compare vectors use the projected vectors.

    Args:
        model: flax module, ``model(ids, train) -> (vectors, logits)``.
        vocabulary: vocabulary of both languages; its punctuation pieces are never masked.
        tasks: terms of the loss.
        weights: w1 and w2.
        align: form of :func:`jcollab.objectives.alignment`.
        sim: form of :func:`jcollab.objectives.similarity_structure`.
        temperature: temperature of the cosines.
        margin: margin of ``"contrastive"``.
        drop: probability that a piece is omitted from a sentence.

    Returns:
        ``loss(params, batch, key) -> (value, metrics)`` for a
        :class:`jcollab.objectives.PairBatch`.

    Raises:
        ValueError: if the model has fewer embeddings than the vocabulary has pieces, or as for
            :func:`jcollab.objectives.crosslingual`.

    Example:
        >>> words = jc.text.train_subwords(["cat", "dog", "chat", "chien"], min_frequency=1)
        >>> model = jc.models.BagEncoder(words.size, width=8)
        >>> loss = jc.text.pair_loss(model, words, tasks=("contrastive",))
        >>> x, y = words.ids(["cat", "dog"]), words.ids(["chat", "chien"])
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
        >>> batch = jc.objectives.PairBatch(x, y)
        >>> value, _ = jax.jit(loss)(zeros, batch, jax.random.key(0))
        >>> round(float(value), 3)  # log 2, as all cosines are 0
        0.693
    """
    check_table(model, vocabulary)
    project = None
    if getattr(model, "projection", 0):
        project = functools.partial(model.apply, method="project")
    return crosslingual(
        model.apply,
        vocabulary.size,
        tasks,
        maskable=vocabulary.maskable,
        weights=weights,
        align=align,
        sim=sim,
        temperature=temperature,
        margin=margin,
        project=project,
        drop=drop,
    )


def released_optimizer(
    learning_rate: float = 1e-3,
    *,
    epoch_rounds: int,
    decay_from: float = 3,
    warmup: int = 2000,
    weight_decay: float = 1e-5,
) -> optax.GradientTransformation:
    """Builds Adam with AMSGrad, L2 decay in the gradient, linear warm-up and one decay step.

        g <- g + decay x
        rate(t) = rate min(1, (t + 1) / warmup),   times 0.1 from epoch decay_from on

    Args:
        learning_rate: rate, positive.
        epoch_rounds: number of rounds of an epoch.
        decay_from: number of epochs, possibly fractional, after which the rate is a tenth.
        warmup: number of rounds in which the rate increases.
        weight_decay: decay, at least 0.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> options = {"epoch_rounds": 1, "decay_from": 3, "warmup": 2, "weight_decay": 0.0}
        >>> optimizer = jc.text.released_optimizer(1.0, **options)
        >>> state, rates = optimizer.init(jnp.zeros(1)), []
        >>> for _ in range(4):
        ...     update, state = optimizer.update(jnp.ones(1), state, jnp.zeros(1))
        ...     rates.append(-round(float(update[0]), 2))
        >>> rates
        [0.5, 1.0, 1.0, 0.1]

    Source: Mao et al. 2021, arXiv 2105.13856, as released.
    """
    checks.finite(learning_rate=learning_rate, above=0)
    checks.counts(epoch_rounds=epoch_rounds, warmup=warmup)
    checks.finite(decay_from=decay_from, weight_decay=weight_decay, at_least=0)

    def rate(step: Any) -> Any:
        warm = jnp.minimum(1.0, (step + 1) / jnp.asarray(warmup, float))
        late = step >= decay_from * epoch_rounds
        return warm * jnp.where(late, 0.1 * learning_rate, learning_rate)

    # decay before Adam, as `weight_decay` of torch.optim.Adam does; AdamW would add it after
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        local.scale_by_raw_amsgrad(),
        optax.scale_by_learning_rate(rate),
    )


def _both(encoder: SentenceEncoder, data: PieceData) -> np.ndarray:
    """Vectors of pairs: sums of the vectors of both sides, each scaled to length 1."""
    sides = [encoder.encode_ids(side) for side in (data.x, data.y)]
    return sum(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in sides)
