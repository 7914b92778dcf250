"""A classifier of topics that has seen English only, on other languages."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.crosslingual import corpus, figures, training
from experiments.crosslingual.kinds import Topics

GAIN = 0.20  # over the largest class


def run(config: Topics, context: Context) -> list[Row]:
    """Trains a bag on Tatoeba, then classifies its frozen vectors; an untrained one beside it."""
    texts, labelled = corpus.tatoeba(config), corpus.topics(config)
    pairs = jc.data.corpora.joined(list(texts.train.values()))
    words = corpus.vocabulary(pairs, config.pieces)
    rows: list[Row] = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        report = training.reported(context, f"bag, seed {seed}", seed=seed)
        trained = training.plain_bag(config, pairs, words, seed, report)
        for name, encoder in (("trained", trained), ("untrained", untrained(trained, seed))):
            rows += judge(encoder, labelled, {"encoder": name, "seed": seed})
        if context.stop.is_set():
            return rows
    for row in rows:
        context.log().write(row)
    shown = {f"{r['encoder']} {r['language']}": r for r in rows if r["seed"] == config.seed}
    context.save(figures.bars(shown, ("accuracy", "majority"), "accuracy"), "topics")
    return rows


def untrained(encoder: Any, seed: int) -> Any:
    """Random embeddings: all that it has across languages is what they spell alike."""
    import dataclasses

    import jax
    import jax.numpy as jnp

    params = encoder.model.init(jax.random.key(seed), jnp.zeros((1, 4), jnp.int32))
    return dataclasses.replace(encoder, params=params)


def judge(encoder: Any, labelled: dict[str, Any], labels: Row) -> list[Row]:
    """Accuracy on every language, with training sentences in English."""
    known = labelled["eng"]["train"]
    vectors = {lang: encoder.encode(sets["test"].text) for lang, sets in labelled.items()}
    tests = {lang: (vectors[lang], labelled[lang]["test"].label) for lang in labelled}
    scores = jc.retrieval.zero_shot(encoder.encode(known.text), known.label, tests)
    rows = []
    for lang in labelled:
        names = list(range(len(vectors[lang])))
        aligned = jc.retrieval.precision_at_1(vectors["eng"], vectors[lang], names, names)
        row = {"language": lang, "accuracy": scores[lang], "majority": scores["majority"]}
        rows.append({**labels, **row, "P@1_from_English": aligned, "keys": len(names)})
    return rows


def claims(config: Topics, rows: list[Row]) -> list[Claim]:
    """Transfer to each language."""
    made = []
    for lang in config.languages:
        own = [r for r in rows if r["encoder"] == "trained" and r["language"] == lang]
        gain = float(np.mean([row["accuracy"] - row["majority"] for row in own]))
        sentence = f"topics learnt in English are known in {lang}"
        made.append(Claim(sentence, f"accuracy - largest class >= {GAIN}", gain, gain >= GAIN))
    return made
