import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from jcollab import text


def corpus_of(sentences):
    vocabulary = text.build_vocabulary(sentences, min_count=1)
    return vocabulary, text.index_corpus(sentences, vocabulary)


@jax.jit
def draw(batches, step):
    return batches.draw(jax.random.key(0), step)


def test_batches_hold_what_belongs_together():
    sentences = [["a", "b", "c"], ["d", "e"], ["f", "g", "a"]]
    vocabulary, corpus = corpus_of(sentences)
    contexts = np.arange(3, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    data = text.client_texts(
        [corpus, corpus], vocabulary, threshold=1.0, batch_size=4, epochs=2,
        contexts=[contexts, 10 + contexts],
    )  # fmt: skip
    assert data.positions.shape == (2, 4, 4)
    for i in range(2):
        counted = np.bincount(np.asarray(data.positions[i]).ravel(), minlength=8)
        assert (counted == 2).all()  # twice through the text
    most = text.sentences_per_batch(data)
    for options in ({}, {"most_sentences": most}, {"most_sentences": most, "shared": True}):
        batch = draw(text.x2static_batches(data, 3, **options), jnp.int32(1))
        used = batch["contexts"]
        assert batch["negatives"].shape == (2, 3, most if "shared" in options else 4)
        if options:
            used = jnp.take_along_axis(used, batch["lines"][..., None], 1)
        if "shared" in options:
            counts = jax.vmap(lambda lines: jnp.bincount(lines, length=most))(batch["lines"])
            np.testing.assert_allclose(batch["shares"], counts / 4)
        for i in range(2):
            for word, context in zip(batch["targets"][i], used[i], strict=True):
                sentence = sentences[int(context[0]) - 10 * i]
                assert vocabulary.words[int(word)] in sentence
    batch = draw(text.bag_batches(data, 3, window=2, shrink=False, buckets=5), jnp.int32(0))
    for place, bag in zip(data.positions[0, 0], batch["bags"][0], strict=True):
        number = int(corpus.sentences[int(place)])
        inside = corpus.words[(corpus.sentences == number)].tolist()
        inside.remove(int(corpus.words[int(place)]))
        assert sorted(int(w) for w in bag[:4] if w >= 0) == sorted(inside)
        pairs = bag[4:]
        assert ((pairs == -1) | (pairs >= len(vocabulary))).all()
    plain = text.client_texts([corpus, corpus], vocabulary, threshold=1.0, batch_size=4, epochs=2)
    alone = draw(text.bag_batches(plain, 3, window=2, shrink=False), jnp.int32(0))
    np.testing.assert_array_equal(alone["bags"], batch["bags"][..., :4])  # the words, no pairs
    skip = draw(text.bag_batches(data, 3, window=2, skip_gram=True), jnp.int32(0))
    assert skip["bags"].shape == (2, 4, 1) and (skip["bags"] >= 0).all()


def test_x2static_collapses_where_all_contexts_are_one():
    sentences = [["a", "b"], ["c", "d"]] * 4
    vocabulary, corpus = corpus_of(sentences)
    data = text.client_texts(
        [corpus], vocabulary, threshold=1.0, batch_size=8, epochs=60,
        contexts=[np.ones((8, 3), np.float32)],
    )  # fmt: skip
    algorithm = jc.algorithms.sparse_decentralized(
        jc.objectives.x2static_loss(), jc.objectives.x2static_rows, jc.local.row_sparse.adam(0.1)
    )
    key = jax.random.key(0)
    params = {"words": jax.random.uniform(key, (1, 4, 3), minval=-1 / 3, maxval=1 / 3)}
    rounds, batches = data.positions.shape[1], text.x2static_batches(data, 10)
    state, log = jc.run(algorithm, algorithm.init(params), batches, key, num_rounds=rounds)
    assert log["loss"][-1] < log["loss"][0]
    vectors = text.WordVectors(vocabulary.words, state.clients.params["words"][0])
    assert vectors.similarity("a", "d") > 0.9
