import numpy as np
import pytest

from jcollab import text


@pytest.fixture(scope="module")
def teacher():
    return text.random_teacher(["the", "cat", "sat", "then", "dog", "came", "why"], width=8)


def corpus_of(sentences):
    vocabulary = text.build_vocabulary(sentences, min_count=1)
    return vocabulary, text.index_corpus(sentences, vocabulary)


def test_bad_input_is_named(teacher, tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be a text file"):
        list(text.read_lines(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="most_sentences must be given for shared=True, got None"):
        text.x2static_batches(None, shared=True)
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
    with pytest.raises(ValueError, match="sentences must contain at least one word of"):
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
