"""Word vectors by any method from the same text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context
from experiments.x2static.kinds import Vectors
from jcollab import objectives, row_sparse, text

BAGS = ("CBOW", "skip-gram", "sent2vec")
SENTENCE = 30  # words on each side that sent2vec looks at


def x2static(
    config: Vectors,
    corpora: Sequence[jc.text.Corpus],
    contexts: Sequence[np.ndarray],
    vocabulary: jc.text.Vocabulary,
    context: Context,
    label: str,
    mixer: jc.Mixer | None = None,
) -> list[jc.text.WordVectors] | None:
    """X2Static of n clients; None if it was interrupted."""
    data = text.client_texts(
        corpora, vocabulary, contexts=contexts, threshold=config.threshold,
        batch_size=config.batch_size, epochs=config.epochs, seed=config.seed,
    )  # fmt: skip
    algorithm = jc.sparse_decentralized(
        objectives.x2static_loss(config.clip),
        objectives.x2static_rows,
        row_sparse.adam(config.learning_rate),
        mixer,
        distinct=True,
    )
    key = jax.random.key(config.seed)
    params = {"words": _uniform(key, len(vocabulary), contexts[0].shape[1])}
    params = jc.replicate(params, len(corpora))
    most = text.sentences_per_batch(data)
    sample = text.x2static_batches(config.negatives, most_sentences=most)
    params = _fit(algorithm, params, data, key, sample, context, label)
    if params is None:
        return None
    return [text.WordVectors(vocabulary.words, table) for table in np.asarray(params["words"])]


def bags(
    config: Vectors,
    corpus: jc.text.Corpus,
    width: int,
    vocabulary: jc.text.Vocabulary,
    context: Context,
    method: str,
) -> jc.text.WordVectors | None:
    """CBOW, skip-gram or sent2vec; None if it was interrupted."""
    data = text.client_texts(
        [corpus], vocabulary, threshold=config.bag_threshold, batch_size=config.batch_size,
        epochs=config.bag_epochs, seed=config.seed,
    )  # fmt: skip
    whole = method == "sent2vec"
    buckets = config.buckets if whole else 0
    sample = text.bag_batches(
        config.negatives,
        window=SENTENCE if whole else config.window,
        skip_gram=method == "skip-gram",
        buckets=buckets,
        shrink=not whole,
    )
    algorithm = jc.sparse_decentralized(
        objectives.bag_loss(config.clip), objectives.bag_rows, row_sparse.adam(config.bag_rate)
    )
    key = jax.random.key(config.seed)
    size = len(vocabulary)
    params = {"sources": _uniform(key, size + buckets, width), "words": jnp.zeros((size, width))}
    params = _fit(algorithm, jc.replicate(params, 1), data, key, sample, context, method)
    if params is None:
        return None
    return text.WordVectors(vocabulary.words, np.asarray(params["sources"][0, :size]))


def _fit(
    algorithm: jc.Algorithm,
    params: Any,
    data: Any,
    key: jax.Array,
    sample: Any,
    context: Context,
    label: str,
) -> Any:
    fitted = jc.fit(
        algorithm,
        algorithm.init(key, params),
        data,
        key,
        num_rounds=data.positions.shape[1],
        sample=sample,
        description=label,
        **context.fit_options(method=label),
    )
    return fitted.state.clients.params if fitted.stopped == "finished" else None


def _uniform(key: jax.Array, size: int, width: int) -> jax.Array:
    """U(-1/d, 1/d), as the released code."""
    return jax.random.uniform(key, (size, width), minval=-1 / width, maxval=1 / width)
