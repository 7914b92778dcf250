"""The 18 batters of Efron and Morris: each shares with 17 others and is better off.

Optimal model averaging, arXiv 2110.12946, the case of many clients, on the first example of the
rule of James and Stein.

    python -m experiments optimal_averaging batters

18 batting averages from 45 at-bats, and what they predict for the season.
Cost: 10 s on 2 cores, --data DIR with efron_morris.csv.gz.
Expected: total squared error .0754 alone, .0213 by James and Stein.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.contract import Claim, Claims, Context, Row, Rows, above, within
from experiments.fields import Settings
from experiments.optimal_averaging import _natural as natural
from jcollab import plots

AT_BATS = 45
# Efron and Morris 1975, and with them the data set: errors, and the weight of the mean
ALONE, SHRUNK, FACTOR = 0.0754, 0.0213, 0.788


class Config(Settings):
    """Where the batters come from."""

    data: str = ""  # folder with efron_morris.csv.gz
    source: Literal["file", "synthetic"] = "file"  # of that folder, or drawn at random
    seed: int = 0  # of the draw


PRESETS = {"batters": Config()}
SMOKE = {"batters": {"source": "synthetic"}}
X64 = True


def batters(config: Config) -> pd.DataFrame:
    """Returns names, hits ``r`` of 45, their average ``y``, and the average ``p`` of the rest."""
    if config.source == "file":
        return natural.read(config.data, "efron_morris.csv.gz")
    rng = np.random.default_rng(config.seed)
    p = rng.normal(0.265, 0.04, 18).round(3)
    r = rng.binomial(AT_BATS, p)
    names = [f"batter {i}" for i in range(18)]
    return pd.DataFrame({"name": names, "r": r, "y": (r / AT_BATS).round(3), "p": p})


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each method, and one for each batter."""
    table = batters(config)
    y, p = table.y.to_numpy(float), table.p.to_numpy(float)
    variance = y.mean() * (1 - y.mean()) / AT_BATS
    ruled = natural.estimates(y, variance)
    for name, (estimate, weight) in ruled.items():
        row: Row = {"kind": "method", "method": name, "error": ((estimate - p) ** 2).sum()}
        row["better"] = int((abs(estimate - p) < abs(y - p)).sum())
        # the weight of the mean of all, which contains the batter itself
        yield row | {"weight": weight.mean() * len(y) / (len(y) - 1)}
    shrunk = ruled["James-Stein"][0]
    for name, *values in zip(table.name, y, p, shrunk, strict=True):
        row = dict(zip(("early", "season", "james_stein"), map(float, values), strict=True))
        yield {"kind": "batter", "batter": name} | row


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns the rows of methods."""
    return [
        {key: value for key, value in row.items() if key != "kind"}
        for row in rows
        if row["kind"] == "method"
    ]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The published errors, and who gains."""
    by = {row["method"]: row for row in rows if row["kind"] == "method"}
    errors = {name: row["error"] for name, row in by.items()}
    stein, count = by["James-Stein"], sum(row["kind"] == "batter" for row in rows)
    if config.source == "file":
        for claim, value, published in (
            ("total squared error of the averages", errors["alone"], ALONE),
            ("total squared error by James and Stein", errors["James-Stein"], SHRUNK),
            ("weight of the common mean", stein["weight"], FACTOR),
        ):
            note = f"published: {published:g}"
            yield within(claim, value / published - 1, 0.01, f"{value:.4f}", note=note)
    worst = min(natural.PLUG_IN, key=lambda name: errors["alone"] / errors[name])
    claim = "every plug-in rule beats the averages (ratio of total errors, least)"
    yield above(claim, errors["alone"] / errors[worst], 1)
    claim = "James and Stein's rule beats the common mean (ratio of total errors)"
    yield above(claim, errors["common"] / errors["James-Stein"], 1)
    claim = "most batters are better off by James and Stein's rule"
    yield Claim(claim, f"> {count // 2} of {count}", stein["better"], stein["better"] > count / 2)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Early averages, shrunk ones and those of the season; errors of all methods."""
    batters = [row for row in rows if row["kind"] == "batter"]
    fig, (left, right) = plots.subplots(1, 2, figsize=(11, 4.6))
    names = ("early", "james_stein", "season")
    for row in batters:
        better = abs(row["james_stein"] - row["season"]) < abs(row["early"] - row["season"])
        color = plots.COLORS[0] if better else plots.COLORS[1]
        left.plot(range(3), [row[name] for name in names], "o-", color=color, ms=4, lw=1)
    for color, label in zip(plots.COLORS, ("closer to the season's", "farther"), strict=False):
        left.plot([], [], "o-", color=color, ms=4, lw=1, label=label)
    left.set_xticks(range(3), ["first 45 at-bats", "James and Stein", "rest of the season"])
    left.set(ylabel="batting average", xlim=(-0.2, 2.2))
    left.legend(fontsize=9)
    bars(right, {r["method"]: r["error"] for r in rows if r["kind"] == "method"})
    right.set_xlabel("total squared error")
    context.save(fig, "batters")


def bars(ax: Any, errors: dict[str, float]) -> None:
    """Draws errors as horizontal bars, with their values."""
    drawn = ax.barh(list(errors), list(errors.values()), color=plots.COLORS[0])
    ax.bar_label(drawn, fmt="%.4f", padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.grid(visible=False, axis="y")
