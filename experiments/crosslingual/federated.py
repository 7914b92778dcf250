"""Clients with pairs of English and one other language each share one encoder.

Cross-lingual sentences, arXiv 2105.13856; the question is in no paper.

    python -m experiments crosslingual federated

Multi30k: clients with en-de, en-fr, en-cs share one encoder; de-fr is never seen.
Cost: 1 minute on 2 cores, Multi30k in --data DIR.
Expected: sharing finds translations between languages that no client pairs.
"""

import itertools
from typing import Annotated, Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, averages
from experiments.crosslingual import _common as common
from experiments.fields import Bound, Count
from jcollab.text import pair_training

MIXERS = {
    "nothing": lambda n: jc.identity(),
    "chain": lambda n: jc.gossip(jc.topology.chain(n)),
    "all": lambda n: jc.all_reduce(),
}


class Config(common.Config):
    """Clients with a common vocabulary, and how they share encoders."""

    languages: tuple[str, ...] = ("de", "fr", "cs")  # beside English; one client for each
    # how encoders are shared
    mixers: tuple[Annotated[str, Bound(among=MIXERS)], ...] = tuple(MIXERS)
    local_rounds: Count = 4  # rounds between two exchanges
    examples: int | None = None  # captions for the clients, None for all

    def _check(self) -> None:
        if len(self.languages) < 2:
            raise ValueError(f"languages must be at least two, got {self.languages}")


PRESETS = {"federated": Config(batch_size=256, epochs=8, max_len=20)}
SMOKE = {"federated": common.SMALL | {"languages": ("de", "fr")}}
# P@1 of every mixer
figures = common.bars("federated", "mixer", ("own_pair", "unseen_pairs"))


def run(config: Config, context: Context) -> Rows:
    """Measures for every mixer P@1 on each client's own pair, and on pairs that no client has."""
    texts, n = common.captions(config, ("en", *config.languages)), len(config.languages)
    own = texts["train"]  # clients receive captions of different images
    parts = [jc.text.Pairs(own["en"][i::n], own[x][i::n]) for i, x in enumerate(config.languages)]
    pairs, sizes = jc.text.corpora.joined(parts), [len(part.source) for part in parts]
    words = jc.text.train_subwords([*pairs.source, *pairs.target], config.pieces)
    model = jc.models.BagEncoder(words.size, config.width)
    loss = pair_training.pair_loss(model, words, ("contrastive",), temperature=config.temperature)
    examples = jc.objectives.PairBatch(*jc.text.piece_data(words, pairs, config.max_len))
    owned = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    rounds = config.epochs * max(1, sizes[0] // config.batch_size)
    options = {"num_rounds": rounds, "eval_every": max(1, rounds // 4)}
    rate = config.learning_rate
    optimizer = optax.adam(optax.linear_schedule(rate, rate / 20, rounds))
    for mixer, seed in context.cases(config.mixers, config.seeds):
        key, tags = jax.random.key(seed), {"mixer": mixer, "seed": seed}
        mix = jc.mix_every(config.local_rounds, MIXERS[mixer](n))
        algorithm = jc.decentralized(loss, optimizer, mix)
        params = jc.replicate(model.init(key, np.zeros((1, 4), np.int32)), n)
        order = jc.text.epochs(np.random.default_rng(seed), owned, config.batch_size, rounds)
        batches, state = jc.text.in_order(examples, order), algorithm.init(params)
        result = context.fit(algorithm, state, batches, key, tags=tags, **options)
        params = result.state.clients.params
        for i, lang in enumerate(config.languages):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
            encoder = jc.text.sentences.SentenceEncoder(words, model, own)
            row = tags | {"client": f"en-{lang}"}
            yield row | measure(encoder, texts["test"], lang, config.languages)


def measure(encoder: Any, test: dict[str, list[str]], own: str, languages: tuple[str, ...]) -> Row:
    """Averages P@1 over both directions; unseen are pairs of languages without English."""
    vectors = {lang: encoder.encode(test[lang]) for lang in ("en", *languages)}

    def both(a: str, b: str) -> float:
        there = jc.text.retrieval.precision_at_1(vectors[a], vectors[b], test[b], test[b])
        return (
            there + jc.text.retrieval.precision_at_1(vectors[b], vectors[a], test[a], test[a])
        ) / 2

    unseen = np.mean([both(a, b) for a, b in itertools.combinations(languages, 2)])
    return {"own_pair": both("en", own), "unseen_pairs": unseen, "keys": len(test[own])}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Sharing helps on unseen pairs, without harm to a client's own pair."""
    means = {line["mixer"]: line for line in averages(rows, "mixer")}
    alone = means.pop("nothing", None)
    for mixer, line in means.items() if alone else ():
        gain, loss = (line[name] - alone[name] for name in ("unseen_pairs", "own_pair"))
        claim = f"sharing ({mixer}) finds translations between languages that no client pairs"
        yield at_least(claim, gain, 0.2, note="difference of P@1")
        claim = f"sharing ({mixer}) does not harm a client's own pair"
        yield at_least(claim, loss, -0.005, note="difference of P@1")
