import lzma

from jcollab import text


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
