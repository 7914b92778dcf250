"""Vectors of several methods from the same text, and X2Static and ASE from parts of it."""

from __future__ import annotations

import time
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.x2static import figures, problems, training
from experiments.x2static.kinds import Comparison
from jcollab import plots, text


def run(config: Comparison, context: Context) -> list[Row]:
    """One row for each method and amount of text."""
    rows: list[Row] = []
    problem = problems.make(config)
    for share in (*config.shares, 1.0):
        paragraphs = problem.paragraphs[: max(1, round(share * len(problem.paragraphs)))]
        chosen = config.methods
        if share < 1:
            chosen = tuple(m for m in chosen if m in ("X2Static", "ASE"))
        for row in _compare(config, problem, paragraphs, chosen, context):
            rows.append(row)
            context.log().write(row)
    if rows:
        context.save(_figure(rows, list(problem.similarity)), "scores")
    return rows


def _compare(
    config: Comparison,
    problem: problems.Problem,
    paragraphs: list[list[str]],
    methods: tuple[str, ...],
    context: Context,
) -> Any:
    sentences = [s for paragraph in paragraphs for s in text.split_sentences(paragraph)]
    vocabulary = text.build_vocabulary(sentences, min_count=config.min_count)
    corpus = text.index_corpus(sentences, vocabulary)
    about = {"tokens": sum(map(len, sentences)), "words": len(vocabulary)}
    given = {"cache": problem.cache, "progress": context.progress}
    width = config.width or problem.teacher.width
    found = sentence_contexts = None
    clock = time.perf_counter()
    if {"X2Static", "ASE"} & set(methods):
        found, sentence_contexts = text.occurrences(problem.teacher, sentences, **given)
    teacher = time.perf_counter() - clock
    for method in methods:
        if context.stop.is_set():
            return
        clock = time.perf_counter()
        vectors: Any
        if method == "ASE":
            vectors = text.aggregated(found, vocabulary.words, problem.teacher)
        elif method == "decontextualised":
            vectors = text.decontextualized(problem.teacher, vocabulary.words)
        elif method in training.BAGS:
            vectors = training.bags(config, corpus, width, vocabulary, context, method)
        else:
            own = sentence_contexts
            if method == "X2Static paragraph":
                own = text.paragraph_contexts(problem.teacher, paragraphs, **given)
            trained = training.x2static(config, [corpus], [own], vocabulary, context, method)
            vectors = trained and trained[0]
        if vectors is None:
            return
        seconds = time.perf_counter() - clock
        if method in ("X2Static", "ASE"):
            seconds += teacher
        yield {
            "method": method,
            **about,
            **problems.judge(problem, vectors),
            "minutes": seconds / 60,
        }


def shown(config: Comparison, rows: list[Row]) -> list[Row]:
    """Rows without the numbers of pairs that were found, which all methods share."""
    return [{k: v for k, v in row.items() if not k.endswith("_found")} for row in rows]


def claims(config: Comparison, rows: list[Row]) -> list[Claim]:
    """X2Static is above CBOW of the same text, and gains from more text."""
    whole = {row["method"]: row for row in rows if row["tokens"] == rows[-1]["tokens"]}
    sets = [name for name in problems.SETS if name in rows[-1]]
    said = []
    if sets and {"X2Static", "CBOW"} <= whole.keys():
        for name, bound in (("SimLex", 0.15), ("MEN", 0.3)):
            gap = whole["X2Static"][name] - whole["CBOW"][name]
            claim = f"{name}: Spearman of X2Static less that of CBOW from the same text"
            said.append(Claim(claim, f">= {bound}", gap, gap >= bound))
    name = "MEN" if sets else "topics"
    if "X2Static" in whole:
        score = whole["X2Static"][name]
        if not sets:
            said.append(Claim("X2Static tells topics apart", ">= .6", score, score >= 0.6))
        ours = [row[name] for row in rows if row["method"] == "X2Static"]
        if sets and len(ours) > 1:
            gain = ours[-1] - ours[0]
            claim = f"{name}: X2Static gains from more text"
            said.append(Claim(claim, "> 0", gain, gain > 0))
    return said


@plots.style()
def _figure(rows: list[Row], sets: list[str]) -> Any:
    fig = plots.figure(figsize=(12, 4.2))
    left, right = fig.subplots(1, 2)
    most = max(row["tokens"] for row in rows)
    whole = [row for row in rows if row["tokens"] == most]
    figures.bars(left, whole, "method", sets)
    left.set(title=f"{most:,} words of text")
    plain = [name for name in sets if name != "RG65"]  # few of its words are in little text
    for i, method in enumerate(("X2Static", "ASE")):
        for name, dash in zip(plain, plots.DASHES, strict=False):
            own = [(row["tokens"] / 1000, row[name]) for row in rows if row["method"] == method]
            if own:
                right.plot(
                    *zip(*own, strict=True), "o", ls=dash, color=plots.COLORS[i],
                    label=f"{method}, {name}",
                )  # fmt: skip
    right.set(title="more text", xlabel="words of text [thousands]", ylabel=left.get_ylabel())
    if right.get_legend_handles_labels()[0]:
        right.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return fig
