import numpy as np
import pytest

from jcollab import text


def test_vectors_are_evaluated(tmp_path):
    table = np.array([[1, 0], [1, 0.1], [0, 1], [-1, 0.2]])
    vectors = text.WordVectors(("a", "b", "c", "d"), table)
    (tmp_path / "pairs").write_text("A b 10\na c\t5\na d 1\na z 3\n")
    result = text.word_similarity(vectors, text.read_pairs(tmp_path / "pairs"))
    assert result == (1.0, 3, 4)
    (tmp_path / "q.csv").write_text("0,kind,a,b,c,d\n1,kind,a,b,c,zz\n")
    questions = text.read_analogies(tmp_path / "q.csv")
    assert text.word_analogies(vectors, questions) == (1.0, 1, 2)
    sentences, labels = [["a"], ["b"], ["d"], ["d", "d"]] * 3, ["x", "x", "y", "y"] * 3
    assert text.classify_sentences(vectors, (sentences, labels), (sentences, labels)) == 1


def test_what_cannot_be_evaluated_is_refused(tmp_path):
    vectors = text.WordVectors(("a", "b"), np.eye(2))
    sentences = ([["a"], ["b"]], ["x", "y"])
    with pytest.raises(ValueError, match="pairs must be at least one, got none"):
        text.word_similarity(vectors, [])
    with pytest.raises(ValueError, match="questions must be at least one, got none"):
        text.word_analogies(vectors, [])
    with pytest.raises(ValueError, match="inverse_penalty must be positive, got 0"):
        text.classify_sentences(vectors, sentences, sentences, inverse_penalty=0)
    with pytest.raises(ValueError, match="sentences"):
        text.classify_sentences(vectors, ([["a"]], ["x", "y"]), sentences)
    (tmp_path / "q.csv").write_text("0,kind,a\n")
    with pytest.raises(ValueError, match=r"line 1 of .*q\.csv must have four words"):
        text.read_analogies(tmp_path / "q.csv")


def test_one_known_pair_has_no_correlation(tmp_path):
    vectors = text.WordVectors(("a", "b"), np.eye(2))
    (tmp_path / "pairs").write_text("a b 10\n\na z 3\n")
    result = text.word_similarity(vectors, text.read_pairs(tmp_path / "pairs"))
    assert np.isnan(result.spearman) and (result.num_known, result.total) == (1, 2)
