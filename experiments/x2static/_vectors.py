"""Texts, teachers, word vectors by all methods, and their scores."""

import pathlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.fields import Count, Natural, Positive, Settings
from jcollab import objectives, plots, text
from jcollab.layout import cache_dir
from jcollab.local import row_sparse

SETS = {
    "SimLex": "EN-SIMLEX-999.txt",
    "WS353": "EN-WS-353-ALL.txt",
    "RG65": "EN-RG-65.txt",
    "MEN": "EN-MEN-TR-3k.txt",
}
TOPICS, TOPIC_WORDS, COMMON = 6, 8, 5  # of synthetic text
# context of sent2vec on each side: a whole sentence
BAGS: dict[str, Row] = {
    "CBOW": {},
    "skip-gram": {"skip_gram": True},
    "sent2vec": {"window": 30, "shrink": False},
}


class Config(Settings):
    """Text, teacher, and training of vectors."""

    corpus: Literal["imdb", "synthetic"] = "imdb"  # text of the data folder, or synthetic text
    data: str | None = None  # folder of text data
    # folder of a BERT checkpoint; None for MiniLM, or a tiny teacher for synthetic text
    teacher: str | None = None
    cache: str | None = None  # folder for contexts; None for the user's cache folder
    tokens: Count = 500_000  # words and punctuation marks to read
    min_count: Count = 5  # of a word that gets a vector
    width: int | None = None  # d of the methods that have no teacher, None for the teacher's
    threshold: Positive = 5e-6  # t of X2Static, as in the paper: rarer words are always targets
    epochs: Count = 10  # of X2Static
    learning_rate: Positive = 2e-3  # of X2Static (row-sparse Adam); 1e-3 in the paper
    batch_size: Count = 512  # T, targets of a round
    negatives: Count = 10  # N, for each target
    clip: Positive = 20.0  # where scores are cut off
    bag_threshold: Positive = 1e-4  # t of CBOW, skip-gram and sent2vec
    bag_epochs: Count = 5  # of these
    bag_rate: Positive = 3e-3  # learning rate of these
    window: Count = 5  # of CBOW and skip-gram
    buckets: Natural = 20_000  # rows for pairs of words, of sent2vec
    seed: int = 0  # of everything


# t is large since every word of synthetic text is frequent
SMALL = {
    "corpus": "synthetic",
    "tokens": 400,
    "min_count": 1,
    "threshold": 1.0,
    "bag_threshold": 1.0,
    "epochs": 1,
    "bag_epochs": 1,
    "batch_size": 64,
    "negatives": 2,
    "buckets": 20,
    "window": 2,
}


class Problem(NamedTuple):
    """Text, teacher and test sets of an experiment."""

    paragraphs: list[list[str]]  # of words
    teacher: jc.text.Teacher  # frozen encoder
    similarity: dict[str, list[tuple[str, str, float]]]  # pairs of words with scores, by name
    analogies: Sequence[Any]  # questions
    labeled: Any  # training and test sentences with labels, or None
    options: Row  # of the functions that make contexts: cache and progress


def make_problem(config: Config, context: Context) -> Problem:
    """Builds the problem of a configuration; ValueError if the folder of data is missing."""
    if config.corpus == "synthetic":
        return _synthetic(config, context)
    if config.data is None:
        raise ValueError("data must be a folder with corpus_en and wordsim (--data DIR), got None")
    folder = pathlib.Path(config.data)
    corpora = sorted(folder.glob("corpus_en/imdb*"))
    if not corpora:
        raise FileNotFoundError(f"data must have corpus_en/imdb*, and {folder} does not")
    cache = config.cache or cache_dir() / "contexts"
    questions, topics = folder / "analogy" / "google-analogies.csv", folder / "sib200"
    labeled = None
    if topics.exists():
        files = [topics / f"eng_Latn.{part}.tsv" for part in ("train", "test")]
        parts = map(jc.text.corpora.labeled_tsv, files)
        labeled = tuple((list(map(text.tokenize, part.text)), part.label) for part in parts)
    return Problem(
        list(text.paragraphs(text.read_lines(corpora[0]), max_tokens=config.tokens)),
        text.load_teacher(config.teacher),
        {name: text.read_pairs(folder / "wordsim" / file) for name, file in SETS.items()},
        text.read_analogies(questions) if questions.exists() else [],
        labeled,
        {"cache": pathlib.Path(cache), "progress": context.progress},
    )


