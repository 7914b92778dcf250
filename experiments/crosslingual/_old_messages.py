"""Message catalogs of the system as a corpus: held-out messages, and which program they are of."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.crosslingual import corpus, figures, toy, training
from experiments.crosslingual.kinds import Gettext

BOUND = 0.75
GAIN = 0.20
LARGEST = 8  # catalogs whose messages are classified


def run(config: Gettext, context: Context) -> list[Row]:
    """P@1 of held-out messages, alone and among the others, and transfer of a classifier."""
    pairs = messages(config)
    rows: list[Row] = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        mixed = corpus.shuffled(pairs, seed)
        test = mixed.take(range(config.held_out))
        train = jc.data.corpora.disjoint(
            mixed.take(range(config.held_out, len(mixed.source))), *test[:2]
        )
        words = corpus.vocabulary(train, config.pieces)
        report = training.reported(context, f"bag, seed {seed}", seed=seed)
        encoder = training.plain_bag(config, train, words, seed, report)
        there, back = jc.retrieval.retrieval(encoder, *test[:2])
        many, keys = jc.retrieval.among_many(encoder, *test[:2], train.target)
        row = {"language": config.language, "seed": seed, "pairs": len(train.source)}
        row |= {"P@1": there, "P@1_back": back, "among_many": many, "keys": keys}
        row |= catalogs(encoder, train, test)
        context.log().write(row)
        rows.append(row)
        if context.stop.is_set():
            return rows
    shown = {f"seed {row['seed']}": row for row in rows}
    names = ("P@1", "P@1_back", "among_many", "catalog_accuracy")
    context.save(figures.bars(shown, names), "gettext")
    return rows


def messages(config: Gettext) -> Any:
    """Unique pairs with enough words; ValueError if there are too few to hold some out."""
    if config.corpus == "toy":
        said = toy.sentences()
        pairs = jc.data.Pairs(said["en"], said["fr"], said["topic"])
    else:
        pairs = jc.data.corpora.unique(jc.data.corpora.gettext_pairs(config.language))
    pairs = pairs.keep([len(text.split()) >= config.min_words for text in pairs.source])
    if len(pairs.source) < config.held_out + config.batch_size:
        raise ValueError(
            f"held_out must leave a batch of {config.batch_size} of {len(pairs.source)} messages, "
            f"got {config.held_out}"
        )
    return pairs


def catalogs(encoder: Any, train: Any, test: Any) -> dict[str, Any]:
    """Which of the largest catalogs a message is of: learnt in English, judged in the other one."""
    largest = [name for name, _ in collections.Counter(train.origin).most_common(LARGEST)]
    rng = np.random.default_rng(0)
    some = rng.permutation(len(train.source))[:4000]
    known = [i for i in some if train.origin[i] in largest]
    judged = [i for i, name in enumerate(test.origin) if name in largest]
    tests = {
        "catalog_accuracy": (
            encoder.encode([test.target[i] for i in judged]),
            [test.origin[i] for i in judged],
        )
    }
    scores = jc.retrieval.zero_shot(
        encoder.encode([train.source[i] for i in known]), [train.origin[i] for i in known], tests
    )
    return {**scores, "catalog_messages": len(judged)}


def claims(config: Gettext, rows: list[Row]) -> list[Claim]:
    """Held-out messages are found, and the catalog is known in the other language."""
    worst = min(float(np.mean([row[name] for row in rows])) for name in ("P@1", "P@1_back"))
    gain = float(np.mean([row["catalog_accuracy"] - row["majority"] for row in rows]))
    return [
        Claim("held-out messages are found", f"P@1 >= {BOUND}", worst, worst >= BOUND),
        Claim(
            "catalogs learnt in English are known in the other language",
            f"accuracy - largest catalog >= {GAIN}",
            gain,
            gain >= GAIN,
        ),
    ]
