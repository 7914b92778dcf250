"""Word vectors by any method from the same text, and their scores as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.x2static._problems import SETS, Config
from jcollab import objectives, plots, row_sparse, text

# words on each side that sent2vec looks at: as many as there are in a sentence
BAGS: dict[str, Row] = {
    "CBOW": {},
    "skip-gram": {"skip_gram": True},
    "sent2vec": {"window": 30, "shrink": False},
}


def index(config: Config, clients: Sequence[Any]) -> tuple[list, jc.text.Vocabulary, list]:
    """Sentences of each client, which has paragraphs, the words of all, and corpora of clients."""
    texts = [[s for p in paragraphs for s in text.split_sentences(p)] for paragraphs in clients]
    everything = [sentence for sentences in texts for sentence in sentences]
    vocabulary = text.build_vocabulary(everything, min_count=config.min_count)
    return texts, vocabulary, [text.index_corpus(sentences, vocabulary) for sentences in texts]


def train(
    config: Config,
    context: Context,
    label: str,
    corpora: Sequence[jc.text.Corpus],
    vocabulary: jc.text.Vocabulary,
    contexts: Sequence[np.ndarray] | None = None,
    *,
    width: int = 0,
    mixer: jc.Mixer | None = None,
) -> list[jc.text.WordVectors]:
    """X2Static of n clients with the contexts of each; without contexts the method ``label``."""
    given = {"threshold": config.threshold, "epochs": config.epochs, "contexts": contexts}
    if contexts is None:
        given |= {"threshold": config.bag_threshold, "epochs": config.bag_epochs}
    data = text.client_texts(
        corpora, vocabulary, batch_size=config.batch_size, seed=config.seed, **given
    )
    n, rounds = data.positions.shape[:2]
    key, size = jax.random.key(config.seed), len(vocabulary)
    if contexts is None:
        buckets = config.buckets if label == "sent2vec" else 0
        options = {"window": config.window, "buckets": buckets} | BAGS[label]
        sample, rate = text.bag_batches(config.negatives, **options), config.bag_rate
        loss, rows = objectives.bag_loss, objectives.bag_rows
        tables = {"sources": _draw(key, size + buckets, width), "words": jnp.zeros((size, width))}
    else:
        most, rate = text.sentences_per_batch(data), config.learning_rate
        sample = text.x2static_batches(config.negatives, most_sentences=most)
        loss, rows = objectives.x2static_loss, objectives.x2static_rows
        tables = {"words": _draw(key, size, contexts[0].shape[1])}
    algorithm = jc.sparse_decentralized(
        loss(config.clip), rows, row_sparse.adam(rate), mixer, distinct=contexts is not None
    )
    result = context.fit(
        algorithm,
        algorithm.init(key, jc.replicate(tables, n)),
        data,
        key,
        num_rounds=rounds,
        sample=sample,
        description=label,
        tags={"method": label},
    )
    found = result.state.clients.params
    vectors = np.asarray(found.get("sources", found["words"])[:, :size])
    return [text.WordVectors(vocabulary.words, table) for table in vectors]


def _draw(key: jax.Array, size: int, width: int) -> jax.Array:
    """U(-1/d, 1/d), as the released code."""
    return jax.random.uniform(key, (size, width), minval=-1 / width, maxval=1 / width)


def draw_bars(ax: Any, rows: Sequence[Row]) -> list[str]:
    """A group of bars for each row, named by its first field; returns the sets that bars are of."""
    sets, label = [name for name in (*SETS, "topics") if name in rows[0]], next(iter(rows[0]))
    wide = 0.8 / len(sets)
    for i, name in enumerate(sets):
        values = [np.nan_to_num(row[name]) for row in rows]
        ax.bar(np.arange(len(rows)) + i * wide, values, wide, label=name, color=plots.COLORS[i])
    ax.set_xticks(np.arange(len(rows)) + 0.4, [row[label] for row in rows], rotation=30, ha="right")
    ax.set_ylabel("Spearman" if "SimLex" in sets else "score")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return sets


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Scores of all rows."""
    fig = plots.figure(figsize=(9, 4.2))
    draw_bars(fig.subplots(), rows)
    context.save(fig, "scores")
