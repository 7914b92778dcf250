"""The corpora of the experiments: files of the data folder, or the toy grammar."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import jcollab as jc
from experiments.crosslingual import toy
from experiments.crosslingual.kinds import Federated, Losses, Tatoeba, Topics

corpora = jc.data.corpora
Pairs = jc.data.Pairs
TOY_TEST = 60  # sentences of the toy grammar that are held out
TOY_CODES = {"deu": "de", "fra": "fr", "eng": "en"}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pairs to train on, and pairs to find translations of.

    Attributes:
        train: by name of the pair of languages.
        test: likewise.
    """

    train: dict[str, Any]
    test: dict[str, Any]


def captions(config: Losses | Federated, languages: tuple[str, ...]) -> dict[str, dict[str, list]]:
    """Aligned captions of Multi30k by split and language."""
    if config.corpus == "toy":
        said = toy.sentences()
        known = [lang if lang in toy.LANGUAGES else "fr" for lang in languages]
        split = {"train": slice(TOY_TEST, None), "test": slice(TOY_TEST)}
        return {
            name: {lang: said[code][part] for lang, code in zip(languages, known, strict=True)}
            for name, part in split.items()
        }
    names = {"train": "train.{}.gz", "test": "test_2016_flickr.{}.gz"}
    files = [f"multi30k/{name.format(lang)}" for name in names.values() for lang in languages]
    place = config.folder(*files)
    found = {
        split: {lang: corpora.lines(place / "multi30k" / name.format(lang)) for lang in languages}
        for split, name in names.items()
    }
    if config.examples is not None:
        found["train"] = {lang: texts[: config.examples] for lang, texts in found["train"].items()}
    return found


def tatoeba(config: Tatoeba | Topics) -> Corpus:
    """Tatoeba's pairs of English with each language, without any sentence of any test set."""
    if config.corpus == "toy":
        said = toy.sentences()
        both = {lang: Pairs(said["en"], said[TOY_CODES[lang]]) for lang in config.languages}
        train = {lang: pairs.take(range(TOY_TEST, 243)) for lang, pairs in both.items()}
        return Corpus(train, {lang: pairs.take(range(TOY_TEST)) for lang, pairs in both.items()})
    files = {lang: f"tatoeba_pairs/eng-{lang}.tsv.xz" for lang in config.languages}
    tests = {
        lang: [f"tatoeba_laser/tatoeba.{lang}-eng.{side}" for side in ("eng", lang)]
        for lang in config.languages
    }
    place = config.folder(*files.values(), *(name for pair in tests.values() for name in pair))
    test = {
        lang: corpora.parallel_lines(*(place / name for name in pair))
        for lang, pair in tests.items()
    }
    held_out = [side for pairs in test.values() for side in pairs[:2]]
    limit = getattr(config, "examples", None)
    train = {}
    for lang, name in files.items():
        pairs = corpora.disjoint(corpora.tsv_pairs(place / name), *held_out)
        train[lang] = pairs if limit is None else pairs.take(range(min(limit, len(pairs.source))))
    return Corpus(train, test)


def topics(config: Topics) -> dict[str, dict[str, Any]]:
    """SIB-200 by language and split; English under ``"eng"``."""
    languages = ("eng", *config.languages)
    if config.corpus == "toy":
        said = toy.sentences()
        codes = {lang: TOY_CODES[lang] for lang in languages}
        parts = {"train": slice(TOY_TEST, None), "test": slice(TOY_TEST)}
        return {
            lang: {
                split: corpora.Labelled(said[code][part], said["topic"][part], [])
                for split, part in parts.items()
            }
            for lang, code in codes.items()
        }
    names = {lang: f"{lang}_Latn" for lang in languages}
    splits = ("train", "test")
    place = config.folder(
        *(f"sib200/{name}.{split}.tsv" for name in names.values() for split in splits)
    )
    return {
        lang: {
            split: corpora.labelled_tsv(place / "sib200" / f"{name}.{split}.tsv", key="index_id")
            for split in splits
        }
        for lang, name in names.items()
    }


def vocabulary(pairs: Any, size: int, **options: Any) -> Any:
    """One vocabulary of both sides of all pairs."""
    return jc.data.train_subwords([*pairs.source, *pairs.target], size, **options)


def shuffled(pairs: Any, seed: int) -> Any:
    """The pairs in a random order."""
    return pairs.take(np.random.default_rng(seed).permutation(len(pairs.source)))
