"""Rounds with few sampled clients: time must not grow with the size of the population.

Belongs to no paper.

    python -m experiments federated population

1,000 sampled clients a round out of 10,000, 100,000 and 1,000,000.
Cost: 1 minute on 2 cores.
Expected: a round takes as long in all of them, below 4 GiB in all.
"""

import resource
import time
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, at_most, below
from experiments.fields import Bound, Count, Settings
from jcollab import plots

CLASSES, PIECES = 10, 10
Population = Annotated[int, Bound(at_least="num_sampled")]
WITHIN = 1.2  # largest allowed ratio of the times of a round


class Config(Settings):
    """Rounds of m clients sampled from growing populations."""

    populations: tuple[Population, ...] = (10_000, 100_000, 1_000_000)  # numbers of clients
    num_sampled: Count = 1000  # m
    examples: Count = 4  # of each client
    features: Count = 32  # of an example
    local_steps: Count = 2  # H
    rounds: Count = 200  # T
    learning_rate: float = 0.1  # of local steps
    method: Literal["FedAvg", "SCAFFOLD"] = "FedAvg"  # SCAFFOLD keeps a model for each client
    host: bool = False  # whether clients stay in host memory, see jcollab.fit
    seed: int = 0  # of everything random


PRESETS = {"population": Config()}
SMOKE = {"population": {"populations": (20, 40), "num_sampled": 4, "rounds": 10, "features": 3}}


def run(config: Config, context: Context) -> list[Row]:
    """Trains on all populations in turns, so that other load affects all of them equally."""
    runs = [_Run(config, population) for population in config.populations]
    for _, one in context.cases(range(PIECES), runs, description="pieces of rounds"):
        one.advance()
        tags = {"method": config.method, "population": one.population}
        context.log({"round": len(one.losses), "loss": one.losses[-1]}, **tags)
    return [one.row() for one in runs if one.seconds]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The time of a round does not depend on n, and a million clients fit into 4 GiB."""
    rows = sorted(rows, key=lambda row: row["population"])
    ratio = rows[-1]["seconds_a_round"] / rows[0]["seconds_a_round"]
    span = f"{rows[-1]['population']:,} and {rows[0]['population']:,} clients"
    memory = max(row["peak_GiB"] for row in rows)
    yield at_most(f"rounds among {span} take as long", ratio, WITHIN)
    yield below("peak memory of the whole run, in GiB", memory, 4)
    yield Claim(
        "training makes progress in every population (loss)",
        "last < first",
        ", ".join(f"{r['first_loss']:.2f} to {r['loss']:.2f}" for r in rows),
        all(row["loss"] < row["first_loss"] for row in rows),
    )


def population_data(config: Config, clients: int) -> jc.data.ClientRanges:
    """Builds a classification by a linear teacher, with a few examples for each client."""
    rng = np.random.default_rng(config.seed)
    x = rng.standard_normal((clients * config.examples, config.features), np.float32)
    teacher = rng.standard_normal((config.features, CLASSES), np.float32)
    y = (x @ teacher).argmax(1).astype(np.int32)
    return jc.data.by_owner(jc.data.Dataset(x, y), sizes=np.full(clients, config.examples))


class _Run:
    """Training on one population, in pieces."""

    def __init__(self, config: Config, population: int):
        self.config, self.population = config, population
        model = jc.models.MLP(CLASSES, ())
        self.algorithm = jc.federated(
            jc.objectives.classification(model.apply),
            optax.sgd(config.learning_rate),
            num_sampled=config.num_sampled,
            local_steps=config.local_steps,
            method=jc.local.scaffold() if config.method == "SCAFFOLD" else None,
            num_clients=population,
        )
        data = population_data(config, population)
        self.key = jax.random.key(config.seed)
        self.state = self.algorithm.init(model.init(self.key, data.examples.x[:1]))
        if not config.host:
            data = jax.tree.map(jnp.asarray, data)
        self.batches = jc.data.minibatches(data, config.examples)
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def advance(self) -> None:
        """Runs the next tenth of the rounds; the first piece includes compilation."""
        rounds = max(1, self.config.rounds // PIECES)
        start = time.perf_counter()
        place = self.algorithm, self.state, self.batches, self.key
        if self.config.host:
            done = len(self.losses) + rounds
            result = jc.fit(*place, num_rounds=done, offload=True, eval_every=rounds, listeners=())
            self.state, log = result.state, result.log
        else:
            self.state, log = jc.run(*place, num_rounds=rounds, donate=True)
        self.losses += np.asarray(log["loss"]).tolist()
        self.seconds.append((time.perf_counter() - start) / rounds)

    def row(self) -> Row:
        """Returns medians over all pieces except the first."""
        seconds = np.median(self.seconds[1:] or self.seconds)
        return {
            "population": self.population,
            "rounds": len(self.losses),
            "seconds_a_round": seconds,
            "rounds_a_second": 1 / seconds,
            "first_loss": self.losses[0],
            "loss": self.losses[-1],
            "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Time of a round against the number of clients."""
    fig, ax = plots.subplots(figsize=(5.6, 3.6))
    milliseconds = [1000 * row["seconds_a_round"] for row in rows]
    ax.plot(config.populations, milliseconds, "o-", color=plots.COLORS[0])
    ax.set_title(f"{config.method}: {config.num_sampled:,} sampled clients a round")
    ax.set(xscale="log", xlabel="clients in all", ylabel="milliseconds a round")
    ax.set_ylim(0, 1.25 * max(milliseconds))
    context.save(fig, "population")
