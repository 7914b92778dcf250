import json
import lzma

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import text
from jcollab.text.contexts import piece_boundaries, word_boundaries
from tests import REFERENCE

RECORDED = json.loads((REFERENCE / "x2static" / "loss_small.json").read_text())
PARAGRAPH = ["the", "cat", "sat", ".", "then", "the", "u.s.", "dog", "came", "!", "why"]


@pytest.fixture(scope="module")
def teacher():
    return text.random_teacher(["the", "cat", "sat", "then", "dog", "came", "why"], width=8)


def test_texts_become_paragraphs_and_sentences(tmp_path):
    file = tmp_path / "corpus.txt.xz"
    file.write_bytes(lzma.compress("The cat’s mat... Why? So!\n\nA dog\n".encode()))
    lines = list(text.read_lines(file))
    assert lines == ["The cat’s mat... Why? So!", "A dog"]
    (first, second) = text.paragraphs(lines)
    assert first == ["the", "cat's", "mat", "...", "why", "?", "so", "!"] and second == ["a", "dog"]
    assert [len(s) for s in text.split_sentences(first)] == [6, 2]
    assert [len(p) for p in text.paragraphs(lines, max_words=6)] == [6, 2, 2]
    assert sum(len(p) for p in text.paragraphs(lines, max_tokens=7)) == 7


def test_reading_streams():
    def endless():
        while True:
            yield "one two ."

    assert sum(map(len, text.paragraphs(endless(), max_tokens=20))) == 20


def test_drop_probability_equals_the_recorded_one():
    said = RECORDED["rejection"]
    drop = text.drop_probability(np.array(said["counts"]), said["t"])
    np.testing.assert_allclose(drop, said["prob"], atol=1e-9)
    twice = text.drop_probability(2 * np.array(said["counts"]), said["t"])
    np.testing.assert_allclose(twice, drop, atol=1e-12)
    assert (np.diff(drop) <= 0).all() and (drop >= 0).all() and (drop < 1).all()


def test_vocabulary_counts_and_draws():
    texts = [["b", "a", "b", "c"], ["c", "b", "d"]]
    vocabulary = text.build_vocabulary(texts, min_count=1, max_size=3)
    assert vocabulary.words == ("b", "c", "a") and vocabulary.counts.tolist() == [3, 2, 1]
    assert vocabulary.index(["d", "a", "b"]).tolist() == [-1, 2, 0]
    shares = text.negative_shares(np.array([9, 4, 1]))
    np.testing.assert_allclose(shares, [3 / 6, 2 / 6, 1 / 6])
    drawn = np.asarray(text.draw(text.alias(shares), jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), shares, atol=0.015)


def test_spans_of_sentences(teacher):
    (pieces,) = teacher.pieces([" ".join(PARAGRAPH)], 500)
    tokens = pieces.tokens
    own = [tokens[a:b] for a, b in word_boundaries(pieces, PARAGRAPH)]
    assert own[0] == ["the", "cat", "sat", "."]
    assert own[1] == ["then", "the", "u", ".", "s", ".", "dog", "came", "!"]
    assert own[2] == ["why", "[SEP]"]
    released = [tokens[a:b] for a, b in piece_boundaries(pieces)]
    assert released[1] == ["then", "the", "u", "."] and released[2] == ["s", "."]
    (whole,) = teacher.pieces(["the cat ."], 500)
    assert word_boundaries(whole, ["the", "cat", "."]) == [(1, 4)]
    assert piece_boundaries(whole) == [(1, 4), (4, 5)]
    (cut,) = teacher.pieces([" ".join(PARAGRAPH)], 5)
    assert word_boundaries(cut, PARAGRAPH) == [(1, 5)]


def test_contexts_are_means_of_states_and_are_kept(teacher, tmp_path, monkeypatch):
    paragraphs = [PARAGRAPH, ["cat", "."], PARAGRAPH[:4]]
    sentences = [s for p in paragraphs for s in text.split_sentences(p)]
    monkeypatch.setattr("jcollab.text.contexts.TEXTS_PER_PART", 2)
    kept = {"cache": tmp_path, "progress": False}
    contexts = text.sentence_contexts(teacher, sentences, **kept)
    np.testing.assert_allclose(
        contexts, teacher.encode([" ".join(s) for s in sentences]), atol=1e-6
    )
    assert len(list(tmp_path.iterdir())) == 3
    found, again = text.occurrences(teacher, sentences, progress=False)
    np.testing.assert_allclose(again, contexts, atol=1e-6)
    spans = text.paragraph_contexts(teacher, paragraphs, **kept)
    assert spans.shape == contexts.shape
    ((_, _, hidden),) = teacher.states([" ".join(PARAGRAPH)])
    np.testing.assert_allclose(spans[0], hidden[1:5].mean(0), atol=1e-5)
    released = text.paragraph_contexts(teacher, paragraphs, boundaries="pieces", progress=False)
    np.testing.assert_allclose(released[1], hidden[5:9].mean(0), atol=1e-5)

    # a word in one sentence has the mean of its pieces there
    vectors = text.aggregated(found, ["why", "never"], teacher)
    ((_, _, hidden),) = teacher.states(["why"])
    np.testing.assert_allclose(vectors["why"], hidden[1], atol=1e-5)
    alone = text.decontextualized(teacher, ["never"])
    np.testing.assert_allclose(vectors["never"], alone["never"], atol=1e-6)
    ((_, _, hidden),) = teacher.states(["never"])
    np.testing.assert_allclose(alone["never"], hidden[1:-1].mean(0), atol=1e-5)

    def never(*args, **kwargs):
        raise AssertionError("the teacher is asked again")

    monkeypatch.setattr(text.Teacher, "states", never)
    np.testing.assert_array_equal(text.sentence_contexts(teacher, sentences, **kept), contexts)


