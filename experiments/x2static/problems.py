"""Texts, teachers and what vectors are judged by."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.x2static.kinds import NEED_DATA, Vectors
from jcollab import text

Words = Sequence[str]
SETS = {
    "SimLex": "EN-SIMLEX-999.txt",
    "WS353": "EN-WS-353-ALL.txt",
    "RG65": "EN-RG-65.txt",
    "MEN": "EN-MEN-TR-3k.txt",
}
TOPICS, TOPIC_WORDS, COMMON = 6, 8, 5  # of synthetic text


class Problem(NamedTuple):
    """What an experiment is about.

    Attributes:
        paragraphs: of words.
        teacher: frozen encoder.
        similarity: pairs of words with scores, by name.
        analogies: questions; empty for none.
        labelled: training and test sentences with labels; None for none.
        cache: folder for contexts.
    """

    paragraphs: list[list[str]]
    teacher: jc.text.Teacher
    similarity: dict[str, list[tuple[str, str, float]]]
    analogies: list[tuple[str, str, str, str]]
    labelled: Any
    cache: pathlib.Path | None


def make(config: Vectors) -> Problem:
    """The problem of a configuration.

    Raises:
        ValueError: if text of a folder is asked for, and no folder is given.
        FileNotFoundError: if a file is not there.
    """
    if config.corpus == "synthetic":
        return synthetic(config)
    if config.data is None:
        raise ValueError(NEED_DATA)
    folder = pathlib.Path(config.data)
    corpora = sorted(folder.glob("corpus_en/imdb*"))
    if not corpora:
        raise FileNotFoundError(f"data must hold corpus_en/imdb*, and {folder} does not")
    lines = text.read_lines(corpora[0])
    paragraphs = list(text.paragraphs(lines, max_tokens=config.tokens))
    sets = {name: text.read_pairs(folder / "wordsim" / file) for name, file in SETS.items()}
    questions = folder / "analogy" / "google-analogies.csv"
    topics = folder / "sib200"
    return Problem(
        paragraphs,
        text.load_teacher(config.teacher),
        sets,
        text.read_analogies(questions)[1:] if questions.exists() else [],
        tuple(_topics(topics / f"eng_Latn.{part}.tsv") for part in ("train", "test"))
        if topics.exists()
        else None,
        _cache(config),
    )


def synthetic(config: Vectors) -> Problem:
    """Sentences about one of six topics, and a teacher whose pieces know the topics."""
    rng = np.random.default_rng(config.seed)
    common = [f"the{chr(97 + i)}" for i in range(COMMON)]
    topics = [[f"w{chr(97 + t)}{chr(97 + i)}" for i in range(TOPIC_WORDS)] for t in range(TOPICS)]
    paragraphs, labels, count = [], [], 0
    while count < config.tokens:
        topic = int(rng.integers(TOPICS))
        paragraph: list[str] = []
        for _ in range(2):
            words = [*rng.choice(topics[topic], 6), *rng.choice(common, 3)]
            paragraph += [str(word) for word in rng.permutation(words)] + ["."]
        paragraphs.append(paragraph)
        labels.append(str(topic))
        count += len(paragraph)
    words = [word for topic in topics for word in topic]
    pairs = [
        (a, b, float(a[1] == b[1])) for i, a in enumerate(words) for b in words[i + 1 :]
    ]  # the second letter is the topic
    teacher = text.random_teacher([*words, *common], width=config.width or 16, seed=config.seed)
    table = np.array(teacher.params["params"]["word"])
    centres = rng.normal(size=(TOPICS, table.shape[1])) * 0.1
    for i, topic in enumerate(topics):
        rows = [teacher.tokenizer.token_to_id(word) for word in topic]
        table[rows] += centres[i]
    params = {"params": {**teacher.params["params"], "word": jnp.asarray(table)}}
    teacher = text.make_teacher(teacher.model, params, teacher.tokenizer)
    half = len(paragraphs) // 2
    labelled = ((paragraphs[:half], labels[:half]), (paragraphs[half:], labels[half:]))
    return Problem(paragraphs, teacher, {"topics": pairs}, [], labelled, None)


def judge(problem: Problem, vectors: jc.text.WordVectors) -> dict[str, Any]:
    """All scores of word vectors, with the numbers of pairs that were found."""
    row: dict[str, Any] = {}
    for name, pairs in problem.similarity.items():
        said = text.word_similarity(vectors, pairs)
        row |= {name: said.spearman, f"{name}_found": said.found}
    if problem.analogies:
        right = text.word_analogies(vectors, problem.analogies)
        row |= {"analogies": right.accuracy, "analogies_found": right.found}
    if problem.labelled:
        row["topic_accuracy"] = text.classify_sentences(vectors, *problem.labelled)
    return row


def _topics(path: pathlib.Path) -> tuple[list[list[str]], list[str]]:
    said = jc.data.corpora.labelled_tsv(path)
    return [text.tokenize(sentence) for sentence in said.text], said.label


def _cache(config: Vectors) -> pathlib.Path:
    if config.cache is not None:
        return pathlib.Path(config.cache)
    import platformdirs

    return platformdirs.user_cache_path("jcollab") / "contexts"
