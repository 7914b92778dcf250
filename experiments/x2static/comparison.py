"""Word similarity of static vectors by several methods from the same text, and from parts of it.

X2Static, arXiv 2106.04302, the question of its tables on word similarity.

    python -m experiments x2static smoke

synthetic text about topics, a tiny teacher that knows them; all methods.
Cost: 1 minute on 2 cores, no download.
Expected: X2Static separates topics.

    python -m experiments x2static imdb

IMDB reviews, MiniLM as teacher: X2Static against CBOW, skip-gram, sent2vec and ASE.
Cost: 15 minutes on 2 cores, --data DIR with corpus_en and wordsim.
Expected: X2Static above CBOW by .15 (SimLex-999) and .3 (MEN); ASE above both.
"""

import time
from typing import Annotated

from experiments.contract import Claims, Context, Row, Rows, above, at_least
from experiments.fields import EMPTY, Bound, Fraction
from experiments.x2static import _vectors
from experiments.x2static._vectors import SMALL
from jcollab import plots, text

TEACHER = ("X2Static", "ASE")  # use contexts of sentences
METHODS = ("X2Static", "X2Static paragraph", *_vectors.BAGS, "ASE", "decontextualized")


class Config(_vectors.Config):
    """Methods on the same text, and on parts of it."""

    methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = METHODS
    # parts of the text, for X2Static and ASE
    shares: Annotated[tuple[Fraction, ...], EMPTY] = (0.25, 0.5)


PRESETS = {
    "smoke": Config(
        corpus="synthetic",
        tokens=10_000,
        threshold=1e-2,
        bag_threshold=1e-2,
        epochs=5,
        bag_epochs=5,
        batch_size=256,
        negatives=5,
        shares=(0.5,),
        learning_rate=1e-2,
        bag_rate=1e-2,
        buckets=500,
    ),
    "imdb": Config(),
}
SMOKE = {
    "smoke": SMALL
    | {"shares": (), "methods": ("X2Static paragraph", "sent2vec", "decontextualized")},
    "imdb": SMALL | {"shares": (), "methods": ("X2Static", "CBOW", "ASE")},
}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each method and amount of text."""
    problem = _vectors.make_problem(config, context)
    teacher, options = problem.teacher, problem.options
    for share in context.cases((*config.shares, 1.0)):
        paragraphs = problem.paragraphs[: max(1, round(share * len(problem.paragraphs)))]
        methods = [name for name in config.methods if share == 1 or name in TEACHER]
        (sentences,), vocabulary, corpora = _vectors.index(config, [paragraphs])
        about = {"tokens": sum(map(len, sentences)), "words": len(vocabulary)}
        clock = time.perf_counter()
        if {*TEACHER} & {*methods}:
            statistics, contexts = text.occurrences(teacher, sentences, **options)
        reading = time.perf_counter() - clock
        for method in context.cases(methods):
            clock = time.perf_counter()
            given = config, context, method, corpora, vocabulary
            if method == "ASE":
                vectors = text.aggregated(statistics, vocabulary.words, teacher)
            elif method == "decontextualized":
                vectors = text.decontextualized(teacher, vocabulary.words)
            elif method in _vectors.BAGS:
                (vectors,) = _vectors.train(*given, width=config.width or teacher.width)
            elif method == "X2Static":
                (vectors,) = _vectors.train(*given, [contexts])
            else:
                used = text.paragraph_contexts(teacher, paragraphs, **options)
                (vectors,) = _vectors.train(*given, [used])
            if context.stop.is_set():
                return
            seconds = time.perf_counter() - clock + (reading if method in TEACHER else 0.0)
            scores = _vectors.evaluate(problem, vectors)
            yield {"method": method, **about, **scores, "minutes": seconds / 60}


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns rows without the numbers of known pairs, which are equal for all methods."""
    return [{k: v for k, v in row.items() if not k.endswith("_found")} for row in rows]


def claims(config: Config, rows: list[Row]) -> Claims:
    """X2Static is above CBOW of the same text, and gains from more text."""
    whole = {row["method"]: row for row in rows if row["tokens"] == rows[-1]["tokens"]}
    if "X2Static" not in whole:
        return
    if "MEN" not in rows[-1]:
        yield at_least("X2Static separates topics", whole["X2Static"]["topics"], 0.6)
        return
    if "CBOW" in whole:
        for name, bound in (("SimLex", 0.15), ("MEN", 0.3)):
            gap = whole["X2Static"][name] - whole["CBOW"][name]
            text = f"{name}: Spearman of X2Static less that of CBOW from the same text"
            yield at_least(text, gap, bound)
    scores = [row["MEN"] for row in rows if row["method"] == "X2Static"]
    if len(scores) > 1:
        yield above("MEN: X2Static gains from more text", scores[-1] - scores[0], 0)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Scores of all methods on the whole text; scores of X2Static and ASE against its amount."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(12, 4.2))
    most = max(row["tokens"] for row in rows)
    sets = _vectors.draw_bars(left, [row for row in rows if row["tokens"] == most])
    left.set(title=f"{most:,} words of text")
    plain = [name for name in sets if name != "RG65"]  # few of its words occur in small texts
    for i, method in enumerate(TEACHER):
        own = [row for row in rows if row["method"] == method]
        tokens = [row["tokens"] / 1000 for row in own]
        for name, dash in zip(plain if own else (), plots.DASHES, strict=False):
            scores, label = [row[name] for row in own], f"{method}, {name}"
            right.plot(tokens, scores, "o", ls=dash, color=plots.COLORS[i], label=label)
            right.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    right.set(title="more text", xlabel="words of text [thousands]", ylabel=left.get_ylabel())
    context.save(fig, "scores")
