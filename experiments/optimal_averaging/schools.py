"""Pupils of many schools: how much should a school take of the others?

Optimal model averaging, arXiv 2110.12946, the case of many clients, on data with natural clients.

    python -m experiments optimal_averaging schools

Mathematics in 160 schools: held-out error of few pupils' means, plug-in rules and BLUP.
Cost: 1 minute on 2 cores, --data DIR with mathachieve.csv.gz.
Expected: shared weights and BLUP agree and never lose; the common mean wins with 2 pupils only.

    python -m experiments optimal_averaging chem97

The same for chemistry in 2,248 schools of 2 to 188 pupils.
Cost: 1 minute on 2 cores, --data DIR with chem97.csv.gz.
Expected: shared weights have at least .93 of the gain of BLUP; adjusted, all beat learning alone.
"""

import warnings
from typing import Literal, NamedTuple

import numpy as np

from experiments.contract import Claims, Context, Row, Rows, above, at_least, below, columns
from experiments.fields import Count, Plural, Settings, Share
from experiments.optimal_averaging import _natural as natural
from jcollab import plots

# columns of each table: the school, the score, and a covariate that is known of every pupil
TABLES = {
    "mathachieve": ("School", "MathAch", "SES"),
    "chem97": ("school", "score", "gcsescore"),
}
BLUP = "BLUP"
# the clipped ratio and the shared bias are close to the positive parts
DRAWN = ("common", "naive, each", "positive part, each", "pre-test, each")
DRAWN = (*DRAWN, "positive part, shared", "James-Stein", BLUP)
METHODS = ("alone", "common", *natural.PLUG_IN, BLUP)


class Config(Settings):
    """Schools, and how many of their pupils are known."""

    data: str = ""  # folder with the table
    table: Literal["mathachieve", "chem97", "synthetic"] = "mathachieve"
    # pupils of each school that are known, at most half of them; predictions are for the others
    pupils: tuple[Count, ...] = (2, 5, 10, 30)
    # whether scores are adjusted by a common slope of the covariate
    adjusted: tuple[bool, ...] = (False, True)
    repetitions: Count = 20  # random choices of the known pupils
    resamples: Plural = 2000  # of the bootstrap over schools
    confidence: Share = 0.95  # of its intervals
    seed: int = 0


PRESETS = {
    "schools": Config(),
    "chem97": Config(table="chem97", pupils=(2, 5, 30), repetitions=5),
}
SMALL = {"table": "synthetic", "pupils": (3,), "repetitions": 2, "resamples": 10}
SMOKE = dict.fromkeys(PRESETS, SMALL)
X64 = True


class Pupils(NamedTuple):
    """Pupils of all schools, sorted by school."""

    school: np.ndarray  # int ``[N]``
    score: np.ndarray
    covariate: np.ndarray


class Split(NamedTuple):
    """Known and held-out pupils."""

    known: Pupils
    held_out: Pupils


def pupils(config: Config) -> Pupils:
    """Reads all pupils of schools with two or more; or draws some."""
    if config.table == "synthetic":
        rng = np.random.default_rng(config.seed)
        school = np.repeat(np.arange(12), rng.integers(4, 30, 12))
        covariate = rng.normal(size=len(school))
        effects = rng.normal(size=12)[school]
        return Pupils(school, effects + covariate + rng.normal(size=len(school)), covariate)
    names = list(TABLES[config.table])
    table = natural.read(config.data, f"{config.table}.csv.gz")[names].dropna()
    table = table[table.groupby(names[0])[names[0]].transform("size") > 1]
    _, school = np.unique(table[names[0]], return_inverse=True)
    order = np.argsort(school, kind="stable")
    score, covariate = (table[name].to_numpy(float)[order] for name in names[1:])
    return Pupils(school[order], score, covariate)


