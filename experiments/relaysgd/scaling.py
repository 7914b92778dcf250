"""Steps to a target on quadratics against the number of clients, every method tuned.

RelaySGD, arXiv 2110.04175, Figure 2.

    python -m experiments relaysgd fig2

Steps to 1e-6 on quadratics against n, every method tuned, 10 seeds.
Cost: 3 minutes on 2 cores.
Expected: RelaySGD, n = 6 to 96: 20.8 to 242.6 steps on the chain, 15.2 to 36.2 on trees.
"""

import pathlib

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, at_least, between
from experiments.fields import Count, Positive, Settings
from experiments.relaysgd._methods import METHODS, published
from experiments.relaysgd._quadratics import method, stack, tune
from jcollab import plots
from jcollab.data.synthetic import Quadratics

# the original's ten problems for each n and zeta2
PROBLEMS = pathlib.Path(__file__).parent / "problems" / "fig2.npz"


class Config(Settings):
    """Problems."""

    ns: tuple[Count, ...] = (6, 12, 24, 48, 96)  # numbers of clients
    zetas: tuple[Positive, ...] = (0.01, 1.0)  # heterogeneities zeta^2
    num_seeds: Count = 10  # problems for each n and zeta^2
    d: Count = 10  # dimension
    r0: float = 100.0  # distance of the optimum from the start
    max_steps: Count = 20_000  # rounds after which a run of the search stops
    seed: int = 0  # of the first problem
    recorded_problems: bool = True  # the original's problems, where they exist

    def problems(self, n: int) -> Quadratics:
        """Returns all problems of n clients, heterogeneities varying slowest."""
        own = (self.d, self.r0, self.num_seeds, self.seed) == (10, 100, 10, 0)
        stored = np.load(PROBLEMS) if self.recorded_problems and own else {}
        built: list[Quadratics] = []
        for zeta2 in self.zetas:
            if (key := f"b_{n}_zeta{zeta2:g}") in stored:
                built += map(Quadratics, stored[f"A_{n}"], stored[key])
                continue
            for seed in range(self.seed, self.seed + self.num_seeds):
                options = {"zeta2": zeta2, "r0": self.r0, "seed": seed}
                built.append(jc.data.synthetic.random_quadratics(n, self.d, **options))
        return stack(built)


PRESETS = {"fig2": Config()}
X64 = True
SMOKE = {"fig2": {"ns": (3, 4), "num_seeds": 1, "max_steps": 200, "d": 3}}


def run(config: Config, context: Context) -> Rows:
    """Tunes every method for every n: all seeds and heterogeneities in one program."""
    problems = {n: config.problems(n) for n in config.ns}
    is_paper = (config.d, config.r0) == (10, 100)
    for n, label in context.cases(config.ns, published("fig2"), description="tuning"):
        best = tune(method(label, n), problems[n], max_steps=config.max_steps)
        steps, rates = (np.reshape(part, (len(config.zetas), -1)) for part in best)
        for i, zeta2 in enumerate(config.zetas):
            reached = steps[i] > 0
            some = reached.any()
            row = METHODS[label].tags | {
                "n": n,
                "zeta2": zeta2,
                "steps": steps[i][reached].mean() if some else None,
                "steps_std": steps[i][reached].std() if some else None,
                "paper_steps": published("fig2", label, n, zeta2) if is_paper else None,
                "learning_rate": rates[i][reached].mean() if some else None,
                "unreached": (~reached).sum(),
            }
            yield row
            context.log(row | {"each": steps[i]})


def claims(config: Config, rows: list[Row]) -> Claims:
    """The paper's numbers: RelaySGD within 5 %, others within 15 %; and how steps grow with n."""
    for label in published("fig2"):
        off = [
            (row["steps"] / row["paper_steps"] - 1, f"n={row['n']}, zeta2={row['zeta2']:g}")
            for row in _of(rows, label)
            if row["paper_steps"] is not None
        ]
        if off:
            name, _, graph = label.rpartition(" ")
            bound = 0.05 if name == "RelaySGD" else 0.15
            worst, where = max(off, key=lambda case: abs(case[0]))
            sentence = f"{name} on the {graph}: steps of the paper's figure (largest deviation)"
            measured = f"{worst:+.1%} at {where}"
            yield Claim(sentence, f"within {bound:.0%}", measured, abs(worst) <= bound)
    if len(config.ns) >= 3:
        chain, tree = (
            np.array([(np.log(row["n"]), row["steps"]) for row in _of(rows, label)]).T
            for label in ("RelaySGD chain", "RelaySGD tree")
        )
        sentence = "RelaySGD's steps grow linearly in n on the chain (log-log slope)"
        slope = np.polyfit(chain[0], np.log(chain[1]), 1)[0]
        yield between(sentence, slope, 0.8, 1.1)
        sentence = "and logarithmically on the tree (R^2 of steps against log n)"
        yield at_least(sentence, np.corrcoef(tree)[0, 1] ** 2, 0.97)


def _of(rows: list[Row], label: str) -> list[Row]:
    """Returns the rows in which a method reached the target."""
    own = [row for row in rows if f"{row['algorithm']} {row['topology']}" == label]
    return [row for row in own if row["steps"] is not None]


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Steps against n, one panel for each heterogeneity."""
    fig, panels = plots.row(len(config.zetas), 5, 4.4)
    for ax, zeta2 in zip(panels, config.zetas, strict=True):
        for color, label in zip(plots.COLORS, published("fig2"), strict=False):
            own = [row for row in _of(rows, label) if row["zeta2"] == zeta2]
            n = [row["n"] for row in own]
            ax.plot(n, [row["steps"] for row in own], "o-", color=color, label=label)
            ax.plot(n, [row["paper_steps"] for row in own], "x", color="black", ms=5, mew=1)
        ax.set(title=f"heterogeneity {zeta2:g}", xscale="log", yscale="log", xlabel="clients n")
        ax.set_xticks(config.ns, map(str, config.ns))
    panels[0].set_ylabel("steps to 1e-6 (x: paper)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    context.save(fig, "fig2")
