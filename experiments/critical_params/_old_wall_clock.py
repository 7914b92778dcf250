"""Time to a target: synchronous, asynchronous and local SGD against the number of clients."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params.kinds import WallClock
from jcollab import plots

TWICE = 1.25  # tau / (1 + M) at which the exact slowdown is 2
COLORS = dict(zip(("synchronous", "asynchronous", "local"), plots.COLORS, strict=False))


def spectrum(config: WallClock) -> np.ndarray:
    """Eigenvalues, log-spaced."""
    return np.geomspace(1, 1 / config.condition, config.features)


def run(config: WallClock, context: Context) -> list[Row]:
    """Times of all methods, for every link and number of clients."""
    rows: list[Row] = []
    values = spectrum(config)
    draw = jc.arrivals.gamma(1 / config.spread) if config.spread else None
    bar = context.progress.add_task("racing", total=len(config.links) * len(config.clients))
    for link in config.links:
        alone: dict[str, float] = {}
        for n in sorted(config.clients):
            if context.stop.is_set():
                return rows
            finished = jc.wall_clock.race(
                np.ones(n), link, eigenvalues=values, target=config.target,
                local_steps=(config.local_steps,), draw=draw, seed=config.seed, max_steps=8000,
            )  # fmt: skip
            for place, (method, end) in enumerate(finished.items()):
                reached = np.isfinite(end.seconds)
                alone.setdefault(method, end.seconds)
                row = {
                    "link": link, "n": n, "method": method, "place": place + 1,
                    "seconds": end.seconds if reached else None,
                    "steps": end.steps if reached else None,
                    "learning_rate": end.learning_rate,
                    "speed_up": alone["synchronous"] / end.seconds if "synchronous" in alone
                    and reached else None,
                }  # fmt: skip
                rows.append(row)
                context.log().write(row)
            context.progress.advance(bar)
    _refer(rows)
    context.save(_figure(config, rows), "wall_clock")
    return rows


def _refer(rows: list[Row]) -> None:
    """Speed-ups against one client that needs no link."""
    alone = min(r["seconds"] for r in rows if r["n"] == 1 and r["seconds"])
    for row in rows:
        row["speed_up"] = alone / row["seconds"] if row["seconds"] else None


def claims(config: WallClock, rows: list[Row]) -> list[Claim]:
    """Who wins where, and the knee."""
    found = []
    knee = jc.wall_clock.noise_ratio(spectrum(config))
    for link in config.links:
        most = max(config.clients)
        first = next(r for r in rows if (r["link"], r["n"], r["place"]) == (link, most, 1))
        if link == 0 and config.spread and most > 1:
            found.append(Claim(f"random job times, free links, n={most}: first at the target",
                               "asynchronous", first["method"],
                               first["method"] == "asynchronous"))  # fmt: skip
    slow = max(config.links)
    if slow >= 1:
        few = sorted(n for n in config.clients if 1 < n <= knee)
        for n in few[:1]:
            first = next(r for r in rows if (r["link"], r["n"], r["place"]) == (slow, n, 1))
            found.append(Claim(f"links of {slow:g} jobs, n={n}: first at the target", "local SGD",
                               first["method"], first["method"].startswith("local")))  # fmt: skip
    # half as useful: a batch of M + 2, and the delay n - 1 at which steps double
    for method, predicted in (
        ("synchronous", knee + 2),
        ("asynchronous", 1 + TWICE * (1 + knee)),
    ):
        own = [r for r in rows if (r["link"], r["method"]) == (config.links[0], method)]
        half = _half(own, method)
        if half is not None:
            claim = (
                f"{method}: n at which a client is half as useful in steps, over {predicted:.1f}"
            )
            ratio = half / predicted
            found.append(Claim(claim, "between 1/2 and 2", ratio, 0.5 <= ratio <= 2))
    return found


def _half(rows: list[Row], method: str) -> float | None:
    """The n at which a client saves half of the steps that the first one does, between points."""
    reached = sorted((r for r in rows if r["steps"]), key=lambda r: r["n"])
    n = np.array([r["n"] for r in reached], float)
    steps = np.array([r["steps"] for r in reached])
    worth = steps[0] / steps / (n if method == "synchronous" else 1)
    if len(n) < 2 or worth.min() > 0.5:
        return None
    order = np.argsort(worth)
    return float(np.exp(np.interp(np.log(0.5), np.log(worth[order]), np.log(n[order]))))


def shown(config: WallClock, rows: list[Row]) -> list[Row]:
    """Seconds, a line for each link and number of clients."""
    lines: dict[tuple, Row] = {}
    for row in rows:
        line = lines.setdefault((row["link"], row["n"]), {"link": row["link"], "n": row["n"]})
        line[row["method"]] = row["seconds"]
    for (link, n), line in lines.items():
        line["first"] = next(
            r["method"] for r in rows if (r["link"], r["n"], r["place"]) == (link, n, 1)
        )
    return list(lines.values())


@plots.style()
def _figure(config: WallClock, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(4.8 * len(config.links), 4))
    knee = 1 + jc.wall_clock.noise_ratio(spectrum(config))
    for ax, link in zip(
        fig.subplots(1, len(config.links), sharey=True, squeeze=False)[0], config.links, strict=True
    ):
        for method in dict.fromkeys(r["method"] for r in rows):
            own = [r for r in rows if (r["link"], r["method"]) == (link, method) and r["seconds"]]
            own.sort(key=lambda r: r["n"])
            ax.loglog(
                [r["n"] for r in own], [r["speed_up"] for r in own], "o-", markersize=4,
                color=COLORS[method.split()[0]],
                label=f"local SGD, H = {method.split()[1]}" if " " in method else method,
            )  # fmt: skip
        most = max(config.clients)
        ax.loglog([1, most], [1, most], color="0.6", linewidth=1, label="linear", zorder=0)
        ax.axvline(knee, color="0.4", linestyle=":", linewidth=1.4)
        ax.set(xlabel="clients n", title=f"links take {link:g} jobs" if link else "free links")
        ax.set_xticks(sorted(config.clients), [str(n) for n in sorted(config.clients)])
        ax.minorticks_off()
    fig.axes[0].set_ylabel("speed-up on the wall clock")
    fig.axes[0].legend(fontsize=9, loc="upper left")
    fig.axes[0].annotate(
        "dotted: predicted knee 1 + M",
        (0.97, 0.04),
        xycoords="axes fraction",
        ha="right",
        fontsize=9,
    )
    return fig
