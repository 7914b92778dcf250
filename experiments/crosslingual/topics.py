"""A classifier of topics that has seen English only, on other languages.

Cross-lingual sentences, arXiv 2105.13856, its zero-shot classification on other data.

    python -m experiments crosslingual topics

SIB-200: topics learned in English, measured in German and French.
Cost: 2 minutes on 2 cores, Tatoeba's pairs and SIB-200 in DIR.
Expected: accuracy .45 (de) and .46 (fr), largest class .25.

--data DIR names the folder with the data.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

import jcollab as jc
from experiments.contract import Claim, Context, Row, at_least, averages
from experiments.crosslingual import _corpus, _training


@dataclasses.dataclass(frozen=True)
class Config(_corpus.Config):
    """Which languages the classifier is transferred to."""

    languages: tuple[Literal["deu", "fra"], ...] = ("deu", "fra")  # beside English


PRESETS = {"topics": Config(epochs=4, max_len=16)}
SMOKE = {"topics": _corpus.SMALL}


def labeled(config: Config) -> dict[str, dict[str, Any]]:
    """SIB-200 by language and split; English under ``"eng"``."""
    languages, splits = ("eng", *config.languages), ("train", "test")
    corpora = jc.data.corpora
    if config.corpus == "toy":
        parts = _corpus.toy(languages, _corpus.TOY_CODES)
        return {
            lang: {
                split: corpora.Labelled(part[lang], part["topic"], [])
                for split, part in parts.items()
            }
            for lang in languages
        }
    files = {
        lang: {split: f"sib200/{lang}_Latn.{split}.tsv" for split in splits} for lang in languages
    }
    place = config.folder(*(name for parts in files.values() for name in parts.values()))
    return {
        lang: {
            split: corpora.labelled_tsv(place / name, key="index_id")
            for split, name in parts.items()
        }
        for lang, parts in files.items()
    }


def run(config: Config, context: Context) -> list[Row]:
    """Trains a bag on Tatoeba, then classifies its frozen vectors; an untrained one beside it."""
    texts = labeled(config)
    pairs = jc.data.corpora.joined(list(_corpus.tatoeba(config)[0].values()))
    words = _training.vocabulary(pairs, config.pieces)
    rows: list[Row] = []
    for seed in context.cases(config.seeds):
        trained = _training.bag(context, config, pairs, words, seed, seed=seed)
        # random embeddings know across languages only what is spelled alike
        params = trained.model.init(jax.random.key(seed), jnp.zeros((1, 4), jnp.int32))
        untrained = dataclasses.replace(trained, params=params)
        for name, encoder in (("trained", trained), ("untrained", untrained)):
            rows += [{"encoder": name, "seed": seed} | row for row in measure(encoder, texts)]
    for row in rows:
        context.log().write(row)
    return rows


def measure(encoder: Any, texts: dict[str, Any]) -> list[Row]:
    """Accuracy on every language, with training sentences in English."""
    known = texts["eng"]["train"]
    vectors = {lang: encoder.encode(parts["test"].text) for lang, parts in texts.items()}
    tests = {lang: (vectors[lang], texts[lang]["test"].label) for lang in texts}
    scores = jc.retrieval.zero_shot(encoder.encode(known.text), known.label, tests)
    rows = []
    for lang, own in vectors.items():
        names = list(range(len(own)))
        aligned = jc.retrieval.precision_at_1(vectors["eng"], own, names, names)
        row = {"language": lang, "accuracy": scores[lang], "majority": scores["majority"]}
        rows.append(row | {"P@1_from_English": aligned, "keys": len(names)})
    return rows


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """Transfer to each language."""
    found = []
    for lang in config.languages:
        own = [r for r in rows if (r["encoder"], r["language"]) == ("trained", lang)]
        (line,) = averages(own, "language")
        gain = line["accuracy"] - line["majority"]
        claim = f"topics learnt in English are known in {lang}"
        found.append(at_least(claim, gain, 0.2, note="accuracy - largest class"))
    return found


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Accuracy on every language."""
    values = {f"{r['encoder']} {r['language']}": r for r in rows if r["seed"] == config.seed}
    context.save(_training.bars(values, ("accuracy", "majority"), "accuracy"), "topics")
