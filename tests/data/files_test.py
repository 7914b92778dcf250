"""Text files as people have them: encodings, marks, line ends, blanks, headers, damage."""

import bz2
import functools
import gzip
import lzma

import numpy as np
import pytest

import jcollab as jc
from jcollab import text
from jcollab.text import corpora
from tests.text.corpora_test import write_catalog

PAIRS = [("Grüße\u00a0an alle", "Salut à tous"), ("drei", "trois")]
lines = corpora.lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2"])
def test_every_reader_reads_every_encoding(tmp_path, encoding, end, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}[suffix]

    def write(name, *rows):
        content = "".join(row + end for row in rows)
        (tmp_path / (name + suffix)).write_bytes(pack(content.encode(encoding)))
        return tmp_path / (name + suffix)

    read = {"encoding": encoding}
    source, target = zip(*PAIRS, strict=True)
    file = write("source", source[0], "", source[1])
    assert lines(file, **read) == [source[0], "", source[1]]
    assert list(text.read_lines(file, **read)) == list(source)
    both = corpora.parallel_lines(file, write("target", target[0], "", target[1], "", ""), **read)
    assert list(both.both()) == PAIRS
    table = write("tsv", *(f"{i}\t{a}\t{b}" for i, (a, b) in enumerate(PAIRS)))
    assert list(corpora.tsv_pairs(table, (1, 2), **read).both()) == PAIRS
    table = write("labels", "text\tcategory", *("\t".join(pair) for pair in PAIRS))
    assert corpora.labeled_tsv(table, **read)[:2] == (list(source), list(target))
    table = write("similar", "Word 1\tWord 2\tHuman (mean)", "Grüße\u00a0an\tà tous\t7,5", "a b .5")
    with pytest.raises(ValueError, match="line 2 of .* must be two words and a score"):
        text.read_pairs(table, **read)
    table = write("similar", "Word 1\tWord 2\tHuman (mean)", "Grüße\u00a0an\tà tous\t7.5", "a b .5")
    assert text.read_pairs(table, **read) == [("Grüße\u00a0an", "à tous", 7.5), ("a", "b", 0.5)]
    asked = write("csv", ",type,word1,word2,word3,target", '0,x,Athens,Greece,"Köln",Iraq')
    assert text.read_analogies(asked, **read) == [("athens", "greece", "köln", "iraq")]
    asked = write("google", ": capital-world", "Athens Greece Köln Iraq", "")
    assert text.read_analogies(asked, **read) == [("athens", "greece", "köln", "iraq")]
    assert text.read_analogies(write("all", "a,b,c,d"), header=False, **read) == [tuple("abcd")]
    with pytest.raises(ValueError, match="path must be a file with analogies"):
        text.read_analogies(write("all", "a,b,c,d"), header=True, **read)


READERS = {
    "lines": lines,
    "parallel_lines": lambda path: corpora.parallel_lines(path, path),
    "tsv_pairs": corpora.tsv_pairs,
    "labeled_tsv": corpora.labeled_tsv,
    "read_lines": lambda path: list(text.read_lines(path)),
    "read_pairs": text.read_pairs,
    "read_analogies": text.read_analogies,
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_text_is_named_with_file_and_line(tmp_path, name):
    file = tmp_path / "a.txt"
    read = READERS[name]
    good = b"category\ttext\n" + b"x\ty\n" * 5000 if name == "labeled_tsv" else b"a\tb\t1\n" * 5001
    good = b"a,b,c,d\n" * 5001 if name == "read_analogies" else good
    for content, bytes_shown in (
        (b"caf\xe9 x\n", r"b'\\xe9'"),
        (b"caf\xe9", r"b'\\xe9'"),
        (b"a\0", "NUL"),
    ):
        file.write_bytes(good + content)
        with pytest.raises(
            ValueError, match=rf"line 5002 of .*a\.txt must be text in utf-8.*{bytes_shown}"
        ):
            read(file)
    with pytest.raises(FileNotFoundError, match=r"path must be a text file, got .*missing"):
        read(tmp_path / "b.txt")
    with pytest.raises(FileNotFoundError, match="missing or a folder"):
        read(tmp_path)
    whole = gzip.compress(good)
    for content in (whole[:-20], b"plain text", whole[:20] + bytes(5) + whole[25:]):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"path must be a whole \.gz file, got .*a\.gz"):
            read(tmp_path / "a.gz")


