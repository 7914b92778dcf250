"""Next characters of Shakespeare's plays; every speaker is a client.

Belongs to no paper; the README has the benchmark of which this is the task.

    python -m experiments federated shakespeare

Shakespeare by speaker: FedAvg, then each speaker alone, and all text in one place.
Cost: 15 minutes on 2 cores, shakespeare.jsonl.gz in --data DIR.
Expected: accuracy of FedAvg above .5, close to that of all text in one place.
"""

import functools
import pathlib
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import numpy as np
import optax
import pandas as pd

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above, at_least, groups
from experiments.fields import Bound, Count, Positive, Settings
from jcollab import plots

FILE = "shakespeare.jsonl.gz"  # play, speaker, text
FEDAVG, TUNED, CENTRAL = "FedAvg", "FedAvg, fine-tuned", "central"
RARE = "\0"  # in place of all characters that occur less than RARELY times
RARELY = 50


class Config(Settings):
    """Speakers, the network, and the rounds."""

    data: str = ""  # folder with the file
    corpus: Literal["file", "toy"] = "file"  # that file, or a generated text
    characters: Count = 2000  # least text of a speaker
    length: Annotated[int, Bound(at_least=2)] = 80  # characters of an example
    embedding: Count = 8  # of a character
    width: Count = 128  # of the GRU
    num_sampled: Count = 10  # m
    local_steps: Count = 10  # H
    batch_size: Count = 10  # b
    rounds: Count = 500  # T
    rate: Positive = 4.0  # of SGD on gradients clipped to norm 1; decays to a tenth
    tuning_rounds: Count = 30  # steps of each speaker alone
    tuning_rate: Positive = 0.3
    evaluations: Count = 10
    seed: int = 0


PRESETS = {"shakespeare": Config()}
SMOKE = {
    "shakespeare": {
        **{
            "corpus": "toy",
            "characters": 200,
            "length": 10,
            "width": 8,
            "num_sampled": 2,
            "batch_size": 2,
        },
        **{"local_steps": 2, "rounds": 6, "tuning_rounds": 2, "evaluations": 2},
    }
}


class Network(nn.Module):
    """A GRU that predicts each character from those before it."""

    vocabulary: int
    embedding: int
    width: int

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """Computes logits ``[b, length, V]`` of characters ``[b, length]``."""
        hidden = nn.RNN(nn.GRUCell(self.width))(nn.Embed(self.vocabulary, self.embedding)(ids))
        return nn.Dense(self.vocabulary)(hidden)


