import numpy as np

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
