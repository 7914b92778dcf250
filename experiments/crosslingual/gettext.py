"""Message catalogs of this system as a corpus: held-out messages, and which program they are of.

Cross-lingual sentences, arXiv 2105.13856, on data that is not in the paper.

    python -m experiments crosslingual gettext

Message catalogs of this system as a corpus: P@1 of held-out messages.
Cost: 2 minutes on 2 cores, no download; catalogs must be installed.
Expected: P@1 of 1,000 held-out messages .97.
"""

import collections
from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, averages
from experiments.crosslingual import _common as common
from experiments.fields import Count


class Config(common.Config):
    """Language, and the selection of messages."""

    language: str = "fr"  # beside English
    held_out: Count = 1000  # pairs for testing
    min_words: Count = 3  # English words that a pair must have


PRESETS = {"gettext": Config(epochs=6, max_len=20)}
SMOKE = {"gettext": common.SMALL | {"held_out": 40}}
# P@1 and the accuracy of catalogs, by seed
figures = common.bars("gettext", "seed", ("P@1", "P@1_back", "among_many", "catalog_accuracy"))


def messages(config: Config) -> Any:
    """Loads unique pairs with enough words; ValueError if there are too few."""
    if config.corpus == "toy":
        texts = common.sentences()
        pairs = jc.text.Pairs(texts["en"], texts["fr"], texts["topic"])
    else:
        pairs = jc.text.corpora.unique(jc.text.corpora.gettext_pairs(config.language))
    pairs = pairs.keep([len(text.split()) >= config.min_words for text in pairs.source])
    if len(pairs.source) < config.held_out + config.batch_size:
        count = f"a batch of {config.batch_size} of {len(pairs.source)} messages"
        raise ValueError(f"held_out must leave {count}, got {config.held_out}")
    return pairs


def run(config: Config, context: Context) -> Rows:
    """Measures P@1 of held-out messages, alone and among all, and transfer of a classifier."""
    pairs = messages(config)
    for seed in context.cases(config.seeds):
        order = np.random.default_rng(seed).permutation(len(pairs.source))
        test, rest = pairs.take(order[: config.held_out]), pairs.take(order[config.held_out :])
        train = jc.text.corpora.disjoint(rest, *test[:2])
        encoder = common.bag(context, {"seed": seed}, config, train, seed)
        there, back = jc.text.retrieval.retrieval(encoder, *test[:2])
        many, keys = jc.text.retrieval.among_many(encoder, *test[:2], train.target)
        row = {"language": config.language, "seed": seed, "pairs": len(train.source)}
        row |= {"P@1": there, "P@1_back": back, "among_many": many, "keys": keys}
        yield row | catalogs(encoder, train, test)


def catalogs(encoder: Any, train: Any, test: Any) -> Row:
    """Classifies messages by catalog (the eight largest), with a classifier learned in English."""
    largest = {name for name, _ in collections.Counter(train.origin).most_common(8)}
    some = np.random.default_rng(0).permutation(len(train.source))[:4000]
    known = train.take([i for i in some if train.origin[i] in largest])
    asked = test.keep([name in largest for name in test.origin])
    tests = {"catalog_accuracy": (encoder.encode(asked.target), asked.origin)}
    scores = jc.text.retrieval.zero_shot(encoder.encode(known.source), known.origin, tests)
    return {**scores, "catalog_messages": len(asked.source)}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Held-out messages are retrieved, and catalogs are recognized in the other language."""
    (means,) = averages(rows, "language")
    worst = min(means["P@1"], means["P@1_back"])
    gain = means["catalog_accuracy"] - means["majority"]
    claim = "catalogs learnt in English are known in the other language"
    yield at_least("held-out messages are retrieved", worst, 0.75, note="P@1")
    yield at_least(claim, gain, 0.2, note="accuracy - largest catalog")
