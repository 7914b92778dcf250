"""X2Static with one choice changed at a time."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.x2static import figures, problems, training
from experiments.x2static.kinds import Ablations
from jcollab import plots, text


def run(config: Ablations, context: Context) -> list[Row]:
    """One row for each variant."""
    problem = problems.make(config)
    sentences = [s for paragraph in problem.paragraphs for s in text.split_sentences(paragraph)]
    vocabulary = text.build_vocabulary(sentences, min_count=config.min_count)
    corpus = text.index_corpus(sentences, vocabulary)
    given = {"cache": problem.cache, "progress": context.progress}
    _, contexts = text.occurrences(problem.teacher, sentences, **given)
    rows: list[Row] = []
    for name, changed, own in variants(config):
        if own == "centred":
            used = contexts - contexts.mean(0)
        elif own == "paragraph":
            used = text.paragraph_contexts(problem.teacher, problem.paragraphs, **given)
        else:
            used = contexts
        trained = training.x2static(changed, [corpus], [used], vocabulary, context, name)
        if trained is None:
            break
        row = {"variant": name, **problems.judge(problem, trained[0])}
        context.log().write(row)
        rows.append(row)
    if rows:
        context.save(_figure(rows, list(problem.similarity)), "variants")
    return rows


def variants(config: Ablations) -> list[tuple[str, Ablations, str]]:
    """Name, configuration and kind of context of each variant."""

    def changed(name: str, **fields: Any) -> tuple[str, Ablations, str]:
        return name, dataclasses.replace(config, **fields), "sentence"

    return [
        changed("as it is"),
        *(changed(f"clip {clip:g}", clip=clip) for clip in config.clips),
        *(changed(f"{n} negatives", negatives=n) for n in config.negative_counts),
        *(changed(f"t = {t:g}", threshold=t) for t in config.thresholds),
        *(changed(f"rate {rate:g}", learning_rate=rate) for rate in config.rates),
        ("paragraphs", config, "paragraph"),
        ("contexts less their mean", config, "centred"),
    ]


def claims(config: Ablations, rows: list[Row]) -> list[Claim]:
    """None: the variants are reported as they are."""
    return []


@plots.style()
def _figure(rows: list[Row], sets: list[str]) -> Any:
    fig = plots.figure(figsize=(9, 4.2))
    ax = fig.subplots()
    figures.bars(ax, rows, "variant", sets)
    return fig
