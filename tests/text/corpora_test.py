"""Text corpora, catalogs and subwords."""

import functools
import gzip
import json
import lzma
import struct

import numpy as np
import pytest
from backports import zstd

import jcollab as jc
from jcollab.text import corpora

Pairs = jc.text.Pairs


def write_catalog(path, entries, order="<", charset="utf-8"):
    """A compiled catalog, byte by byte as the manual of gettext has it."""
    entries = {"": f"Content-Type: text/plain; charset={charset}\n", **entries}
    names, values = ([text.encode(charset) for text in side] for side in zip(*entries.items()))  # noqa: B905
    start = 28 + 16 * len(names)
    tables, blob = [], b""
    for side in (names, values):
        for text in side:
            tables += [len(text), start + len(blob)]
            blob += text + b"\0"
    head = struct.pack(order + "7I", 0x950412DE, 0, len(names), 28, 28 + 8 * len(names), 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + struct.pack(order + f"{len(tables)}I", *tables) + blob)


def test_lines_are_read_from_plain_and_compressed_files(tmp_path):
    text = "one\u2028line\n\nthree \n"
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.xz").write_bytes(lzma.compress(text.encode()))
    (tmp_path / "a.zst").write_bytes(zstd.compress(text.encode()))
    for name in ("a.txt", "a.gz", "a.xz", "a.zst"):
        assert corpora.lines(tmp_path / name) == ["one\u2028line", "", "three"]
    (tmp_path / "broken.zst").write_bytes(zstd.compress(b"one\n" * 9)[:-3])
    with pytest.raises(ValueError, match=r"path must be a whole \.zst file, got .*broken"):
        corpora.lines(tmp_path / "broken.zst")
    (tmp_path / "b.txt").write_text("eins\nzwei\ndrei")
    pairs = corpora.parallel_lines(tmp_path / "a.txt", tmp_path / "b.txt")
    assert pairs.source == ["one\u2028line", "three"] and pairs.target == ["eins", "drei"]
    (tmp_path / "c.tsv").write_text("7\tone\teins\n8\ttwo\tzwei\n")
    assert corpora.tsv_pairs(tmp_path / "c.tsv", (1, 2)).target == ["eins", "zwei"]
    (tmp_path / "d.tsv").write_text("id\tcategory\ttext\n4\tsport\tA match\n")
    assert corpora.labeled_tsv(tmp_path / "d.tsv", key="id") == (["A match"], ["sport"], ["4"])


@pytest.mark.parametrize("order, charset", [("<", "utf-8"), (">", "iso-8859-1")])
def test_catalogs_become_clean_pairs(tmp_path, order, charset):
    entries = {
        "menu\x04_Open file": "_Ouvrir un fichier",
        "%d file\x00%d files": "%d fichier\x00%d fichiers",
        "First part.\n\nSecond part.": "Première partie.\n\nSeconde partie.",
        "<b>Hello</b> {name}, $USER has %sNew words": "Bonjour {name}, $USER a %s nouveaux mots",
        "GNU": "GNU",
        "yes": "oui, bien entendu, absolument",
        "%s: %d": "%s : %d",
        "call_handler failed": "échec de call_handler",
    }
    write_catalog(tmp_path / "fr/LC_MESSAGES/tool-1.2.mo", entries, order, charset)
    write_catalog(tmp_path / "fr/LC_MESSAGES/twin.mo", {"_Open FILE": "Ouvrir un Fichier"})
    pairs = corpora.gettext_pairs("fr", [tmp_path])
    assert set(pairs.both()) == {
        ("Open file", "Ouvrir un fichier"),
        ("file", "fichier"),
        ("files", "fichiers"),
        ("First part.", "Première partie."),
        ("Second part.", "Seconde partie."),
        ("Hello , has New words", "Bonjour , a nouveaux mots"),
        ("call_handler failed", "échec de call_handler"),
    }
    assert set(pairs.origin) == {"tool-1.2"}


def test_the_catalogs_of_this_system():
    try:
        pairs = corpora.gettext_pairs("fr")
    except FileNotFoundError:
        pytest.skip("no French catalogs on this system")
    assert len(pairs.source) == len(pairs.target) == len(pairs.origin) > 0
    assert all(a.casefold() != b.casefold() for a, b in pairs.both())
    assert np.mean(["%s" in text for text in pairs.source]) < 0.01


def test_held_out_sentences_are_not_trained_on():
    pairs = Pairs(["A cat.", "Hi!", "a CAT"], ["Eine Katze", "Hallo", "die Katze"], ["1", "2", "3"])
    assert corpora.disjoint(pairs, ["a cat"]).origin == ["2"]
    assert corpora.disjoint(pairs, ["hallo"], ["DIE Katze."]).source == ["A cat."]
    again = corpora.joined([pairs, Pairs(["a cat"], ["eine katze!"], ["4"])])
    assert corpora.unique(again).origin == ["1", "2", "3"]
    mixed = corpora.joined([Pairs(["Ho"], ["Ha"]), pairs])
    assert corpora.unique(mixed).origin == ["", "1", "2", "3"]
    assert corpora.joined([Pairs(["Ho"], ["Ha"])]).origin == []