def split(every: Pupils, most: int, rng: np.random.Generator) -> Split:
    """Chooses at most ``most`` pupils of each school, and at most half of them."""
    sizes = np.bincount(every.school)
    order = np.lexsort((rng.random(len(every.school)), every.school))
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    known = place < np.minimum(most, sizes // 2)[every.school]
    parts = [Pupils(*(values[order[mask]] for values in every)) for mask in (known, ~known)]
    return Split(*parts)


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each number of known pupils, adjustment and method."""
    every = pupils(config)
    for most, adjusted in context.cases(config.pupils, config.adjusted, description="schools"):
        rng = np.random.default_rng(config.seed)
        outcomes = [errors(split(every, most, rng), adjusted) for _ in range(config.repetitions)]
        mean = {name: np.mean([e[name] for e, _ in outcomes], 0) for name in METHODS}
        draws = rng.integers(len(mean["alone"]), size=(config.resamples, len(mean["alone"])))
        intervals = {
            other: {name: interval(mean[other] - mean[name], draws, config) for name in METHODS}
            for other in ("alone", "common", BLUP)
        }
        for name in METHODS:
            row: Row = {"pupils": most, "adjusted": adjusted, "method": name}
            row["error"] = mean[name].mean()
            weights = [weight[name] for _, weight in outcomes if name in weight]
            row["weight"] = np.mean(weights) if weights else None
            for other, own in intervals.items():
                gain, low, high = own[name]
                row |= {f"over_{other}": gain, f"over_{other}_low": low}
                row |= {f"over_{other}_high": high}
            yield row


def errors(parts: Split, adjusted: bool) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns each school's mean squared error on held-out pupils, and mean weights."""
    known, held_out = parts
    slope = within_slope(known) if adjusted else 0.0
    local, sizes = means(known.school, known.score - slope * known.covariate)
    residuals = known.score - slope * known.covariate - local[known.school]
    # the variance of a pupil, from all schools: few pupils of one school determine it badly
    variance = (residuals**2).sum() / (len(residuals) - len(local)) / sizes
    ruled = natural.estimates(local, variance, sizes)
    predicted = {
        name: estimate[held_out.school] + slope * held_out.covariate
        for name, (estimate, _) in ruled.items()
    }
    predicted[BLUP] = blup(known, held_out, adjusted)
    squares = {name: (value - held_out.score) ** 2 for name, value in predicted.items()}
    error = {name: means(held_out.school, square)[0] for name, square in squares.items()}
    return error, {name: weight.mean() for name, (_, weight) in ruled.items()}


def means(school: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and numbers of pupils of each school."""
    sizes = np.bincount(school)
    return np.bincount(school, values) / sizes, sizes


def within_slope(known: Pupils) -> float:
    """Returns the slope of the covariate within schools, by least squares."""
    score, covariate = (
        values - means(known.school, values)[0][known.school]
        for values in (known.score, known.covariate)
    )
    return float(score @ covariate / (covariate @ covariate))


def blup(known: Pupils, held_out: Pupils, adjusted: bool) -> np.ndarray:
    """Predicts held-out scores by the mixed model with random intercepts of schools."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    def design(part: Pupils) -> np.ndarray:
        constant = np.ones_like(part.covariate)
        return np.stack([constant, part.covariate][: 1 + adjusted], 1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a variance near 0 in small samples
        model = MixedLM(known.score, design(known), known.school).fit()
    effects = np.array([float(model.random_effects[i].iloc[0]) for i in np.unique(known.school)])
    return design(held_out) @ model.fe_params + effects[held_out.school]


def interval(gains: np.ndarray, draws: np.ndarray, config: Config) -> tuple[float, float, float]:
    """Returns the mean over schools with the ends of its bootstrap interval."""
    tail = 50 * (1 - config.confidence)
    low, high = np.percentile(gains[draws].mean(1), [tail, 100 - tail])
    return float(gains.mean()), float(low), float(high)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns errors, and gains over learning alone."""
    names = ("pupils", "adjusted", "method", "error", "weight", "over_alone", "over_alone_low")
    return [{name: row[name] for name in names} for row in rows]


def claims(config: Config, rows: list[Row]) -> Claims:
    """Sharing by an estimated weight beats both extremes, and is as good as the mixed model."""
    by = {(row["pupils"], row["adjusted"], row["method"]): row for row in rows}
    cases = list(dict.fromkeys((row["pupils"], row["adjusted"]) for row in rows))
    schools = f"lower end of {config.confidence:.0%} intervals over schools, least"

    def least(column: str, method: str) -> float:
        return min(by[*case, method][column] for case in cases)

    for method in ("positive part, shared", "shared bias", "James-Stein", BLUP):
        for other in ("alone", "common"):
            name = {"alone": "learning alone", "common": "the common mean"}[other]
            claim = f"{method} beats {name} for every number of pupils ({schools})"
            yield above(claim, least(f"over_{other}_low", method), 0)
    for method in natural.EACH:
        claim = f"{method}, beats learning alone for every number of pupils ({schools})"
        yield above(claim, least("over_alone_low", method), 0)
    few, many = min(config.pupils), max(config.pupils)
    for adjusted in config.adjusted:
        ending = ", adjusted" if adjusted else ""
        claim = f"the common mean beats learning alone with {few} pupils{ending}"
        yield above(claim, by[few, adjusted, "common"]["over_alone_low"], 0, note="lower end")
        claim = f"the common mean loses to learning alone with {many} pupils{ending}"
        yield below(claim, by[many, adjusted, "common"]["over_alone_high"], 0, note="upper end")
    for method in natural.SHARED:
        shares = [by[*c, method]["over_alone"] / by[*c, BLUP]["over_alone"] for c in cases]
        claim = f"{method}: share of the gain of BLUP over learning alone, least"
        yield at_least(claim, min(shares), 0.9)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws gains over learning alone against the number of known pupils, with intervals."""
    fig, panels = plots.row(len(config.adjusted), 5.6, 4.8, 2.6)
    for ax, adjusted in zip(panels, config.adjusted, strict=True):
        for i, (name, color) in enumerate(zip(DRAWN, plots.COLORS, strict=False)):
            own = [r for r in rows if (r["adjusted"], r["method"]) == (adjusted, name)]
            gain, low, high = columns(own, "over_alone over_alone_low over_alone_high")
            place = np.arange(len(own)) + 0.08 * (i - len(DRAWN) / 2)
            style = {"color": color, "capsize": 2, "ms": 5, "label": name}
            marker = "s" if name in natural.EACH else "o"
            ax.errorbar(place, gain, [gain - low, high - gain], fmt=marker, **style)
        ax.axhline(0, color="black", lw=1, ls=":")
        ax.set_yscale("symlog", linthresh=0.3)
        ax.set_xticks(range(len(config.pupils)), config.pupils)
        title = (
            f"adjusted by {TABLES.get(config.table, ('', '', 'x'))[2]}" if adjusted else "scores"
        )
        ax.set(title=title, xlabel="known pupils of a school, at most")
    panels[0].set_ylabel("squared error alone less that of the method")
    panels[-1].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    context.save(fig, config.table)
