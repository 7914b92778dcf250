"""Our method without a server, with liars, and with several architectures."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.rep_sharing import methods
from experiments.rep_sharing.kinds import Variants
from experiments.rep_sharing.training import Trained, load, make_model, train
from jcollab import plots
from jcollab.aggregators import coordinate_median, per_class, trimmed_mean, weighted

ALONE, SERVER = "independent", "server"
NOISE = 10.0  # standard deviation of what liars add to each number


def run(config: Variants, context: Context) -> list[Row]:
    """Trains each variant."""
    data = load(config)
    models, kinds = _models(config)
    liars = _liars(config)
    honest = ~liars if config.kind == "byzantine" else np.ones(config.n, bool)
    rows: list[Row] = []
    curves: dict[str, Trained] = {}
    for name, options in _variants(config, liars).items():
        done = train(
            config,
            context,
            data,
            models,
            lambda groups, own, options=options: methods.build(groups, config, options),
            name,
        )
        curves[name] = done
        each = done.accuracy[:, honest]
        row: Row = {
            "variant": name,
            "accuracy": each.mean(),
            "worst_client": each.min(1).mean(),
            "std_of_seeds": each.mean(1).std(),
            "std_of_clients": each.std(1).mean(),
            "bytes_up": methods.traffic(options, config, config.n, 0)[0],
        }
        first = 0
        for label, (_, count) in zip(kinds, models, strict=True):
            if len(models) > 1:
                row[label] = done.accuracy[:, first : first + count].mean()
            first += count
        rows.append(row)
        if done.interrupted:
            context.stop.set()
            return rows
    context.save(_figure(config, curves, honest), "accuracy")
    return rows


def claims(config: Variants, rows: list[Row]) -> list[Claim]:
    """Each kind has its own."""
    by_name = {row["variant"]: row for row in rows}
    alone = by_name[ALONE]["accuracy"]
    found: list[Claim] = []

    def above(name: str, column: str = "accuracy") -> None:
        gain = by_name[name][column] - by_name[ALONE][column]
        what = "" if column == "accuracy" else f", {column}"
        said = f"{name}{what}: gain over independent"
        found.append(Claim(said, "> 0", gain, bool(gain > 0)))

    if config.kind == "byzantine":
        for name in ("liars, median", "liars, trimmed mean"):
            above(name)
        loss = alone - by_name["liars, mean"]["accuracy"]
        said = "with the mean, liars make sharing worse than independent learning"
        found.append(Claim(said, "> 0", loss, bool(loss > 0)))
    elif config.kind == "gossip":
        for name in by_name:
            if name != ALONE:
                above(name)
    else:
        for column in _models(config)[1]:
            above(SERVER, column)
    return found


def _models(config: Variants) -> tuple[list[tuple[Any, int]], list[str]]:
    if config.kind != "heterogeneous":
        return [(make_model(config), config.n)], [config.model]
    classes, d = methods.NUM_CLASSES, config.num_features
    named = {
        "lenet5": jc.models.LeNet5(classes, d),
        "mlp": jc.models.FeatureMLP(classes, d),
        "deep mlp": jc.models.FeatureMLP(classes, d, hidden=(128, 64)),
    }
    counts = [len(part) for part in np.array_split(np.arange(config.n), len(named))]
    return list(zip(named.values(), counts, strict=True)), list(named)


def _liars(config: Variants) -> np.ndarray:
    return np.arange(config.n) >= config.n - config.byzantine


def _variants(config: Variants, liars: np.ndarray) -> dict[str, dict[str, Any]]:
    ours = methods.parts("ours", config, config.n) | {"weighting": "clients"}
    found = {ALONE: methods.parts("IL", config, config.n), SERVER: ours}
    if config.kind == "gossip":
        ring, lossy = jc.topology.ring(config.n), jc.channels.drop(config.loss)
        peer = jc.random_peer(ring)
        found["ring"] = ours | {"mixer": jc.gossip(ring), "observer": peer}
        found["ring, messages lost"] = ours | {
            "mixer": jc.neighborhood(ring, weighted(), lossy),
            "observer": jc.random_peer(ring, lossy),
        }
        found["relay on a chain"] = ours | {
            "mixer": jc.relay_sum(jc.topology.chain(config.n)),
            "observer": peer,
        }
    elif config.kind == "byzantine":
        # anew in every round, and larger than features can be: lies that stay the same in all
        # rounds, mirrored or cancelled means say, do no harm
        lie = jc.attacks.gaussian(NOISE)
        wire = jc.channels.byzantine(jc.attacks.on(lie, "values"), liars)
        for name, rule in {
            "mean": None,
            "median": per_class(coordinate_median()),
            "trimmed mean": per_class(trimmed_mean(config.byzantine)),
        }.items():
            found[f"liars, {name}"] = ours | {
                "mixer": jc.server(rule, wire),
                "observer": jc.random_peer(channel=wire),
                "honest": ~liars,
            }
    return found


@plots.style()
def _figure(config: Variants, curves: dict[str, Trained], honest: np.ndarray) -> Any:
    fig = plots.figure(figsize=(7.2, 4.4))
    ax = fig.subplots()
    for i, (name, done) in enumerate(curves.items()):
        values = 100 * done.clients[:, :, honest].mean(-1).T
        color, dash = plots.COLORS[i % len(plots.COLORS)], plots.DASHES[i % len(plots.DASHES)]
        plots.band(ax, done.rounds, values, color=color, label=name, linestyle=dash)
    who = "honest clients" if config.kind == "byzantine" else "clients"
    ax.set(
        title=f"{config.dataset}, {config.n} clients: {config.kind}",
        xlabel="rounds",
        ylabel=f"test accuracy, mean over {who} [%]",
    )
    ax.legend(fontsize=9)
    return fig