def test_lines_that_only_look_empty_and_columns_that_are(tmp_path):
    file = tmp_path / "a"
    file.write_text(
        "\ufeffone\n\u00a0\n\u3000\u200b\ntwo\u2028\u0085lines\u00a0\n", encoding="utf-8"
    )
    assert lines(file) == ["one", "", "", "two\u2028\u0085lines"]
    file.write_text("\tb\na\t\nc\td\n")  # a first or last field that is empty moves no other
    assert list(corpora.tsv_pairs(file).both()) == [("c", "d")]
    file.write_text("text\tcategory\tnote\na cat\tpets\t\n")
    assert corpora.labeled_tsv(file)[:2] == (["a cat"], ["pets"])
    file.write_text("a\nb\n")
    (tmp_path / "b").write_text("x\n\n")
    assert list(corpora.parallel_lines(file, tmp_path / "b").both()) == [("a", "x")]
    (tmp_path / "b").write_text("x\n\n\nz\n")
    with pytest.raises(ValueError, match="equally many lines, got 2 in .*a and 4 in .*b"):
        corpora.parallel_lines(file, tmp_path / "b")
    with pytest.raises(ValueError, match="encoding must be a Python encoding, got 'utf-99'"):
        lines(file, encoding="utf-99")
    with pytest.raises(ValueError, match=r"line 1 of .* must be text in utf-16, got"):
        lines(file, encoding="utf-16")


def test_words_are_found_whatever_the_blanks_and_accents():
    spelled = "cafe\u0301\u00a0au\u3000lait\u200bco\u00adop\ufeff"
    assert text.tokenize(spelled) == ["café", "au", "lait", "coop"]


def test_catalogs_that_end_early_or_are_no_text(tmp_path):
    file = tmp_path / "fr" / "LC_MESSAGES" / "a.mo"
    write_catalog(
        file, {"Open a file": "Ouvrir un fichier", "Caf\xe9 bar": "Caf\xe9"}, "<", "latin-1"
    )
    content = file.read_bytes()
    for length in (40, len(content) - 6):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"path must be a whole gettext catalog, got .*a\.mo"):
            corpora.read_catalog(file)
    file.write_bytes(content.replace(b"charset=latin-1", b"charset=utf-8  "))
    assert corpora.gettext_pairs("fr", [tmp_path]).source == ["Open a file"]


def test_word_vectors_of_other_programs(tmp_path):
    file = tmp_path / "v"
    words = ("new\u00a0york", "\u3000", "\u0085")  # blanks that part no fields
    vectors = text.WordVectors(words, np.arange(6.0).reshape(3, 2))
    for binary in (False, True):
        vectors.save_word2vec(file, binary=binary)
        (tmp_path / "v.gz").write_bytes(gzip.compress(file.read_bytes()))
        for path in (file, tmp_path / "v.gz"):
            loaded = text.load_word2vec(path, binary=binary)
            assert loaded.words == words and (loaded.table == vectors.table).all()
    file.write_bytes("2 2\r\ncafé\t1\t2\r\nb 3 4\r\n".encode("latin-1"))
    assert text.load_word2vec(file, encoding="latin-1").words == ("café", "b")
    load = functools.partial(text.load_word2vec, file)
    with pytest.raises(
        ValueError, match=r"line 2 of .* must have a word in utf-8, got b'caf\\xe9'"
    ):
        load()
    for content, bytes_shown in {
        "2 1\na 1\n": "line 3 of .* must be a word and 1 numbers, got 1 parts",
        "1 1\na x\n": "line 2 of .* must be a word and 1 numbers: could not convert",
        "1 1\na 1\nb 2\n": "must have 1 words, as in its first line, got more",
        "2 1\na 1\na 2\n": "words must differ, got 'a' 2 times",
        "1 1\na nan\n": "table must be finite, got NaN or infinity for 'a'",
        "the 0.1 0.2\n": "must start with a line 'V d', got b'the 0.1 0.2'",
    }.items():
        file.write_text(content)
        with pytest.raises(ValueError, match=bytes_shown):
            load()
    with pytest.raises(ValueError, match="words must be without blanks, got 'a b'"):
        text.WordVectors(("a b",), np.ones((1, 2))).save_word2vec(file)


