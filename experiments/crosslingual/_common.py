"""Texts, sentences of a toy grammar, and bags of embeddings."""

import itertools
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row, averages
from experiments.fields import Bound, Count, Positive, Settings
from jcollab import plots
from jcollab.text import pair_training

corpora = jc.text.corpora
# topic, subjects, verbs and objects, each in English, German and French
WORDS = pathlib.Path(__file__).with_name("toy.txt").read_text("utf-8").splitlines()
TIMES = "today/heute/aujourd'hui, in summer/im Sommer/en été, every day/jeden Tag/chaque jour"
# fields of smoke tests, which need no files
SMALL = {"corpus": "toy", "pieces": 120, "width": 8, "batch_size": 32, "epochs": 2, "max_len": 12}


class Config(Settings):
    """Data, vocabulary and the bag of embeddings."""

    data: str = ""  # folder of text data, see the README
    corpus: Literal["files", "toy"] = "files"  # of that folder, or sentences of a toy grammar
    pieces: Annotated[int, Bound(at_least=4)] = 8000  # V, size of the vocabulary
    width: Count = 128  # d of the bag
    batch_size: Count = 512  # pairs in a batch
    epochs: Count = 5  # passes of the bag
    learning_rate: Positive = 5e-3  # of Adam; decays to a twentieth
    temperature: Positive = 0.05  # of cosines
    max_len: Count = 24  # longest sentence while training, in pieces
    num_seeds: Count = 1
    seed: int = 0  # the first one

    def file(self, name: str) -> pathlib.Path:
        """Returns a file of the data folder; ValueError if the folder or the file is missing."""
        path = pathlib.Path(self.data, name)
        if not self.data or not path.exists():
            raise ValueError(f"data must be a folder with {name} (--data DIR), got {self.data!r}")
        return path


def sentences(seed: int = 0) -> dict[str, list[str]]:
    """Builds 243 aligned sentences by language, with their topics as ``"topic"``."""
    rows = []
    for topic, *parts in (WORDS[i : i + 4] for i in range(0, len(WORDS), 4)):
        options = [[w.split("/") for w in part.split(", ")] for part in (*parts, TIMES)]
        for chosen in itertools.product(*options):
            texts = [" ".join(words) + "." for words in zip(*chosen, strict=True)]
            rows.append((*texts, topic))
    order = np.random.default_rng(seed).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    return dict(zip(("en", "de", "fr", "topic"), map(list, columns), strict=True))


def toy(languages: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Returns the toy sentences by split and language; unknown languages are French."""
    texts = sentences()
    every = {x: texts.get(x, texts.get(x[:2], texts["fr"])) for x in (*languages, "topic")}
    parts = {"train": slice(60, None), "test": slice(60)}
    return {split: {lang: every[lang][part] for lang in every} for split, part in parts.items()}


def captions(config: Any, languages: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Loads aligned captions of Multi30k by split and language."""
    if config.corpus == "toy":
        return toy(languages)
    train, test = (
        {lang: corpora.lines(config.file(f"multi30k/{name}.{lang}.gz")) for lang in languages}
        for name in ("train", "test_2016_flickr")
    )
    return {"train": {lang: train[lang][: config.examples] for lang in train}, "test": test}


def tatoeba(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads training and test pairs of English with each language, without common sentences."""
    if config.corpus == "toy":
        parts = toy(("eng", *config.languages)).values()
        return tuple({x: jc.text.Pairs(p["eng"], p[x]) for x in config.languages} for p in parts)
    train, test = {}, {}
    for lang in config.languages:
        names = (f"tatoeba_laser/tatoeba.{lang}-eng.{side}" for side in ("eng", lang))
        test[lang] = corpora.parallel_lines(*map(config.file, names))
    held_out = [side for pairs in test.values() for side in pairs[:2]]
    for lang in config.languages:
        pairs = corpora.tsv_pairs(config.file(f"tatoeba_pairs/eng-{lang}.tsv.xz"))
        pairs = corpora.disjoint(pairs, *held_out)
        train[lang] = pairs.take(range(len(pairs.source))[: getattr(config, "examples", None)])
    return train, test


def train(context: Context, tags: Row, *arguments: Any, **options: Any) -> Any:
    """Calls ``dual_encoder`` with the log, progress bar and checkpoints of this run."""
    options |= context.fit_options("dual encoder", **tags)
    del options["on_divergence"]  # dual_encoder always stops
    return jc.text.dual_encoder(*arguments, **options)


def bag(
    context: Context, tags: Row, config: Any, pairs: Any, seed: int, words: Any = None, **loss: Any
) -> Any:
    """Trains a bag of embeddings by in-batch contrast of cosines."""
    words = words or jc.text.train_subwords([*pairs.source, *pairs.target], config.pieces)
    model = jc.models.BagEncoder(words.size, config.width)
    rate, rounds = config.learning_rate, config.epochs * (len(pairs.source) // config.batch_size)
    options = {"num_epochs": config.epochs, "group": loss.pop("group", None), "seed": seed}
    options |= {"batch_size": config.batch_size, "max_len": config.max_len}
    options["optimizer"] = optax.adam(optax.linear_schedule(rate, rate / 20, rounds))
    loss["temperature"] = config.temperature
    options["loss"] = pair_training.pair_loss(model, words, ("contrastive",), **loss)
    return train(context, tags, pairs, words, model, **options)


def bars(name: str, keys: str, columns: tuple[str, ...], label: str = "P@1") -> Callable[..., None]:
    """Returns ``figures``: means over seeds, a group of bars for each case."""

    def figures(config: Config, rows: list[Row], context: Context) -> None:
        lines, width = averages(rows, keys), 0.8 / len(columns)
        figure, ax = plots.subplots(figsize=(max(5.0, 1.6 + 1.1 * len(lines)), 3.6))
        places = np.arange(len(lines))
        for i, column in enumerate(columns):
            heights = [line[column] for line in lines]
            shown = ax.bar(places + i * width, heights, width, color=plots.COLORS[i], label=column)
            ax.bar_label(shown, fmt="{:.3f}", fontsize=7)
        cases = [" ".join(_named(line, key) for key in keys.split()) for line in lines]
        ax.set_xticks(places + 0.4 - width / 2, cases, rotation=20, ha="right")
        ax.set(ylim=(0, 1.05), ylabel=label)
        ax.legend(ncols=len(columns), loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
        context.save(figure, name)

    return figures


def _named(line: Row, key: str) -> str:
    return line[key] if isinstance(line[key], str) else f"{key} {line[key]}"
