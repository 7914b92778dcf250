"""A classifier of topics, trained on English and tested on other languages.

Cross-lingual sentences, arXiv 2105.13856, its zero-shot classification on other data.

    python -m experiments crosslingual topics

SIB-200: topics learned in English, measured in German and French.
Cost: 2 minutes on 2 cores, Tatoeba's pairs and SIB-200 in --data DIR.
Expected: accuracy .45 (de) and .46 (fr), largest class .25.
"""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, averages
from experiments.crosslingual import _common as common


class Config(common.Config):
    """Languages to transfer the classifier to."""

    languages: tuple[Literal["deu", "fra"], ...] = ("deu", "fra")  # beside English


PRESETS = {"topics": Config(epochs=4, max_len=16)}
SMOKE = {"topics": common.SMALL}
# accuracy on every language
figures = common.bars("topics", "encoder language", ("accuracy", "majority"), "accuracy")


def labeled(config: Config) -> dict[str, dict[str, Any]]:
    """Loads SIB-200 by split and language; English is ``"eng"``."""
    languages, corpora = ("eng", *config.languages), jc.text.corpora
    parts = common.toy(languages) if config.corpus == "toy" else {}

    def load(split: str, lang: str) -> Any:
        if parts:
            return corpora.Labeled(parts[split][lang], parts[split]["topic"], [])
        return corpora.labeled_tsv(config.file(f"sib200/{lang}_Latn.{split}.tsv"), key="index_id")

    return {split: {lang: load(split, lang) for lang in languages} for split in ("train", "test")}


def run(config: Config, context: Context) -> Rows:
    """Classifies frozen vectors of a bag trained on Tatoeba, and of an untrained one."""
    texts = labeled(config)
    pairs = jc.text.corpora.joined(list(common.tatoeba(config)[0].values()))
    for seed in context.cases(config.seeds):
        trained = common.bag(context, {"seed": seed}, config, pairs, seed)
        # the baseline: random embeddings transfer only between words with the same spelling
        params = trained.model.init(jax.random.key(seed), np.zeros((1, 4), np.int32))
        untrained = dataclasses.replace(trained, params=params)
        for name, encoder in (("trained", trained), ("untrained", untrained)):
            yield from [{"encoder": name, "seed": seed} | row for row in measure(encoder, texts)]


def measure(encoder: Any, texts: dict[str, Any]) -> Rows:
    """Measures accuracy on every language, after training in English."""
    known = texts["train"]["eng"]
    vectors = {lang: encoder.encode(part.text) for lang, part in texts["test"].items()}
    tests = {lang: (vectors[lang], part.label) for lang, part in texts["test"].items()}
    scores = jc.text.retrieval.zero_shot(encoder.encode(known.text), known.label, tests)
    for lang, own in vectors.items():
        names = list(range(len(own)))
        aligned = jc.text.retrieval.precision_at_1(vectors["eng"], own, names, names)
        row = {"language": lang, "accuracy": scores[lang], "majority": scores["majority"]}
        yield row | {"P@1_from_English": aligned, "keys": len(names)}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Transfer to each language."""
    for line in averages((row for row in rows if row["encoder"] == "trained"), "language"):
        if line["language"] != "eng":
            gain = line["accuracy"] - line["majority"]
            claim = f"topics learnt in English are known in {line['language']}"
            yield at_least(claim, gain, 0.2, note="accuracy - largest class")
