"""Tatoeba's pairs of two languages with English, LASER's test sets, also among very many keys."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.crosslingual import corpus, figures, training
from experiments.crosslingual.kinds import Tatoeba

BOUNDS = {"deu": 0.97, "fra": 0.95}  # LASER itself: about .99 and .957
MARGIN = 4  # nearest queries of a key by which hubs are known; as in arXiv 1811.01136
GAIN = 0.03  # over the bag, among many keys


def run(config: Tatoeba, context: Context) -> list[Row]:
    """The bag for each language alone, and the best encoder for all of them."""
    texts = corpus.tatoeba(config)
    rows: list[Row] = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        for lang, pairs in texts.train.items():
            began = time.perf_counter()
            words = corpus.vocabulary(pairs, config.pieces)
            report = training.reported(context, f"bag {lang}", method="bag", language=lang)
            encoder = training.plain_bag(config, pairs, words, seed, report)
            seconds = time.perf_counter() - began
            rows += judge(encoder, texts, [lang], {"method": "bag", "seed": seed}, seconds)
            if context.stop.is_set():
                return rows
        began = time.perf_counter()
        encoder = best(config, texts, seed, context)
        seconds = time.perf_counter() - began
        labels = {"method": "best", "seed": seed}
        rows += judge(encoder, texts, list(config.languages), labels, seconds)
        encoder.save(context.out / f"encoder-{seed}")
    for row in rows:
        context.log().write(row)
    shown = {
        f"{row['method']} {row['language']}": row for row in rows if row["seed"] == config.seed
    }
    context.save(figures.bars(shown, ("P@1", "P@1_back", "among_many")), "tatoeba")
    return rows


def best(config: Tatoeba, texts: Any, seed: int, context: Context) -> Any:
    """One wider bag for all languages: hard negatives, a margin, pieces left out at random."""
    pairs = jc.data.corpora.joined(list(texts.train.values()))
    words = corpus.vocabulary(pairs, config.best_pieces)
    return training.bag(
        pairs,
        words,
        width=config.best_width,
        batch_size=config.best_batch,
        epochs=config.best_epochs,
        rate=config.learning_rate,
        temperature=config.temperature,
        drop=config.drop,
        margin=config.margin,
        max_len=config.max_len,
        group=config.group,
        seed=seed,
        **training.reported(context, "all languages", method="best"),
    )


def judge(encoder: Any, texts: Any, languages: list[str], labels: Row, seconds: float) -> list[Row]:
    """P@1 on each test set, and among all sentences of the training set as well.

    By plain cosines, and with a margin that makes hubs count less.
    """
    rows = []
    for lang in languages:
        test = texts.test[lang]
        names = [*dict.fromkeys(texts.train[lang].target), *test.target]
        english, every = encoder.encode(test.source), encoder.encode(names)
        other = every[-len(test.target) :]
        row = {**labels, "language": lang}
        for suffix, margin in (("", 0), ("_margin", min(MARGIN, len(english)))):
            find = functools.partial(jc.retrieval.precision_at_1, margin=margin)
            row |= {
                f"P@1{suffix}": find(english, other, test.target, test.target),
                f"P@1_back{suffix}": find(other, english, test.source, test.source),
                f"among_many{suffix}": find(english, every, test.target, names),
            }
        rows.append(row | {"keys": len(names), "seconds": seconds})
    return rows


def claims(config: Tatoeba, rows: list[Row]) -> list[Claim]:
    """The bounds of LASER's sets, and the gain over the bag among many keys."""

    def mean(method: str, lang: str, name: str) -> float:
        own = [r[name] for r in rows if r["method"] == method and r["language"] == lang]
        return float(np.mean(own))

    made = []
    for lang in config.languages:
        for suffix, how in (("", "by cosine"), ("_margin", f"with a margin of {MARGIN}")):
            worst = min(mean("best", lang, f"{name}{suffix}") for name in ("P@1", "P@1_back"))
            bound = BOUNDS[lang]
            sentence = f"translations are found in both directions {how} ({lang})"
            made.append(Claim(sentence, f"P@1 >= {bound}", worst, worst >= bound))
    for lang in config.languages:
        gain = mean("best", lang, "among_many") - mean("bag", lang, "among_many")
        sentence = f"the best encoder is better than the bag among many keys ({lang})"
        made.append(Claim(sentence, f"difference of P@1 >= {GAIN}", gain, gain >= GAIN))
    return made
