import numpy as np
import pytest

from jcollab import text
from jcollab.text.contexts import piece_boundaries, word_boundaries

PARAGRAPH = ["the", "cat", "sat", ".", "then", "the", "u.s.", "dog", "came", "!", "why"]


@pytest.fixture(scope="module")
def teacher():
    return text.random_teacher(["the", "cat", "sat", "then", "dog", "came", "why"], width=8)


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
    statistics, again = text.occurrences(teacher, sentences, progress=False)
    np.testing.assert_allclose(again, contexts, atol=1e-6)
    spans = text.paragraph_contexts(teacher, paragraphs, **kept)
    assert spans.shape == contexts.shape
    ((_, _, hidden),) = teacher.states([" ".join(PARAGRAPH)])
    np.testing.assert_allclose(spans[0], hidden[1:5].mean(0), atol=1e-5)
    released = text.paragraph_contexts(teacher, paragraphs, boundaries="pieces", progress=False)
    np.testing.assert_allclose(released[1], hidden[5:9].mean(0), atol=1e-5)

    # a word in one sentence has the mean of its pieces there
    vectors = text.aggregated(statistics, ["why", "never"], teacher)
    ((_, _, hidden),) = teacher.states(["why"])
    np.testing.assert_allclose(vectors["why"], hidden[1], atol=1e-5)
    known = text.aggregated(statistics, ["why"], teacher)
    np.testing.assert_array_equal(known["why"], vectors["why"])
    alone = text.decontextualized(teacher, ["never"])
    np.testing.assert_allclose(vectors["never"], alone["never"], atol=1e-6)
    ((_, _, hidden),) = teacher.states(["never"])
    np.testing.assert_allclose(alone["never"], hidden[1:-1].mean(0), atol=1e-5)

    def never(*args, **kwargs):
        raise AssertionError("the teacher is asked again")

    monkeypatch.setattr(text.Teacher, "states", never)
    np.testing.assert_array_equal(text.sentence_contexts(teacher, sentences, **kept), contexts)