def corpus_of(sentences):
    vocabulary = text.build_vocabulary(sentences, min_count=1)
    return vocabulary, text.index_corpus(sentences, vocabulary)


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
        sample = jax.jit(text.x2static_batches(3, **options))
        batch = sample(data, jax.random.key(0), jnp.int32(1))
        used = batch["contexts"]
        assert batch["negatives"].shape == (2, 3, most if "shared" in options else 4)
        if options:
            used = jnp.take_along_axis(used, batch["lines"][..., None], 1)
        if "shared" in options:
            held = jax.vmap(lambda lines: jnp.bincount(lines, length=most))(batch["lines"])
            np.testing.assert_allclose(batch["shares"], held / 4)
        for i in range(2):
            for word, context in zip(batch["targets"][i], used[i], strict=True):
                sentence = sentences[int(context[0]) - 10 * i]
                assert vocabulary.words[int(word)] in sentence
    bags = jax.jit(text.bag_batches(3, window=2, shrink=False, buckets=5))
    batch = bags(data, jax.random.key(0), jnp.int32(0))
    for place, bag in zip(data.positions[0, 0], batch["bags"][0], strict=True):
        number = int(corpus.sentences[int(place)])
        inside = corpus.words[(corpus.sentences == number)].tolist()
        inside.remove(int(corpus.words[int(place)]))
        assert sorted(int(w) for w in bag[:4] if w >= 0) == sorted(inside)
        pairs = bag[4:]
        assert ((pairs == -1) | (pairs >= len(vocabulary))).all()
    skip = text.bag_batches(3, window=2, skip_gram=True)(data, jax.random.key(0), jnp.int32(0))
    assert skip["bags"].shape == (2, 4, 1) and (skip["bags"] >= 0).all()


def test_vectors_are_looked_up_saved_and_loaded(tmp_path):
    rng = np.random.default_rng(0)
    words = ("king", "queen", "man", "woman", "straße")
    table = rng.normal(size=(5, 4)).astype(np.float32)
    table[1] = table[0] - table[2] + table[3]
    vectors = text.WordVectors(words, table)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors.similarity("king", "man"), unit[0] @ unit[2], rtol=1e-5)
    best = vectors.nearest("king", 2)
    order = np.argsort(-(unit @ unit[0]))[1:3]
    assert [word for word, _ in best] == [words[i] for i in order]
    (answer, _), *_ = vectors.analogy("man", "king", "woman")
    scores = unit @ (unit[0] - unit[2] + unit[3])
    assert answer == words[max((1, 4), key=lambda i: scores[i])]
    assert "queen" in vectors and "prince" not in vectors and len(vectors) == 5
    np.testing.assert_allclose(vectors.mean(["king", "nobody"]), table[0])
    for binary in (False, True):
        vectors.save_word2vec(tmp_path / "v", binary=binary)
        loaded = text.load_word2vec(tmp_path / "v", binary=binary)
        assert loaded.words == words
        np.testing.assert_array_equal(loaded.table, table)
    vectors.save_safetensors(tmp_path / "v.safetensors")
    loaded = text.load_safetensors(tmp_path / "v.safetensors")
    assert loaded.words == words and (loaded.table == table).all()
    with pytest.raises(KeyError, match="got 'prince'"):
        vectors.similarity("king", "prince")


