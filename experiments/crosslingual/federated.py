"""Clients with pairs of English and one other language each share one encoder.

Cross-lingual sentences, arXiv 2105.13856; the question is in no paper.

    python -m experiments crosslingual federated

Multi30k: clients with en-de, en-fr, en-cs share one encoder; de-fr is never seen.
Cost: 1 minute on 2 cores, Multi30k in DIR.
Expected: sharing finds translations between languages that no client pairs.

--data DIR names the folder with the data.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row, at_least, averages, check
from experiments.crosslingual import _corpus, _training
from jcollab import pair_training

MIXERS = {
    "nothing": lambda n: jc.identity(),
    "chain": lambda n: jc.gossip(jc.topology.chain(n)),
    "all": lambda n: jc.all_reduce(),
}
ENGLISH = "en"


@dataclasses.dataclass(frozen=True)
class Config(_corpus.Config):
    """Clients, and how they share their encoders."""

    languages: tuple[str, ...] = ("de", "fr", "cs")  # beside English; one client for each
    mixers: tuple[str, ...] = tuple(MIXERS)  # how encoders are shared
    local_rounds: int = 4  # rounds between two exchanges
    examples: int | None = None  # captions that are dealt to the clients, None for all

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check(self, "local_rounds", at_least=1)
        check(self, "mixers", among=MIXERS)
        if len(self.languages) < 2:
            raise ValueError(f"languages must be at least two, got {self.languages}")


PRESETS = {"federated": Config(batch_size=256, epochs=8, max_len=20)}
SMOKE = {"federated": _corpus.SMALL | {"languages": ("de", "fr")}}


def run(config: Config, context: Context) -> list[Row]:
    """Every mixer: P@1 of each client on its own pair, and on pairs that nobody has."""
    texts = _corpus.captions(config, (ENGLISH, *config.languages))
    n = len(config.languages)
    parts = [  # captions of different images
        jc.data.Pairs(texts["train"][ENGLISH][i::n], texts["train"][lang][i::n])
        for i, lang in enumerate(config.languages)
    ]
    # the vocabulary is agreed on beforehand; sentences stay where they are
    words = _training.vocabulary(jc.data.corpora.joined(parts), config.pieces)
    rows: list[Row] = []
    for mixer, seed in context.cases(config.mixers, config.seeds):
        encoders = share(config, mixer, parts, words, seed, context)
        for lang, encoder in zip(config.languages, encoders, strict=True):
            row = {"mixer": mixer, "seed": seed, "client": f"{ENGLISH}-{lang}"}
            rows.append(row | measure(encoder, texts["test"], lang, config.languages))
            context.log().write(rows[-1])
    return rows


def share(
    config: Config, mixer: str, parts: list[Any], words: Any, seed: int, context: Context
) -> list[Any]:
    """The encoders of all clients after training."""
    n = len(parts)
    model = jc.models.BagEncoder(words.size, config.width)
    data = jc.data.piece_data(words, jc.data.corpora.joined(parts), config.max_len)
    examples = jc.objectives.PairBatch(*(jnp.asarray(leaf) for leaf in data))
    ends = np.cumsum([0, *(len(part.source) for part in parts)])
    owned = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    rounds = config.epochs * max(1, len(owned[0]) // config.batch_size)
    order = jc.data.epochs(np.random.default_rng(seed), owned, config.batch_size, rounds)
    algorithm = jc.decentralized(
        pair_training.pair_loss(model, words, ("contrastive",), temperature=config.temperature),
        _training.falling(config.learning_rate, rounds),
        jc.every(config.local_rounds, MIXERS[mixer](n)),
    )
    key = jax.random.key(seed)
    params = jc.replicate(model.init(key, jnp.zeros((1, 4), jnp.int32)), n)
    result = context.fit(
        algorithm,
        algorithm.init(key, params),
        jc.data.Ordered(examples, jnp.asarray(order)),
        key,
        num_rounds=rounds,
        sample=jc.data.in_order,
        eval_every=max(1, rounds // 4),
        tags={"mixer": mixer, "seed": seed},
    )
    models = [
        jax.tree.map(lambda leaf, i=i: leaf[i], result.state.clients.params) for i in range(n)
    ]
    return [jc.sentences.SentenceEncoder(words, model, params) for params in models]


def measure(encoder: Any, test: dict[str, list[str]], own: str, languages: tuple[str, ...]) -> Row:
    """Means over both directions; unseen are all pairs of languages other than English."""
    vectors = {lang: encoder.encode(test[lang]) for lang in (ENGLISH, *languages)}

    def both(a: str, b: str) -> float:
        there = jc.retrieval.precision_at_1(vectors[a], vectors[b], test[b], test[b])
        return (there + jc.retrieval.precision_at_1(vectors[b], vectors[a], test[a], test[a])) / 2

    unseen = np.mean([both(a, b) for a, b in itertools.combinations(languages, 2)])
    return {"own_pair": both(ENGLISH, own), "unseen_pairs": unseen, "keys": len(test[own])}


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """The benefit of sharing."""
    means = {line["mixer"]: line for line in averages(rows, "mixer")}
    alone, found = means.pop("nothing", None), []
    for mixer, line in means.items() if alone else ():
        gain, loss = (line[name] - alone[name] for name in ("unseen_pairs", "own_pair"))
        claim = f"sharing ({mixer}) finds translations between languages that no client pairs"
        found.append(at_least(claim, gain, 0.2, note="difference of P@1"))
        claim = f"sharing ({mixer}) does not harm a client's own pair"
        found.append(at_least(claim, loss, -0.005, note="difference of P@1"))
    return found


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """P@1 of every mixer."""
    values = {line["mixer"]: line for line in averages(rows, "mixer")}
    context.save(_training.bars(values, ("own_pair", "unseen_pairs")), "federated")
