"""Data of all experiments: files of a folder, or sentences of a toy grammar in three languages."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from typing import Any, Literal

import numpy as np

import jcollab as jc
from experiments.contract import check, check_choices

corpora = jc.data.corpora
Pairs = jc.data.Pairs
HELD_OUT = 60  # sentences of the toy grammar
LANGUAGES = ("en", "de", "fr")  # of the toy grammar
TOY_CODES = {"eng": "en", "deu": "de", "fra": "fr"}
# topic: subjects, verbs and objects, each in English, German and French
WORDS = {
    "animals": (
        "the cat/die Katze/le chat, the dog/der Hund/le chien, a bird/ein Vogel/un oiseau",
        "sees/sieht/voit, follows/verfolgt/poursuit, likes/mag/aime",
        "a mouse/eine Maus/une souris, the horse/das Pferd/le cheval, fish/Fische/des poissons",
    ),
    "kitchen": (
        "my mother/meine Mutter/ma mère, the cook/der Koch/le cuisinier, she/sie/elle",
        "cooks/kocht/prépare, eats/isst/mange, buys/kauft/achète",
        "the soup/die Suppe/la soupe, bread/Brot/du pain, an apple/einen Apfel/une pomme",
    ),
    "travel": (
        "the traveller/der Reisende/le voyageur, we/wir/nous, they/sie alle/ils",
        "visit/besuchen/visitent, leave/verlassen/quittent, reach/erreichen/atteignent",
        "the town/die Stadt/la ville, Paris/Paris/Paris, an island/eine Insel/une île",
    ),
}
TIMES = "today/heute/aujourd'hui, in summer/im Sommer/en été, every day/jeden Tag/chaque jour"
# fields with which experiments end in seconds, without any files
SMALL = {"corpus": "toy", "pieces": 120, "width": 8, "batch_size": 32, "epochs": 2, "max_len": 12}
SMALL |= {"num_seeds": 1}


@dataclasses.dataclass(frozen=True)
class Config:
    """What all experiments share: data, vocabulary and the bag of embeddings."""

    data: str = ""  # folder of text data, see the README
    corpus: Literal["files", "toy"] = "files"  # of that folder, or sentences of a toy grammar
    pieces: int = 8000  # V, size of the vocabulary
    width: int = 128  # d of the bag
    batch_size: int = 512  # pairs in a batch
    epochs: int = 5  # passes of the bag
    learning_rate: float = 5e-3  # of Adam, which falls to a twentieth of it
    temperature: float = 0.05  # of cosines
    max_len: int = 24  # longest sentence while training, in pieces
    num_seeds: int = 1
    seed: int = 0  # the first one

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_choices(self)
        check(self, "width batch_size epochs max_len num_seeds", at_least=1)
        check(self, "pieces", at_least=4)
        check(self, "learning_rate temperature", above=0)

    @property
    def seeds(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.num_seeds)

    def folder(self, *needed: str) -> pathlib.Path:
        """The data folder; ValueError if it was not given or lacks one of the files."""
        place = pathlib.Path(self.data)
        missing = [name for name in needed if not (place / name).exists()]
        if not self.data or missing:
            raise ValueError(
                f"data must be a folder with {', '.join(needed)} (--data DIR), got {self.data!r}"
                + (f" without {missing[0]}" if self.data else "")
            )
        return place


def sentences(seed: int = 0) -> dict[str, list[str]]:
    """243 sentences by language, in the same order, with their topics as ``"topic"``."""
    rows = []
    for topic, parts in WORDS.items():
        options = [[w.split("/") for w in part.split(", ")] for part in (*parts, TIMES)]
        for chosen in itertools.product(*options):
            texts = [" ".join(words) + "." for words in zip(*chosen, strict=True)]
            rows.append((*texts, topic))
    order = np.random.default_rng(seed).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    return dict(zip((*LANGUAGES, "topic"), map(list, columns), strict=True))


def toy(languages: tuple[str, ...], names: dict[str, str]) -> dict[str, dict[str, list[str]]]:
    """Sentences and topics of the toy grammar by split and language; unknown ones are French."""
    texts, topic = sentences(), {"topic": "topic"}
    return {
        split: {
            lang: texts[(names | topic).get(lang, "fr")][part] for lang in (*languages, "topic")
        }
        for split, part in (("train", slice(HELD_OUT, None)), ("test", slice(HELD_OUT)))
    }


def captions(config: Any, languages: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Aligned captions of Multi30k by split and language."""
    if config.corpus == "toy":
        return toy(languages, {lang: lang for lang in LANGUAGES})
    names = {"train": "train.{}.gz", "test": "test_2016_flickr.{}.gz"}
    files = {
        split: {lang: f"multi30k/{name.format(lang)}" for lang in languages}
        for split, name in names.items()
    }
    place = config.folder(*(name for part in files.values() for name in part.values()))
    limits = {"train": config.examples, "test": None}
    return {
        split: {lang: corpora.lines(place / name)[: limits[split]] for lang, name in part.items()}
        for split, part in files.items()
    }


def tatoeba(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and test pairs of English with each language, no sentence of which is in both."""
    if config.corpus == "toy":
        parts = toy(("eng", *config.languages), TOY_CODES)
        train, test = (
            {lang: Pairs(part["eng"], part[lang]) for lang in config.languages}
            for part in (parts["train"], parts["test"])
        )
        return train, test
    files = {lang: f"tatoeba_pairs/eng-{lang}.tsv.xz" for lang in config.languages}
    tests = {
        lang: [f"tatoeba_laser/tatoeba.{lang}-eng.{side}" for side in ("eng", lang)]
        for lang in config.languages
    }
    place = config.folder(*files.values(), *itertools.chain(*tests.values()))
    test = {
        lang: corpora.parallel_lines(*(place / name for name in pair))
        for lang, pair in tests.items()
    }
    held_out = [side for pairs in test.values() for side in pairs[:2]]
    limit, train = getattr(config, "examples", None), {}
    for lang, name in files.items():
        pairs = corpora.disjoint(corpora.tsv_pairs(place / name), *held_out)
        train[lang] = pairs if limit is None else pairs.take(range(min(limit, len(pairs.source))))
    return train, test
