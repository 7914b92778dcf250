"""Compares X2Static's row-sparse updates with dense Adam and with gensim's word2vec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import jcollab as jc
from benchmarks.timing import interleaved
from jcollab import objectives, text
from jcollab.local import row_sparse

WIDTH, NEGATIVES, SENTENCE = 384, 10, 20
LARGE, SMALL = 100_000, 10_000
BATCHES = 256, 512
SENTENCES = 2048
ROUNDS, DENSE_ROUNDS = 32, 4


def measure() -> list[dict[str, Any]]:
    """Measures targets per second for two tables; all programs use the same sentences."""
    rows = []
    for size in (LARGE, SMALL):
        counts = np.maximum(1e7 / np.arange(1, size + 1), 5).astype(np.int64)
        words = tuple(f"w{i}" for i in range(size))
        vocabulary = text.Vocabulary(words, counts)
        rng = np.random.default_rng(0)
        ids = rng.choice(size, (SENTENCES, SENTENCE), p=counts / counts.sum()).astype(np.int32)
        programs: dict[str, Callable[[], Any]] = {}
        targets = {}
        for batch in BATCHES:
            for name, options in (
                ("dense Adam", {"dense": True}),
                ("row-sparse", {}),
                ("row-sparse, columns split", {"columns": True}),
                ("shared negatives", {"shared": True}),
                ("shared negatives, columns split", {"shared": True, "columns": True}),
            ):
                dense = "dense" in options
                if (dense and (size == SMALL or batch != BATCHES[0])) or (
                    "columns" in options and jax.device_count() == 1
                ):
                    continue
                rounds = DENSE_ROUNDS if dense else max(4, ROUNDS * BATCHES[0] // batch)
                name = f"{name}, T={batch}"
                programs[name] = _program(vocabulary, ids, batch, rounds, **options)
                targets[name] = batch * rounds
        for name, skip in (("gensim CBOW", 0), ("gensim skip-gram", 1)):
            if (trained := _gensim(vocabulary, ids, skip)) is not None:
                programs[name], targets[name] = trained, ids.size
        seconds = interleaved(programs, repeats=3)
        speed = {name: targets[name] / value for name, value in seconds.items()}
        dense_speed = speed.get(f"dense Adam, T={BATCHES[0]}")
        for name, value in speed.items():
            rows.append(
                {
                    "V": size,
                    "update": name,
                    "targets a second": value,
                    "times dense Adam": value / dense_speed if dense_speed else "",
                }
                | {
                    f"times {name}": value / speed[name] if name in speed else ""
                    for name in ("gensim CBOW", "gensim skip-gram")
                }
            )
    return rows


def _program(
    vocabulary: text.Vocabulary,
    ids: np.ndarray,
    batch: int,
    rounds: int,
    dense: bool = False,
    shared: bool = False,
    columns: bool = False,
) -> Callable[[], Any]:
    """Compiles rounds of X2Static; with ``columns``, the vectors are sharded over the devices."""
    corpus = text.Corpus(ids.ravel(), np.repeat(np.arange(len(ids), dtype=np.int32), SENTENCE))
    contexts = np.random.default_rng(1).normal(size=(len(ids), WIDTH)).astype(np.float32)
    data = text.client_texts(
        [corpus], vocabulary, threshold=1.0, batch_size=batch, epochs=1, contexts=[contexts]
    )
    most = None if dense else text.sentences_per_batch(data)
    batches = text.x2static_batches(data, NEGATIVES, most_sentences=most, shared=shared)
    loss, rows = objectives.x2static_loss(), objectives.x2static_rows
    if dense:

        def whole(params: Any, batch: Any, key: jax.Array) -> jax.Array:
            return loss({"words": params["words"][rows(batch)["words"]]}, batch, key)

        algorithm = jc.decentralized(whole, optax.adam(1e-3), jc.identity())
    else:
        algorithm = jc.algorithms.sparse_decentralized(
            loss, rows, row_sparse.adam(1e-3), distinct=True
        )
    key = jax.random.key(0)
    carry = [algorithm.init({"words": jnp.zeros((1, len(vocabulary), WIDTH))})]
    mesh = jc.layout.mesh(inner=jax.device_count()) if columns else jc.layout.mesh(1)

    def laid(leaf: jax.Array) -> jax.Array:
        split = columns and leaf.ndim == 3 and leaf.shape[-1] == WIDTH
        spec = PartitionSpec(None, None, "inner") if split else PartitionSpec()
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    carry, batches, key = jax.tree.map(laid, (carry, batches, key))

    def run() -> Any:
        with jc.layout.use(mesh):
            carry[0], log = jc.run(
                algorithm, carry[0], batches, key, num_rounds=rounds, donate=True
            )
        return log["loss"]

    return run


def _gensim(vocabulary: text.Vocabulary, ids: np.ndarray, skip: int) -> Callable[[], Any] | None:
    """Builds gensim's training with two threads and window 5; each position is a target."""
    try:
        from gensim.models import Word2Vec
    except ImportError:
        return None
    model = Word2Vec(
        vector_size=WIDTH, negative=NEGATIVES, workers=2, min_count=1, sg=skip, sample=0,
        window=5, ns_exponent=0.5,
    )  # fmt: skip
    model.build_vocab_from_freq(
        dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    )
    sentences = [[vocabulary.words[i] for i in row] for row in ids]

    def run() -> Any:
        model.train(sentences, total_examples=len(sentences), total_words=ids.size, epochs=1)
        return jnp.zeros(())

    return run
