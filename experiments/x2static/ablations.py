"""Word similarity of X2Static with one choice changed at a time.

X2Static, arXiv 2106.04302, choices of its section on training.

    python -m experiments x2static ablations

X2Static with another clip, N, t, rate, and kind of context.
Cost: 5 minutes on 2 cores, --data DIR with corpus_en and wordsim.
Expected: reported as they are.
"""

import dataclasses
from typing import Annotated

from experiments.contract import Claims, Context, Row, Rows
from experiments.fields import EMPTY, Count, Positive
from experiments.x2static import _vectors
from jcollab import text


class Config(_vectors.Config):
    """X2Static with one choice changed at a time."""

    tokens: Count = 200_000
    clips: Annotated[tuple[Positive, ...], EMPTY] = (5.0,)  # other values of ``clip``
    negative_counts: Annotated[tuple[Count, ...], EMPTY] = (1, 5)  # other numbers of negatives
    thresholds: Annotated[tuple[Positive, ...], EMPTY] = (1e-4,)  # other t
    rates: Annotated[tuple[Positive, ...], EMPTY] = (5e-4, 5e-3)  # other learning rates


figures = _vectors.figures
PRESETS = {"ablations": Config()}
SMOKE = {
    "ablations": _vectors.SMALL
    | {"clips": (), "negative_counts": (), "thresholds": (), "rates": ()}
}
CENTERED, PARAGRAPHS = "contexts less their mean", "paragraphs"


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each variant."""
    problem = _vectors.make_problem(config, context)
    (sentences,), vocabulary, corpora = _vectors.index(config, [problem.paragraphs])
    teacher, options = problem.teacher, problem.options
    _, contexts = text.occurrences(teacher, sentences, **options)
    for name, changed in context.cases(variants(config).items()):
        used = contexts
        if name == CENTERED:
            used = contexts - contexts.mean(0)
        elif name == PARAGRAPHS:
            used = text.paragraph_contexts(teacher, problem.paragraphs, **options)
        (vectors,) = _vectors.train(changed, context, name, corpora, vocabulary, [used])
        if context.stop.is_set():
            break
        yield {"variant": name, **_vectors.evaluate(problem, vectors)}


def variants(config: Config) -> dict[str, Config]:
    """Returns configurations by name; two of them use other contexts."""
    fields = {"as it is": {}} | {f"clip {clip:g}": {"clip": clip} for clip in config.clips}
    fields |= {f"{n} negatives": {"negatives": n} for n in config.negative_counts}
    fields |= {f"t = {t:g}": {"threshold": t} for t in config.thresholds}
    fields |= {f"rate {rate:g}": {"learning_rate": rate} for rate in config.rates}
    fields |= {PARAGRAPHS: {}, CENTERED: {}}
    return {name: dataclasses.replace(config, **own) for name, own in fields.items()}


def claims(config: Config, rows: list[Row]) -> Claims:
    """No claims: the variants are only reported."""
