"""Training of one encoder on sentences and their translations."""

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
        evaluate: ``evaluate(encoder) -> dict`` before the first pass and after each.
        listeners: get a record of each pass, see :func:`jcollab.fit`.
        checkpoint: where the training is saved after passes; one that was killed goes on to the
            same encoder.

    Returns:
        The encoder.

    Raises:
        ValueError: if there are fewer pairs than a batch takes, a number is not positive, or
            checkpoints are of another training (with the field that differs).
        Diverged: if the loss is not finite.

    Example:
        >>> pairs = jc.text.corpora.gettext_pairs("fr")  # doctest: +SKIP
        >>> words = jc.text.train_subwords(pairs.source + pairs.target)  # doctest: +SKIP
        >>> bag = jc.models.BagEncoder(words.size)  # doctest: +SKIP
        >>> encoder = jc.text.dual_encoder(pairs, words, bag)  # doctest: +SKIP
        >>> encoder.similarity(["Open a file"], ["Ouvrir un fichier"])  # doctest: +SKIP
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
    params = start.params if start else model.init(key, jnp.zeros((1, 4), jnp.int32))
    if checkpoint is not None:
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
    """``batches(state)``: those of the pass that begins with this state.

    The orders of passes come from one generator. What it draws does not depend on the vectors, so
    that the draws of earlier passes can be made again, without their encoders.
    """
    total, rounds = len(data.x), len(data.x) // batch_size
    examples = PairBatch(*(jnp.asarray(leaf) for leaf in data))
    rng, drawn = np.random.default_rng(seed), 0

    def draw(epoch: int, vectors: Callable[[], np.ndarray]) -> np.ndarray:
        if group and epoch:
            return neighbor_epoch(rng, vectors(), batch_size, group)
        return epochs(rng, [np.arange(total)], batch_size, rounds)

    def batches(state: State) -> Batches:
        nonlocal rng, drawn
        epoch = int(state.step) // rounds
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
    """The loss of a model on pairs, of one client.

    A model with a projection is contrasted after it.

    Args:
        model: flax module, ``model(ids, train) -> (vectors, logits)``.
        vocabulary: whose punctuation is never masked.
        tasks: terms of the loss; they and the other arguments are those of
            :func:`jcollab.objectives.crosslingual`.
        weights: w1 and w2.
        align: form of :func:`jcollab.objectives.alignment`.
        sim: form of :func:`jcollab.objectives.similarity_structure`.
        temperature: of cosines.
        margin: of ``"contrastive"``.
        drop: probability that a piece is left out of a sentence.
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
    checks.finite(learning_rate=learning_rate, above=0)
    checks.counts(epoch_rounds=epoch_rounds, warmup=warmup)
    checks.finite(decay_from=decay_from, weight_decay=weight_decay, at_least=0)

    def rate(step: Any) -> Any:
        warm = jnp.minimum(1.0, (step + 1) / jnp.asarray(warmup, float))
        late = step >= decay_from * epoch_rounds
        return warm * jnp.where(late, 0.1 * learning_rate, learning_rate)

    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        local.scale_by_raw_amsgrad(),
        optax.scale_by_learning_rate(rate),
    )


def _both(encoder: SentenceEncoder, data: PieceData) -> np.ndarray:
    """Directions of pairs: the sum of those of both sides."""
    sides = [encoder.encode_ids(side) for side in (data.x, data.y)]
    return sum(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in sides)