def test_files_have_the_format_of_word2vec(tmp_path):
    """``V d``, then each word with its numbers; a line end after binary rows is optional."""
    vectors = text.WordVectors(("a", "b"), np.array([[1, 2], [3, 4.5]], np.float32))
    rows = [np.array(row, "<f4").tobytes() for row in ([1, 2], [3, 4.5])]
    lines = b"2 2\n" + b"".join(
        word + row + b"\n" for word, row in zip([b"a ", b"b "], rows, strict=True)
    )
    packed = b"2 2\n" + b"a " + rows[0] + b"b " + rows[1]
    for binary, content in ((False, b"2 2\na 1 2\nb 3 4.5\n"), (True, lines)):
        vectors.save_word2vec(tmp_path / "v", binary=binary)
        assert (tmp_path / "v").read_bytes() == content
    (tmp_path / "w").write_bytes(packed)
    loaded = text.load_word2vec(tmp_path / "w", binary=True)
    assert loaded.words == ("a", "b")
    np.testing.assert_array_equal(loaded.table, vectors.table)


def test_vectors_are_judged(tmp_path):
    table = np.array([[1, 0], [1, 0.1], [0, 1], [-1, 0.2]])
    vectors = text.WordVectors(("a", "b", "c", "d"), table)
    (tmp_path / "pairs").write_text("A b 10\na c\t5\na d 1\na z 3\n")
    said = text.word_similarity(vectors, text.read_pairs(tmp_path / "pairs"))
    assert said == (1.0, 3, 4)
    (tmp_path / "q.csv").write_text("0,kind,a,b,c,d\n1,kind,a,b,c,zz\n")
    questions = text.read_analogies(tmp_path / "q.csv")
    assert text.word_analogies(vectors, questions) == (1.0, 1, 2)
    sentences, labels = [["a"], ["b"], ["d"], ["d", "d"]] * 3, ["x", "x", "y", "y"] * 3
    assert text.classify_sentences(vectors, (sentences, labels), (sentences, labels)) == 1


def test_x2static_collapses_where_all_contexts_are_one():
    sentences = [["a", "b"], ["c", "d"]] * 4
    vocabulary, corpus = corpus_of(sentences)
    data = text.client_texts(
        [corpus], vocabulary, threshold=1.0, batch_size=8, epochs=60,
        contexts=[np.ones((8, 3), np.float32)],
    )  # fmt: skip
    algorithm = jc.sparse_decentralized(
        jc.objectives.x2static_loss(), jc.objectives.x2static_rows, jc.row_sparse.adam(0.1)
    )
    key = jax.random.key(0)
    params = {"words": jax.random.uniform(key, (1, 4, 3), minval=-1 / 3, maxval=1 / 3)}
    state, log = jc.run(
        algorithm, algorithm.init(key, params), data, key,
        num_rounds=data.positions.shape[1], sample=text.x2static_batches(10),
    )  # fmt: skip
    assert log["loss"][-1] < log["loss"][0]
    vectors = text.WordVectors(vocabulary.words, state.clients.params["words"][0])
    assert vectors.similarity("a", "d") > 0.9


def test_bad_input_is_named(teacher, tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be a text file"):
        list(text.read_lines(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="shared needs most_sentences, got None"):
        text.x2static_batches(shared=True)
    with pytest.raises(ValueError, match="got an empty corpus"):
        list(text.paragraphs([]))
    with pytest.raises(ValueError, match="got an empty corpus"):
        text.build_vocabulary([])
    with pytest.raises(ValueError, match="min_count must leave at least one word, got min_count=3"):
        text.build_vocabulary([["a", "a", "b"]], min_count=3)
    with pytest.raises(ValueError, match="got an empty corpus"):
        text.sentence_contexts(teacher, [])
    with pytest.raises(ValueError, match="boundaries must be one of words, pieces, got 'all'"):
        text.paragraph_contexts(teacher, [["a"]], boundaries="all")
    with pytest.raises(ValueError, match="pieces must be one of mean, min, max, last, got 'sum'"):
        text.occurrences(teacher, [["a"]], pieces="sum")
    with pytest.raises(ValueError, match="threshold must be positive, got 0"):
        text.drop_probability(np.ones(2), 0)
    vocabulary, corpus = corpus_of([["a"], ["b"]])
    with pytest.raises(ValueError, match="sentences must hold at least one word of the vocabulary"):
        text.index_corpus([["z"]], vocabulary)
    with pytest.raises(ValueError, match=r"contexts\[0\] must have a row for each of 2 sentences"):
        text.client_texts(
            [corpus], vocabulary, threshold=1.0, batch_size=1, epochs=1, contexts=[np.ones((1, 2))]
        )
    with pytest.raises(ValueError, match=r"table must be \[V=2, d\].*\(3, 2\)"):
        text.WordVectors(("a", "b"), np.ones((3, 2)))
    (tmp_path / "bad").write_text("2 3\na 1 2\n")
    with pytest.raises(ValueError, match="line 2 of .* must be a word and 3 numbers, got 3 parts"):
        text.load_word2vec(tmp_path / "bad")
    (tmp_path / "bad").write_text("one two\n")
    with pytest.raises(ValueError, match="line 1 of .* must be two words and a score"):
        text.read_pairs(tmp_path / "bad")
