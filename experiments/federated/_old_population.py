"""Rounds of a few clients out of very many: time and memory must not grow with the many."""

from __future__ import annotations

import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.federated.kinds import Population
from jcollab import plots

CLASSES, PIECES = 10, 10
WITHIN = 1.2  # how much longer a round may take in the largest population


def run(config: Population, context: Context) -> list[Row]:
    """Trains on every population, in turns, so that a busy machine slows all of them."""
    runs = [_Run(config, population) for population in config.populations]
    log = context.log(method=config.method)
    bar = context.progress.add_task("pieces of rounds", total=PIECES * len(runs))
    for _ in range(PIECES):
        for one in runs:
            one.advance()
            log.write({"population": one.population, "round": one.done, "loss": one.loss})
            context.progress.update(bar, advance=1)
            if context.stop.is_set():
                return [one.row() for one in runs if one.seconds]
    rows = [one.row() for one in runs]
    context.save(_figure(config, rows), "population")
    return rows


def claims(config: Population, rows: list[Row]) -> list[Claim]:
    """N does not appear in the time of a round, and a million clients fit into 4 GiB."""
    rows = sorted(rows, key=lambda row: row["population"])
    ratio = rows[-1]["seconds_a_round"] / rows[0]["seconds_a_round"]
    span = f"{rows[-1]['population']:,} and {rows[0]['population']:,} clients"
    memory = max(row["peak_GiB"] for row in rows)
    return [
        Claim(f"rounds among {span} take as long", f"<= {WITHIN}", ratio, ratio <= WITHIN),
        Claim("peak memory of the whole run, in GiB", "< 4", memory, memory < 4),
        Claim(
            "training makes progress in every population (loss)",
            "last < first",
            ", ".join(f"{r['first_loss']:.2f} to {r['loss']:.2f}" for r in rows),
            all(row["loss"] < row["first_loss"] for row in rows),
        ),
    ]


def population_data(config: Population, clients: int) -> jc.data.ClientRanges:
    """A classification by a linear teacher, in which every client has a few examples of its own."""
    rng = np.random.default_rng(config.seed)
    x = rng.standard_normal((clients * config.examples, config.features), np.float32)
    teacher = rng.standard_normal((config.features, CLASSES), np.float32)
    y = (x @ teacher).argmax(1).astype(np.int32)
    sizes = np.full(clients, config.examples)
    return jc.data.client_ranges(jc.data.Dataset(x, y), sizes=sizes)


class _Run:
    """Training on one population, in pieces."""

    def __init__(self, config: Population, population: int):
        self.config, self.population = config, population
        self.data: Any = population_data(config, population)
        model = jc.models.MLP(CLASSES, ())
        sgd, drift = optax.sgd(config.learning_rate), None
        if config.method == "SCAFFOLD":
            sgd, drift = optax.chain(jc.local.control_variate(), sgd), jc.local.scaffold()
        self.cohort = jc.federated_cohort(
            jc.objectives.classification(model.apply),
            sgd,
            num_sampled=config.num_sampled,
            local_steps=config.local_steps,
            source=jc.sources.local_batches(config.examples),
            drift=drift,
            num_clients=population,
        )
        self.algorithm = jc.algorithms.as_algorithm(self.cohort)
        self.key = jax.random.key(config.seed)
        self.state = self.cohort.init(self.key, model.init(self.key, self.data.examples.x[:1]))
        if config.host:
            self.state = jc.offload(self.state)
        else:
            self.data = jax.tree.map(jnp.asarray, self.data)
        self.seconds: list[float] = []
        self.done, self.first, self.loss = 0, None, np.nan

    def advance(self) -> None:
        """The next tenth of the rounds; the first includes compilation."""
        rounds = max(1, self.config.rounds // PIECES)
        start = time.perf_counter()
        if self.config.host:
            self.state, log = jc.run_offloaded(
                self.cohort, self.state, self.data, self.key, num_rounds=rounds, progress=False
            )
        else:
            self.state, log = jc.run(
                self.algorithm,
                self.state,
                self.data,
                self.key,
                num_rounds=rounds,
                sample=jc.data.whole,
                donate=True,
            )
        losses = np.asarray(log["loss"])
        self.seconds.append((time.perf_counter() - start) / rounds)
        self.first = losses[0] if self.first is None else self.first
        self.done, self.loss = self.done + rounds, losses[-1]

    def row(self) -> Row:
        """Medians over all pieces but the first."""
        seconds = float(np.median(self.seconds[1:] or self.seconds))
        return {
            "population": self.population,
            "rounds": self.done,
            "seconds_a_round": seconds,
            "rounds_a_second": 1 / seconds,
            "first_loss": float(self.first or np.nan),
            "loss": float(self.loss),
            "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }


@plots.style()
def _figure(config: Population, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(5.6, 3.6))
    ax = fig.subplots()
    sizes = [row["population"] for row in rows]
    ax.plot(sizes, [1000 * row["seconds_a_round"] for row in rows], "o-", color=plots.COLORS[0])
    ax.set(
        xscale="log",
        title=f"{config.method}: {config.num_sampled:,} sampled clients a round",
        xlabel="clients in all",
        ylabel="milliseconds a round",
    )
    ax.set_ylim(0, 1.25 * max(1000 * row["seconds_a_round"] for row in rows))
    return fig
