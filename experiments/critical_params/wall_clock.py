"""Time to a target against the number of clients: synchronous, asynchronous and local SGD.

Critical parameters, arXiv 2103.02351; a question of this repository.

    python -m experiments critical_params wall_clock

Time to a target against the number of clients: synchronous, asynchronous, local.
Cost: 1 minute on 2 cores.
Expected: local SGD wins where links are slow; the synchronous knee comes 2.3 times later.
"""

from typing import Annotated

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, between, columns, pivot
from experiments.fields import Bound, Count, NonNegative, Settings
from jcollab import plots

TWICE = 1.25  # tau / (1 + M) at which the exact slowdown is 2


class Config(Settings):
    """Least squares, clients and links."""

    # values of n; speed-ups refer to 1
    clients: Annotated[tuple[Count, ...], Bound(containing=1)] = (1, 2, 4, 8, 16, 32, 64)
    links: tuple[NonNegative, ...] = (0.0, 4.0)  # times of both transfers, in compute times
    condition: float = 10.0  # of the least squares
    features: Count = 12  # its dimension
    target: float = 0.01  # factor by which the error is to fall
    local_steps: Count = 8  # H of local SGD
    # variance of the random time (gamma) of a job; 0 for clients that always take the same time
    spread: NonNegative = 0.5
    seed: int = 0  # of the draws

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues, log-spaced."""
        return np.geomspace(1, 1 / self.condition, self.features)


PRESETS = {"wall_clock": Config()}
SMOKE = {"wall_clock": {"clients": (1,), "links": (0.0,), "features": 3, "target": 0.3}}


def run(config: Config, context: Context) -> list[Row]:
    """Computes the time of every method, link and number of clients."""
    rows: list[Row] = []
    options = {"target": config.target, "local_steps": (config.local_steps,), "seed": config.seed}
    options |= {"eigenvalues": config.spectrum, "max_steps": 8000}
    options["draw"] = jc.theory.arrivals.gamma(1 / config.spread) if config.spread else None
    for link, n in context.cases(config.links, sorted(config.clients), description="racing"):
        finished = jc.theory.wall_clock.compare(np.ones(n), link, **options)
        for place, (method, end) in enumerate(finished.items(), 1):
            row = {"link": link, "n": n, "method": method, "place": place}
            reached = np.isfinite(end.seconds)
            row |= {name: getattr(end, name) if reached else None for name in ("seconds", "steps")}
            rows.append(row | {"learning_rate": end.learning_rate})
    # speed-ups refer to one client without links
    alone = min((r["seconds"] for r in rows if r["n"] == 1 and r["seconds"]), default=0.0)
    for row in rows:
        row["speed_up"] = alone / row["seconds"] if row["seconds"] else None
    return rows


def claims(config: Config, rows: list[Row]) -> Claims:
    """The fastest method for each link, and the knee."""
    first = {(r["link"], r["n"]): r["method"] for r in rows if r["place"] == 1}
    knee = jc.theory.wall_clock.noise_ratio(config.spectrum)
    most, slow = max(config.clients), max(config.links)
    few = min((n for n in config.clients if 1 < n <= knee), default=None)
    contests = {}
    if 0 in config.links and config.spread and most > 1:
        contests[0, most] = "random job times, free links", "asynchronous"
    if slow >= 1 and few:
        contests[slow, few] = f"links of {slow:g} jobs", "local SGD"
    for (link, n), (where, expected) in contests.items():
        claim, method = f"{where}, n={n}: first at the target", first[link, n]
        yield Claim(claim, expected, method, method.split()[0] == expected.split()[0])
    # half as useful: a batch of M + 2, and the delay n - 1 at which steps double
    for method, predicted in (("synchronous", knee + 2), ("asynchronous", 1 + TWICE * (1 + knee))):
        own = [r for r in rows if (r["link"], r["method"]) == (config.links[0], method)]
        half = half_as_useful(own, method)
        if half is not None:
            claim = f"{method}: n at which a client is half as useful in steps"
            yield between(f"{claim}, over {predicted:.1f}", half / predicted, 0.5, 2)


def half_as_useful(rows: list[Row], method: str) -> float | None:
    """Interpolates the n at which a client saves half as many steps as the first one."""
    n, steps = columns((r for r in rows if r["steps"]), "n steps")
    worth = steps[0] / steps / (n if method == "synchronous" else 1)
    if len(n) < 2 or worth.min() > 0.5:
        return None
    order = np.argsort(worth)
    return float(np.exp(np.interp(np.log(0.5), np.log(worth[order]), np.log(n[order]))))


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns seconds, a line for each link and number of clients."""
    first = [r | {"seconds": r["method"], "method": "first"} for r in rows if r["place"] == 1]
    return pivot(rows + first, "link n", "method", "seconds")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Speed-ups on the wall clock against the number of clients."""
    fig, panels = plots.row(len(config.links), 4.8, 4)
    for ax, link in zip(panels, config.links, strict=True):
        for method, color in zip({r["method"]: 0 for r in rows}, plots.COLORS, strict=False):
            own = [r for r in rows if (r["link"], r["method"]) == (link, method) and r["seconds"]]
            n, gains = columns(own, "n speed_up")
            ax.loglog(n, gains, "o-", base=2, markersize=4, color=color, label=method)
        knee = 1 + jc.theory.wall_clock.noise_ratio(config.spectrum)
        ax.axvline(knee, color="0.4", linestyle=":", linewidth=1.4)
        ax.set(xlabel="clients n (dotted: 1 + M)", title=f"links take {link:g} jobs")
    panels[0].set_ylabel("speed-up on the wall clock")
    panels[0].legend(fontsize=9, loc="upper left")
    context.save(fig, "wall_clock")
