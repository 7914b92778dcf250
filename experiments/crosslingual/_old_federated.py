"""Clients that hold pairs of English with one other language each, and share one encoder."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.crosslingual import corpus, figures, training
from experiments.crosslingual.kinds import Federated
from jcollab import pair_training

GAIN = 0.20  # of sharing, between languages that no client pairs
ENGLISH = "en"


def run(config: Federated, context: Context) -> list[Row]:
    """Every mixer: P@1 of each client on its own pair, and on pairs that nobody has."""
    said = corpus.captions(config, (ENGLISH, *config.languages))
    parts = deal(said["train"], config.languages)
    pairs = jc.data.corpora.joined(parts)
    # the vocabulary is agreed on beforehand; sentences stay where they are
    words = corpus.vocabulary(pairs, config.pieces)
    rows: list[Row] = []
    for mixer in config.mixers:
        for seed in range(config.seed, config.seed + config.num_seeds):
            encoders = share(config, mixer, parts, words, seed, context)
            for lang, encoder in zip(config.languages, encoders, strict=True):
                row = {"mixer": mixer, "seed": seed, "client": f"en-{lang}"}
                rows.append(row | judge(encoder, said["test"], lang, config.languages))
                context.log().write(rows[-1])
            if context.stop.is_set():
                return rows
    shown = {mixer: means(rows, mixer) for mixer in config.mixers}
    context.save(figures.bars(shown, ("own_pair", "unseen_pairs")), "federated")
    return rows


def deal(texts: dict[str, list[str]], languages: tuple[str, ...]) -> list[Any]:
    """Pairs of English with each language, of captions of different images."""
    return [
        jc.data.Pairs(texts[ENGLISH][i :: len(languages)], texts[lang][i :: len(languages)])
        for i, lang in enumerate(languages)
    ]


def share(
    config: Federated, mixer: str, parts: list[Any], words: Any, seed: int, context: Context
) -> list[Any]:
    """The encoders of all clients after training."""
    n = len(parts)
    mixers = {
        "nothing": jc.identity,
        "chain": lambda: jc.gossip(jc.topology.chain(n)),
        "all": jc.all_reduce,
    }
    model = jc.models.BagEncoder(words.size, config.width)
    data = jc.data.piece_data(words, jc.data.corpora.joined(parts), config.max_len)
    ends = np.cumsum([0, *(len(part.source) for part in parts)])
    owned = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    rounds = config.epochs * max(1, len(owned[0]) // config.batch_size)
    order = jc.data.epochs(np.random.default_rng(seed), owned, config.batch_size, rounds)
    examples = jc.objectives.PairBatch(*(jnp.asarray(leaf) for leaf in data))
    algorithm = jc.decentralized(
        pair_training.pair_loss(model, words, ("contrastive",), temperature=config.temperature),
        training.falling(config.learning_rate, rounds),
        jc.every(config.local_rounds, mixers[mixer]()),
    )
    key = jax.random.key(seed)
    params = jc.replicate(model.init(key, jnp.zeros((1, 4), jnp.int32)), n)
    result = jc.fit(
        algorithm,
        algorithm.init(key, params),
        jc.data.Ordered(examples, jnp.asarray(order)),
        key,
        num_rounds=rounds,
        sample=jc.data.in_order,
        eval_every=max(1, rounds // 4),
        description=f"sharing {mixer}, seed {seed}",
        **context.fit_options(mixer=mixer, seed=seed),
    )
    stacked = result.state.clients.params
    return [
        jc.sentences.SentenceEncoder(words, model, jax.tree.map(lambda leaf: leaf[i], stacked))  # noqa: B023
        for i in range(n)
    ]


def judge(encoder: Any, test: dict[str, list[str]], own: str, languages: tuple[str, ...]) -> Row:
    """Means over both directions; unseen are all pairs of languages other than English."""
    vectors = {lang: encoder.encode(texts) for lang, texts in test.items()}

    def both(a: str, b: str) -> float:
        there = jc.retrieval.precision_at_1(vectors[a], vectors[b], test[b], test[b])
        return (there + jc.retrieval.precision_at_1(vectors[b], vectors[a], test[a], test[a])) / 2

    unseen = [both(a, b) for a, b in itertools.combinations(languages, 2)]
    found = {"own_pair": both(ENGLISH, own), "unseen_pairs": float(np.mean(unseen))}
    return found | {"keys": len(test[own])}


def means(rows: list[Row], mixer: str) -> dict[str, float]:
    """Over clients and seeds."""
    own = [row for row in rows if row["mixer"] == mixer]
    return {
        name: float(np.mean([row[name] for row in own])) for name in ("own_pair", "unseen_pairs")
    }


def claims(config: Federated, rows: list[Row]) -> list[Claim]:
    """What sharing is good for."""
    if "nothing" not in config.mixers:
        return []
    alone, made = means(rows, "nothing"), []
    for mixer in config.mixers:
        if mixer == "nothing":
            continue
        gain = means(rows, mixer)["unseen_pairs"] - alone["unseen_pairs"]
        sentence = f"sharing ({mixer}) finds translations between languages that no client pairs"
        made.append(Claim(sentence, f"difference of P@1 >= {GAIN}", gain, gain >= GAIN))
        loss = means(rows, mixer)["own_pair"] - alone["own_pair"]
        sentence = f"sharing ({mixer}) does not harm a client's own pair"
        made.append(Claim(sentence, "difference of P@1 >= -.005", loss, loss >= -0.005))
    return made