@pytest.fixture(scope="module")
def takers():
    """Every function that takes texts, as a function of them, and the name of the argument."""
    words = text.train_subwords(["a cat"], 12)
    config = jc.models.bert.BertConfig(words.size, 4, 1, 1, 4)
    teacher = text.Teacher(jc.models.bert.Bert(config), {}, words.tokenizer, "")
    vectors = text.WordVectors(("cat", "dog"), np.eye(2))
    encoder = text.SentenceEncoder(words, None, None)
    vocabulary = text.build_vocabulary([["cat"]], min_count=1)
    flat = {
        "train_subwords": (text.train_subwords, "texts"),
        "ids": (words.ids, "texts"),
        "encode": (encoder.encode, "texts"),
        "nearest": (lambda v: encoder.nearest(["a"], v), "keys"),
        "pieces": (teacher.pieces, "texts"),
        "teacher's encode": (teacher.encode, "texts"),
        "retrieval": (lambda v: text.retrieval.retrieval(encoder, ["a", "b"], v), "target"),
        "among_many": (lambda v: text.retrieval.among_many(encoder, ["a"], ["b"], v), "others"),
        "disjoint": (lambda v: corpora.disjoint(text.Pairs([], []), ["a"], v), r"held_out\[1\]"),
        "unique": (lambda v: corpora.unique(text.Pairs(["a", "b"], v)), "target"),
        "piece_data": (lambda v: text.piece_data(words, text.Pairs(v, ["a", "b"])), "source"),
        "paragraphs": (lambda v: list(text.paragraphs(v)), "lines"),
        "split_sentences": (text.split_sentences, "words"),
        "index": (vocabulary.index, "words"),
        "WordVectors": (lambda v: text.WordVectors(v, np.eye(2)), "words"),
        "mean": (vectors.mean, "words"),
        "decontextualized": (lambda v: text.decontextualized(teacher, v), "words"),
        "random_teacher": (text.random_teacher, "words"),
    }
    quiet = {"progress": False}
    labels = ["x"]
    nested = {
        "build_vocabulary": (text.build_vocabulary, r"texts\[0\]"),
        "index_corpus": (lambda v: text.index_corpus(v, vocabulary), r"sentences\[0\]"),
        "sentence_contexts": (lambda v: text.sentence_contexts(teacher, v, **quiet), r"texts\[0\]"),
        "paragraph_contexts": (
            lambda v: text.paragraph_contexts(teacher, v, **quiet), r"texts\[0\]",
        ),
        "occurrences": (lambda v: text.occurrences(teacher, v, **quiet), r"texts\[0\]"),
        "word_analogies": (lambda v: text.word_analogies(vectors, v), r"questions\[0\]"),
        "classify_sentences": (
            lambda v: text.classify_sentences(vectors, (v, labels), (v, labels)),
            r"train\[0\]\[0\]",
        ),
    }  # fmt: skip
    return flat, nested


def test_texts_that_are_none_are_named_by_position(takers):
    flat, nested = takers
    for call, argument in flat.values():
        with pytest.raises(TypeError, match=rf"{argument} must be .*got the string 'cats'"):
            call("cats")
        for other in (None, 3, float("nan"), b"cat", ["cat"]):
            with pytest.raises(TypeError, match=rf"{argument} must be .* at \[1\]"):
                call(["cat", other])
    for call, argument in nested.values():
        with pytest.raises(TypeError, match=rf"{argument} must be .* got the string 'a cat'"):
            call(["a cat"])
        with pytest.raises(TypeError, match=rf"{argument} must be .* got None at \[1\]"):
            call([["cat", None]])
    vectors = text.WordVectors(("cat", "dog"), np.eye(2))
    with pytest.raises(ValueError, match=r"pairs\[1\] must be two words and a score, got 'cat'"):
        text.word_similarity(vectors, [("cat", "dog", 1), "cat"])
    with pytest.raises(ValueError, match=r"pairs\[0\]\[2\] must be finite, got nan"):
        text.word_similarity(vectors, [("cat", "dog", float("nan"))])
    with pytest.raises(TypeError, match="pairs must be a list of Pairs, got list"):
        corpora.joined(text.Pairs(["a"], ["b"]))
    with pytest.raises(
        ValueError, match=r"texts\[0\] must be words without white space, got 'a b'"
    ):
        nested["sentence_contexts"][0]([["cat", "a b"]])