def _synthetic(config: Config, context: Context) -> Problem:
    """Builds sentences about six topics, and a teacher with embeddings by topic."""
    rng = np.random.default_rng(config.seed)
    common = [f"the{chr(97 + i)}" for i in range(COMMON)]
    topics = [[f"w{chr(97 + t)}{chr(97 + i)}" for i in range(TOPIC_WORDS)] for t in range(TOPICS)]
    paragraphs: list[list[str]] = []
    labels: list[str] = []
    while sum(map(len, paragraphs)) < config.tokens:
        labels.append(str(rng.integers(TOPICS)))
        paragraphs.append([])
        for _ in range(2):
            words = [*rng.choice(topics[int(labels[-1])], 6), *rng.choice(common, 3)]
            paragraphs[-1] += [*map(str, rng.permutation(words)), "."]
    words = [word for topic in topics for word in topic]
    # the second letter is the topic
    pairs = [(a, b, float(a[1] == b[1])) for i, a in enumerate(words) for b in words[i + 1 :]]
    teacher = text.random_teacher([*words, *common], width=config.width or 16, seed=config.seed)
    table = np.array(teacher.params["params"]["word"])
    centers = rng.normal(size=(TOPICS, table.shape[1])) * 0.1
    for i, topic in enumerate(topics):
        table[[teacher.tokenizer.token_to_id(word) for word in topic]] += centers[i]
    params = {"params": {**teacher.params["params"], "word": jnp.asarray(table)}}
    teacher = text.make_teacher(teacher.model, params, teacher.tokenizer)
    half = len(paragraphs) // 2
    labeled = ((paragraphs[:half], labels[:half]), (paragraphs[half:], labels[half:]))
    options = {"cache": None, "progress": context.progress}
    return Problem(paragraphs, teacher, {"topics": pairs}, [], labeled, options)


def evaluate(problem: Problem, vectors: jc.text.WordVectors) -> Row:
    """Computes all scores of word vectors, with the numbers of known pairs."""
    row: Row = {}
    for name, pairs in problem.similarity.items():
        score = text.word_similarity(vectors, pairs)
        row |= {name: score.spearman, f"{name}_found": score.num_known}
    if problem.analogies:
        right = text.word_analogies(vectors, problem.analogies)
        row |= {"analogies": right.accuracy, "analogies_found": right.num_known}
    if problem.labeled:
        row["topic_accuracy"] = text.classify_sentences(vectors, *problem.labeled)
    return row


def index(config: Config, clients: Sequence[Any]) -> tuple[list, jc.text.Vocabulary, list]:
    """Returns the sentences of each client, the common vocabulary, and indexed corpora."""
    texts = [[s for p in paragraphs for s in text.split_sentences(p)] for paragraphs in clients]
    everything = [sentence for sentences in texts for sentence in sentences]
    vocabulary = text.build_vocabulary(everything, min_count=config.min_count)
    return texts, vocabulary, [text.index_corpus(sentences, vocabulary) for sentences in texts]


def train(
    config: Config,
    context: Context,
    label: str,
    corpora: Sequence[jc.text.Corpus],
    vocabulary: jc.text.Vocabulary,
    contexts: Sequence[np.ndarray] | None = None,
    *,
    width: int = 0,
    mixer: jc.Mixer | None = None,
) -> list[jc.text.WordVectors]:
    """Trains X2Static on n clients; without contexts, trains the method ``label``."""
    given = {"threshold": config.threshold, "epochs": config.epochs, "contexts": contexts}
    if contexts is None:
        given |= {"threshold": config.bag_threshold, "epochs": config.bag_epochs}
    data = text.client_texts(
        corpora, vocabulary, batch_size=config.batch_size, seed=config.seed, **given
    )
    n, rounds = data.positions.shape[:2]
    key, size = jax.random.key(config.seed), len(vocabulary)
    if contexts is None:
        buckets = config.buckets if label == "sent2vec" else 0
        options = {"window": config.window, "buckets": buckets} | BAGS[label]
        batches, rate = text.bag_batches(data, config.negatives, **options), config.bag_rate
        loss, rows = objectives.bag_loss, objectives.bag_rows
        tables = {"sources": _draw(key, size + buckets, width), "words": jnp.zeros((size, width))}
    else:
        most, rate = text.sentences_per_batch(data), config.learning_rate
        batches = text.x2static_batches(data, config.negatives, most_sentences=most)
        loss, rows = objectives.x2static_loss, objectives.x2static_rows
        tables = {"words": _draw(key, size, contexts[0].shape[1])}
    algorithm = jc.algorithms.sparse_decentralized(
        loss(config.clip), rows, row_sparse.adam(rate), mixer, distinct=contexts is not None
    )
    result = context.fit(
        algorithm,
        algorithm.init(jc.replicate(tables, n)),
        batches,
        key,
        num_rounds=rounds,
        description=label,
        tags={"method": label},
    )
    trained = result.state.clients.params
    vectors = np.asarray(trained.get("sources", trained["words"])[:, :size])
    return [text.WordVectors(vocabulary.words, table) for table in vectors]


def _draw(key: jax.Array, size: int, width: int) -> jax.Array:
    """Draws from U(-1/d, 1/d), as the released code does."""
    return jax.random.uniform(key, (size, width), minval=-1 / width, maxval=1 / width)


def draw_bars(ax: Any, rows: Sequence[Row]) -> list[str]:
    """Draws a group of bars for each row; returns the names of the test sets."""
    sets, label = [name for name in (*SETS, "topics") if name in rows[0]], next(iter(rows[0]))
    wide = 0.8 / len(sets)
    for i, name in enumerate(sets):
        values = [np.nan_to_num(row[name]) for row in rows]
        ax.bar(np.arange(len(rows)) + i * wide, values, wide, label=name, color=plots.COLORS[i])
    ax.set_xticks(np.arange(len(rows)) + 0.4, [row[label] for row in rows], rotation=30, ha="right")
    ax.set_ylabel("Spearman" if "SimLex" in sets else "score")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return sets


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the scores of all rows."""
    fig, ax = plots.subplots(figsize=(9, 4.2))
    draw_bars(ax, rows)
    context.save(fig, "scores")
