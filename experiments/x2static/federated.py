"""Clients with texts of their own share word tables: alone, on a ring, all together, centrally."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.x2static import figures, problems, training
from experiments.x2static.kinds import Federated
from jcollab import plots, text

ALONE, CENTRAL = "alone", "all text in one place"


def run(config: Federated, context: Context) -> list[Row]:
    """One row for each way of sharing, with means over clients."""
    problem = problems.make(config)
    n = config.clients
    own = [problem.paragraphs[i::n] for i in range(n)]
    texts = [[s for p in part for s in text.split_sentences(p)] for part in own]
    everything = [s for part in texts for s in part]
    vocabulary = text.build_vocabulary(everything, min_count=config.min_count)
    given = {"cache": problem.cache, "progress": context.progress}
    corpora = [text.index_corpus(part, vocabulary) for part in texts]
    contexts = [text.sentence_contexts(problem.teacher, part, **given) for part in texts]
    mixers: dict[str, Any] = {ALONE: None, "all-reduce": jc.every(config.period, jc.all_reduce())}
    if n > 2:
        ring = jc.gossip(jc.topology.ring(n))
        mixers["ring"] = jc.every(config.period, ring)
    rows: list[Row] = []
    for name, mixer in mixers.items():
        trained = training.x2static(config, corpora, contexts, vocabulary, context, name, mixer)
        if trained is None:
            break
        rows.append(_row(name, problem, trained))
        context.log().write(rows[-1])
    if len(rows) == len(mixers):
        corpus = text.index_corpus(everything, vocabulary)
        joined = [np.concatenate(contexts)]
        trained = training.x2static(config, [corpus], joined, vocabulary, context, CENTRAL)
        if trained is not None:
            rows.append(_row(CENTRAL, problem, trained))
            context.log().write(rows[-1])
    if rows:
        context.save(_figure(rows, list(problem.similarity)), "sharing")
    return rows


def _row(name: str, problem: problems.Problem, trained: list) -> Row:
    said = [problems.judge(problem, vectors) for vectors in trained]
    return {"sharing": name, **{key: float(np.mean([s[key] for s in said])) for key in said[0]}}


def claims(config: Federated, rows: list[Row]) -> list[Claim]:
    """Who shares tables has better vectors than who learns alone."""
    by = {row["sharing"]: row for row in rows}
    name = "MEN" if "MEN" in rows[0] else "topics"
    return [
        Claim(
            f"{name}: Spearman of {sharing} less that of clients alone",
            "> 0", gap := by[sharing][name] - by[ALONE][name], gap > 0,
        )
        for sharing in ("all-reduce", "ring")
        if sharing in by
    ]  # fmt: skip


@plots.style()
def _figure(rows: list[Row], sets: list[str]) -> Any:
    fig = plots.figure(figsize=(7.5, 4))
    ax = fig.subplots()
    figures.bars(ax, rows, "sharing", sets)
    ax.set(ylabel=f"{ax.get_ylabel()}, mean over clients")
    return fig