def run(config: Config, context: Context) -> Rows:
    """Trains by speaker and in one place, and measures every speaker on own text."""
    train, test, vocabulary = speakers(config)
    key = jax.random.key(config.seed)
    model = Network(vocabulary, config.embedding, config.width)
    params = model.init(key, train.examples.x[:1])
    loss = functools.partial(next_character, model)
    measure = jc.metrics.by_client(model.apply, test, measure=_right, batch_size=64)
    rate = optax.exponential_decay(config.rate, config.rounds, 0.1)
    sgd = jc.local.by_round(lambda t: optax.sgd(rate(t)))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), sgd)

    def fit(method: str, algorithm: Any, state: Any, batches: Any, rounds: int) -> Any:
        every = max(1, rounds // config.evaluations)
        options = {"num_rounds": rounds, "evaluate": measure, "eval_every": every}
        return context.fit(
            algorithm, state, batches, key, tags={"method": method}, description=method, **options
        )

    n, steps, b = len(train.names), config.local_steps, config.batch_size
    fedavg = jc.federated(
        loss, optimizer, num_clients=n, num_sampled=config.num_sampled, local_steps=steps
    )
    batches = jc.data.minibatches(train, b)
    result = fit(FEDAVG, fedavg, fedavg.init(params), batches, config.rounds)
    yield from rows(context, FEDAVG, result, test)
    if context.stop.is_set():
        return
    alone = jc.algorithms.fine_tuning(loss, optax.sgd(config.tuning_rate), n=n)
    tuned = fit(TUNED, alone, alone.init(result.state), batches, config.tuning_rounds)
    yield from rows(context, TUNED, tuned, test)
    if context.stop.is_set():
        return
    together = jc.data.by_owner(train.examples, sizes=[len(train.examples.y)])
    central = jc.federated(loss, optimizer, num_clients=1, local_steps=steps)
    batches = jc.data.minibatches(together, b * config.num_sampled)
    result = fit(CENTRAL, central, central.init(params), batches, config.rounds)
    yield from rows(context, CENTRAL, result, test)


def rows(context: Context, method: str, result: Any, test: Any) -> Rows:
    """Yields one row for each evaluation, and keeps the speakers' last accuracies."""
    if result.stopped != "finished":
        return
    history = result.evaluations
    context.kept[method] = history["client_accuracy"][-1]
    for i, done in enumerate(history["round"].tolist()):
        yield {
            "method": method,
            "round": done,
            "accuracy": history["weighted_accuracy"][i],
            "mean_over_speakers": history["mean_accuracy"][i],
            "lowest_decile": history["accuracy_deciles"][i][1],
            "lowest": history["worst_accuracy"][i],
            "speakers": len(test.names),
        }


def next_character(model: Network, params: Any, batch: Any, key: jax.Array) -> jax.Array:
    """Computes the mean cross-entropy of all positions."""
    logits = model.apply(params, batch.x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()


def _right(logits: jax.Array, y: jax.Array) -> jax.Array:
    return (logits.argmax(-1) == y).mean(-1)


def speakers(config: Config) -> tuple[Any, Any, int]:
    """Returns windows of each speaker's text, the last fifth for tests, and V."""
    speeches = _toy(config) if config.corpus == "toy" else _speeches(config.data)
    texts = speeches.groupby(["play", "speaker"], sort=True)["text"].agg("\n".join)
    texts = texts[texts.str.len() >= config.characters]
    counts = pd.Series(list("".join(texts))).value_counts()
    known = [RARE, *sorted(counts[counts >= min(RARELY, counts.max())].index)]
    code = {c: i for i, c in enumerate(known)}
    clients = {}
    for (play, speaker), text in texts.items():
        ids = np.array([code.get(c, 0) for c in text], np.int32)
        count = (len(ids) - 1) // config.length
        x, y = (ids[k : k + count * config.length].reshape(count, -1) for k in (0, 1))
        clients[f"{play}: {speaker}"] = jc.data.Dataset(x, y)
    names = list(clients)
    sizes = [len(clients[name].y) for name in names]
    joined = jc.data.Dataset(
        *(np.concatenate(part) for part in zip(*clients.values(), strict=True))
    )
    data = jc.data.by_owner(joined, np.repeat(names, sizes))
    train, test = jc.data.split(data, test=0.2, by="order", at_least=2)
    return train, test, len(known)


def _speeches(folder: str) -> pd.DataFrame:
    path = pathlib.Path(folder, FILE)
    if not folder or not path.exists():
        raise ValueError(f"data must be a folder with {FILE} (--data DIR), got {folder!r}")
    return pd.read_json(path, lines=True)


def _toy(config: Config) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    words = ["the", "king", "shall", "love", "not", "sleep", "tonight", "my", "lord"]
    text = [" ".join(rng.choice(words, config.characters // 2)) for _ in range(3)]
    return pd.DataFrame({"play": "toy", "speaker": ["A", "B", "C"], "text": text})


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Shows the last evaluation of each method."""
    return [own[-1] for own in groups(rows, "method").values()]


def claims(config: Config, rows: list[Row]) -> Claims:
    """FedAvg reaches LEAF's accuracy and that of all text in one place."""
    last = {row["method"]: row for row in shown(config, rows)}
    if FEDAVG in last:
        note = "LEAF's figures are between .5 and .6"
        yield above("accuracy of FedAvg", last[FEDAVG]["accuracy"], 0.5, note=note)
    if CENTRAL in last:
        gap = last[FEDAVG]["accuracy"] - last[CENTRAL]["accuracy"]
        yield at_least("FedAvg against all text in one place (difference)", gap, -0.02)
    if TUNED in last:
        gain = last[TUNED]["lowest_decile"] - last[FEDAVG]["lowest_decile"]
        yield above("fine-tuning helps the speakers of the lowest decile", gain, 0)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Accuracy by round, and by speaker."""
    fig, ax = plots.subplots(figsize=(5.6, 3.6))
    for i, method in enumerate((FEDAVG, CENTRAL)):
        own = [row for row in rows if row["method"] == method]
        ax.plot(
            [row["round"] for row in own],
            [row["accuracy"] for row in own],
            color=plots.COLORS[i],
            label=method,
        )
    ax.set(xlabel="communication rounds", ylabel="accuracy of the next character")
    ax.legend()
    context.save(fig, "shakespeare_rounds")
    if context.kept:
        context.save(plots.by_client(context.kept), "shakespeare_speakers")
