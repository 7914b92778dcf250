"""Representation sharing without a server, with attackers, and with several architectures.

After arXiv 2211.10943; the paper has a server, honest clients and one architecture.

    python -m experiments rep_sharing gossip

Prototypes averaged by neighbors on a ring, and over links that lose messages.
Cost: 3 minutes on 2 cores.
Expected: a ring does as well as a server, above independent learning.

    python -m experiments rep_sharing byzantine

3 of 10 clients send false prototypes; mean, median and trimmed mean of each class.
Cost: 2 minutes on 2 cores.
Expected: robust rules above independent learning, the mean below.

    python -m experiments rep_sharing heterogeneous

Three architectures, 3 clients each, which share 84 features.
Cost: 2 minutes on 2 cores.
Expected: each architecture above independent learning.
"""

from typing import Annotated, Any, Literal

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, above
from experiments.drawing import draw_curves
from experiments.fields import Bound, Probability
from experiments.rep_sharing import _training
from experiments.rep_sharing._training import TINY, curves_of, methods, summary, traffic, train
from jcollab.aggregators import coordinate_median, per_class, trimmed_mean, weighted

ALONE, SERVER = "independent", "server"
NOISE = 10.0  # standard deviation of the attackers' noise
ARCHITECTURES = ("lenet5", "mlp", "deep mlp")


class Config(_training.Config):
    """Representation sharing on graphs, with attackers, or with several architectures."""

    kind: Literal["gossip", "byzantine", "heterogeneous"] = "gossip"
    n: Annotated[int, Bound(at_least=3, at_most="examples")] = 10  # clients
    byzantine: int = 3  # number of clients that send false prototypes
    # probability that a message is lost
    loss: Probability = 0.2

    def _check(self) -> None:
        Bound(at_least=1, below=self.n / 2).check("byzantine", self.byzantine)


PRESETS = {
    "gossip": Config(kind="gossip"),
    "byzantine": Config(kind="byzantine"),
    "heterogeneous": Config(kind="heterogeneous", n=9),
}
FOUR = TINY | {"n": 4, "byzantine": 1}
SMOKE = {"gossip": FOUR, "byzantine": FOUR, "heterogeneous": FOUR | {"n": 3}}


def run(config: Config, context: Context) -> Rows:
    """Trains each variant."""
    names = ARCHITECTURES if config.kind == "heterogeneous" else (config.model,)
    clients = dict(zip(names, np.array_split(np.arange(config.n), len(names)), strict=True))
    graphs = {"ring": jc.topology.ring(config.n), "chain": jc.topology.chain(config.n)}
    for name, options in context.cases(_variants(config, **graphs).items()):
        tags = {"variant": name}
        for graph in graphs:
            if graph in name:
                context.graph(graph, graphs[graph])
                tags["topology"] = graph
        (accuracy,), done = train(config, context, clients, options, **tags)
        context.kept[name] = curves_of(done, _honest(config))
        honest = accuracy[:, _honest(config)]
        row = {"variant": name, "worst_client": honest.min(1).mean()} | summary(honest)
        row["bytes_up"] = traffic(config, options, config.n)["bytes_up"]
        if len(clients) > 1:
            row |= {label: accuracy[:, own].mean() for label, own in clients.items()}
        yield row


def _honest(config: Config) -> np.ndarray:
    return np.arange(config.n) < config.n - config.byzantine * (config.kind == "byzantine")


def _variants(config: Config, ring: Any, chain: Any) -> dict[str, dict[str, Any]]:
    known = methods(config, config.n)
    ours = known["ours"] | {"weighting": "clients"}
    variants = {ALONE: known["IL"], SERVER: ours}
    if config.kind == "gossip":
        lossy, peer = jc.channels.drop(config.loss), jc.mixing.random_peer(ring)
        lost, some = jc.neighborhood(ring, weighted(), lossy), jc.mixing.random_peer(ring, lossy)
        variants["ring"] = ours | {"mixer": jc.gossip(ring), "observer": peer}
        variants["ring, messages lost"] = ours | {"mixer": lost, "observer": some}
        variants["relay on a chain"] = ours | {"mixer": jc.relay_sum(chain), "observer": peer}
    elif config.kind == "byzantine":
        # new noise in every round, larger than features: false prototypes that stay the same in all
        # rounds, for example mirrored or canceled means, do no harm
        lie = jc.channels.attacks.only(jc.channels.attacks.gaussian(NOISE), "values")
        honest = _honest(config)
        wire = jc.channels.byzantine(lie, ~honest)
        fooled = ours | {"observer": jc.mixing.random_peer(channel=wire), "honest": honest}
        median, trimmed = per_class(coordinate_median()), per_class(trimmed_mean(config.byzantine))
        for name, rule in (("mean", None), ("median", median), ("trimmed mean", trimmed)):
            variants[f"liars, {name}"] = fooled | {"mixer": jc.server(rule, wire)}
    return variants


def claims(config: Config, rows: list[Row]) -> Claims:
    """Claims for each kind of experiment."""
    by_name = {row["variant"]: row for row in rows}

    def gain(name: str, column: str = "accuracy") -> Claim:
        sentence = name if column == "accuracy" else f"{name}, {column}"
        gained = by_name[name][column] - by_name[ALONE][column]
        return above(f"{sentence}: gain over independent", gained, 0)

    if config.kind == "heterogeneous":
        yield from (gain(SERVER, name) for name in ARCHITECTURES)
        return
    if config.kind == "gossip":
        yield from (gain(name) for name in by_name if name != ALONE)
        return
    sentence = "with the mean, liars make sharing worse than independent learning"
    loss = by_name[ALONE]["accuracy"] - by_name["liars, mean"]["accuracy"]
    yield from map(gain, ("liars, median", "liars, trimmed mean"))
    yield above(sentence, loss, 0)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Accuracy of the honest clients against rounds."""
    who = " (mean over the honest)" if config.kind == "byzantine" else ""
    title = f"{config.dataset}, {config.n} clients: {config.kind}{who}"
    context.save(draw_curves({title: context.kept}, "mean_test_accuracy"), "accuracy")
