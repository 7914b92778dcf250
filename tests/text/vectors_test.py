import numpy as np
import pytest

from jcollab import text


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
