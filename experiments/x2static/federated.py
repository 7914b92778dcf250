"""Word similarity of vectors of clients that share word tables: alone, on a ring, all together.

X2Static, arXiv 2106.04302, its method in a setting of ours.

    python -m experiments x2static federated

4 clients with reviews of their own share word tables every 20 steps.
Cost: 4 minutes on 2 cores, --data DIR with corpus_en and wordsim.
Expected: those who share are above those alone.
"""

import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above
from experiments.fields import Count
from experiments.x2static import _vectors
from jcollab import text

ALONE, CENTRAL = "alone", "all text in one place"


class Config(_vectors.Config):
    """Clients with separate texts that share word tables."""

    tokens: Count = 200_000
    clients: Count = 4  # n; each has an n-th of the text
    period: Count = 20  # H, local steps between two exchanges


figures = _vectors.figures
PRESETS = {"federated": Config()}
SMOKE = {"federated": _vectors.SMALL | {"clients": 2, "period": 2}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each way of sharing, with means over clients."""
    problem, n = _vectors.make_problem(config, context), config.clients
    paragraphs = [problem.paragraphs[i::n] for i in range(n)]
    texts, vocabulary, corpora = _vectors.index(config, paragraphs)
    contexts = [
        text.sentence_contexts(problem.teacher, sentences, **problem.options) for sentences in texts
    ]
    mixers = {ALONE: None, "all-reduce": jc.mix_every(config.period, jc.all_reduce())}
    if n > 2:
        mixers["ring"] = jc.mix_every(config.period, jc.gossip(jc.topology.ring(n)))
    for name in context.cases((*mixers, CENTRAL)):
        if name == CENTRAL:
            corpora = [text.index_corpus([s for own in texts for s in own], vocabulary)]
            contexts = [np.concatenate(contexts)]
        given = config, context, name, corpora, vocabulary, contexts
        vectors = _vectors.train(*given, mixer=mixers.get(name))
        if context.stop.is_set():
            break
        scores = [_vectors.evaluate(problem, own) for own in vectors]
        means = {key: np.mean([score[key] for score in scores]) for key in scores[0]}
        yield {"sharing": name, **means}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Clients that share tables have better vectors than those that learn alone."""
    name = "MEN" if "MEN" in rows[0] else "topics"
    by = {row["sharing"]: row[name] for row in rows}
    yield from (
        above(f"{name}: Spearman of {way} less that of clients alone", by[way] - by[ALONE], 0)
        for way in ("all-reduce", "ring")
        if way in by
    )