def test_one_vocabulary_of_both_languages(tmp_path):
    texts = ["the red house", "das rote haus", "ein Haus, the house"] * 3
    for kind in ("bpe", "unigram"):
        words = jc.text.train_subwords(texts, 60, kind)
        ids = words.ids(["the house", "", "HAUS!"], max_len=3)
        assert ids.dtype == np.int32 and ids.shape[0] == 3 and ids.shape[1] <= 3
        assert not ids[1].any() and words.size <= 60
        assert (ids[0] == words.ids(["The HOUSE"], max_len=3)[0]).all()
        assert not words.maskable[:3].any()
        inside = [words.tokenizer.id_to_token(i) for i in np.flatnonzero(~words.maskable)]
        assert all(not any(c.isalnum() for c in p) for p in inside if p[0] != "<")
    words.save(tmp_path / "words.json")
    assert jc.text.Subwords.load(tmp_path / "words.json").pieces("the house") == words.pieces(
        "the house"
    )


def test_bad_input_is_named(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "two").write_text("a\tb\nc\n")
    (tmp_path / "one").write_text("a\n")
    with pytest.raises(ValueError, match="path must be a file with text"):
        corpora.lines(tmp_path / "empty")
    with pytest.raises(ValueError, match="equally many lines, got 2 in .* and 1 in"):
        corpora.parallel_lines(tmp_path / "two", tmp_path / "one")
    with pytest.raises(ValueError, match=r"columns \(0, 1\) must be in every line, got 1"):
        corpora.tsv_pairs(tmp_path / "two")
    with pytest.raises(ValueError, match="column must be one of a, b, got 'text'"):
        corpora.labeled_tsv(tmp_path / "two")
    with pytest.raises(ValueError, match="equally long, got 1 and 0"):
        corpora.unique(Pairs(["a"], []))
    with pytest.raises(ValueError, match="pairs must have at least one corpus"):
        corpora.joined([])
    with pytest.raises(ValueError, match="language must be a locale name .* got '../x'"):
        corpora.gettext_pairs("../x")
    with pytest.raises(FileNotFoundError, match="no catalog of language 'fr'"):
        corpora.gettext_pairs("fr", [tmp_path])
    with pytest.raises(ValueError, match="compiled gettext catalog"):
        corpora.read_catalog(tmp_path / "one")
    with pytest.raises(ValueError, match="at least one sentence, got 2 empty ones"):
        jc.text.train_subwords(["", " "])
    with pytest.raises(ValueError, match="size must be more than 3"):
        jc.text.train_subwords(["a"], 3)
    with pytest.raises(ValueError, match="kind must be one of bpe, unigram, got 'word'"):
        jc.text.train_subwords(["a"], kind="word")
    with pytest.raises(TypeError, match="texts must be a list of strings, got the string"):
        jc.text.train_subwords("hello")
    with pytest.raises(TypeError, match="texts must be a list of strings, got 3 at"):
        jc.text.train_subwords([3])
    words = jc.text.train_subwords(["a b"], 10)
    with pytest.raises(ValueError, match="max_len must be at least 1, got 0"):
        words.ids(["a"], 0)
    with pytest.raises(ValueError, match="pairs must have at least one pair, got none"):
        jc.text.piece_data(words, Pairs([], []))


def test_texts_of_tfds_are_read_without_tensorflow(tmp_path):
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    sentences = ["Guten Morgen", "good morning", "ça va"]
    folder = tmp_path / "greetings" / "1.0.0"
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    features.save_config(str(folder))
    examples = [features.serialize_example(features.encode_example({"text": t})) for t in sentences]
    writer = ArrayRecordWriter(
        str(folder / "greetings-train.array_record-00000-of-00001"), "group_size:1"
    )
    for example in examples:
        writer.write(example)
    writer.close()
    split = {
        "name": "train",
        "shardLengths": [str(len(sentences))],
        "numBytes": str(sum(map(len, examples))),
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }
    info = {"fileFormat": "array_record", "name": "greetings", "version": "1.0.0"}
    (folder / "dataset_info.json").write_text(json.dumps(info | {"splits": [split]}))
    read = functools.partial(corpora.tfds_text, "greetings", data_dir=tmp_path)
    assert read() == sentences
    assert read("train[:1]") == sentences[:1]
    with pytest.raises(ValueError, match="field must be one of text, got 'body'"):
        read(field="body")
    with pytest.raises(FileNotFoundError, match="imdb_reviews is not prepared"):
        corpora.tfds_text("imdb_reviews", data_dir=tmp_path)
