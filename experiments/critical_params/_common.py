"""Second moments, tuned steps to a target, and measured and estimated knees."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.interpolate
import scipy.optimize

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, between, columns
from jcollab import plots
from jcollab.theory import noise_scale, second_moments

GROWTH = 1.06  # ratio of successive test points of a run; steps between them are interpolated
MOST_SHIFTS = 4  # at most so many windows of learning rates
KINDS = ("batch", "delay")
POINTS, PROBES = 10, 16  # along a run; random directions for tr(H Sigma) at each of them
# columns of estimates of the critical parameter
ESTIMATES = {
    "estimated": "estimated critical parameter",
    "curvature": "curvature-weighted estimate",
}
# exact slowdown against tau / (1 + M), from T2: for M = 99 up to 2, for M = 9 beyond
RATIOS = np.log([0.01, 0.03, 0.1, 0.3, 1, 2, 3, 10, 20])
SLOWDOWNS = np.log([1.00996, 1.02958, 1.09587, 1.27127, 1.81338, 2.51427, 3.2446, 7.70344, 13.7054])
CURVE = scipy.interpolate.PchipInterpolator(RATIOS, SLOWDOWNS)


def within_errors(claim: str, row: Row) -> Claim:
    """Claims that a measurement is within three standard errors of the exact value."""
    errors = (row["measured"] - row["exact"]) / row["standard_error"]
    return Claim(claim, "within 3 s.e.", f"{errors:+.1f}", abs(errors) <= 3)


def delayed_sgd(
    loss: Any, rate: Any, delay: int = 0, num_rounds: int | None = None
) -> jc.Algorithm:
    """Builds SGD on one model with a delay: ``delay + 1`` equal clients take turns."""
    if not delay:
        return jc.centralized(loss, optax.sgd(rate))
    turns = jc.theory.arrivals.round_robin(num_rounds or delay + 1, delay + 1)
    return jc.algorithms.asynchronous(loss, optax.sgd(rate), turns)


def monte_carlo(
    config: Any, d: int, rate: float, times: Any, b: int = 1, delay: int = 0, sparse: bool = False
) -> list[Row]:
    """Computes ``E|x|^2`` exactly and by SGD, from ``|x|^2 = 1``; sparse features are one-hot."""
    problem = (
        jc.data.synthetic.one_hot_regression(d)
        if sparse
        else jc.data.synthetic.gaussian_regression(np.ones(d))
    )
    algorithm = delayed_sgd(jc.data.synthetic.regression_loss, rate, delay, int(times[-1]))
    algorithm = jc.with_metrics(algorithm, lambda state: {"x2": jnp.sum(state.shared.params**2)})
    batches = jc.data.from_function(jc.data.synthetic.regression_samples(b), problem)

    def squares(key: jax.Array) -> jax.Array:
        state = algorithm.init(jnp.ones((delay + 1, d)) / np.sqrt(d))
        _, log = jc.run(algorithm, state, batches, key, num_rounds=times[-1])
        return log["x2"][np.array(times) - 1]

    keys = jax.random.split(jax.random.key(config.seed), config.runs)
    values = np.asarray(jax.jit(jc.layout.per_replica(squares))(keys), float)
    options = {"noise_ratio": d - 1 if sparse else d + 1, "batch_size": b, "delay": delay}
    exact = second_moments.delayed_moments(rate / d if sparse else rate, times[-1], **options)
    errors = values.std(0) / np.sqrt(len(values))
    return [
        {"time": t, "exact": exact[t], "measured": mean, "standard_error": error}
        for t, mean, error in zip(times, values.mean(0), errors, strict=True)
    ]


class Problem(NamedTuple):
    """An optimization problem with a start and a target."""

    name: str  # for rows and figures
    loss: Any  # loss(model, batch, key)
    examples: jc.data.Dataset
    start: Any  # a model
    lowest: float  # f*, or 0
    target: float  # of f - f*
    max_steps: int  # runs end after so many steps
    width: int = 7  # learning rates that are tried at a time, in steps of sqrt(2)
    evaluated: Any = slice(None)  # examples for measuring the loss during runs


class Tuned(NamedTuple):
    """The result of tuning."""

    steps: float  # until the mean over seeds reaches the target
    learning_rate: float  # the fastest
    params: Any  # models at the target, leaves [S, ...]


def logistic(
    name: str, examples: Any, outputs: int, l2: float, share: float, max_steps: int
) -> Problem:
    """Builds logistic regression from zeros; the target is a share of the first suboptimality."""

    def loss(params: Any, batch: Any, key: Any) -> Any:
        scores = batch.x @ params
        if outputs == 1:
            fits = optax.sigmoid_binary_cross_entropy(scores[..., 0], batch.y)
        else:
            fits = optax.softmax_cross_entropy_with_integer_labels(scores, batch.y)
        return fits.mean() + 0.5 * l2 * jnp.sum(params**2)

    start = jnp.zeros((examples.x.shape[1], outputs))
    with jax.enable_x64(True):
        exact = jc.data.Dataset(jnp.asarray(examples.x, float), jnp.asarray(examples.y))
        slope = jax.jit(jax.value_and_grad(lambda p: loss(p.reshape(start.shape), exact, None)))
        options = {"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-8}
        zero = np.zeros(start.size)
        optimum = scipy.optimize.minimize(slope, zero, jac=True, method="L-BFGS-B", options=options)
    target = share * (float(loss(start, examples, None)) - optimum.fun)
    return Problem(name, loss, examples, start, optimum.fun, target, max_steps)


def tune(
    problem: Problem, build: Any, guess: float, seeds: Any, context: Any, n: int = 1, b: int = 1
) -> Tuned | None:
    """Finds the learning rate with the fewest steps, in windows that move until it is inside.

    All rates use the same samples. ``build(learning_rate)`` returns an algorithm with one model.
    """
    data = jc.data.by_client(problem.examples, [np.arange(len(problem.examples.y))])
    evaluated = jax.tree.map(lambda leaf: leaf[problem.evaluated], problem.examples)
    batches, params = jc.data.minibatches(data, b), jc.replicate(problem.start, n)

    def advance(rate: Any, key: jax.Array, state: jc.State, count: jax.Array) -> tuple:
        algorithm = build(rate)

        def step(_: Any, state: jc.State) -> jc.State:
            _, update_key = jc.core.round_keys(key, state.step)
            return algorithm.update(state, batches.draw(key, state.step), update_key)[0]

        state = jax.lax.fori_loop(0, count, step, state)
        model = jax.tree.map(lambda leaf: leaf[0], jc.params_of(state))
        value = _value(problem.loss(model, evaluated, jax.random.key(0)))
        return state, value - problem.lowest

    step_all = jax.jit(jc.layout.per_replica(advance, in_axes=(0, 0, 0, None)), donate_argnums=2)
    spread = 2.0 ** ((np.arange(problem.width) - problem.width // 2) / 2)
    best, center, tried = None, 0, set()
    while len(tried) < MOST_SHIFTS and center not in tried:
        tried.add(center)
        rates = guess * spread * 2.0**center
        each = jnp.repeat(jnp.asarray(rates, jnp.float32), len(seeds))
        keys = jnp.tile(seeds, len(rates))
        states = jax.vmap(lambda rate, key: build(rate).init(params))(each, keys)
        limit = 2 * best.steps if best else np.inf
        tuned = _run_until_best(
            problem, functools.partial(step_all, each, keys), states, rates, limit, context
        )
        if tuned is None:
            break
        best = min(best or tuned, tuned, key=lambda one: one.steps)
        center += {rates[0]: -1, rates[-1]: 1}.get(tuned.learning_rate, 0)
    return best


def _run_until_best(
    problem: Problem, advance: Any, states: Any, rates: np.ndarray, limit: float, context: Context
) -> Tuned | None:
    """Runs all rates side by side until the first one reaches the target."""
    step, before, target = 0, np.full(len(rates), np.nan), problem.target
    while step < min(problem.max_steps, limit) and not context.stop.is_set():
        count = min(max(1, round(step * (GROWTH - 1))), problem.max_steps - step)
        states, gaps = advance(states, jnp.int32(count))
        gaps = np.asarray(gaps, float).reshape(len(rates), -1).mean(1)
        step += count
        if (gaps <= target).any():
            # log-linear interpolation of the step in the last piece that reached the target
            with np.errstate(all="ignore"):
                part = np.log(before / target) / np.log(before / np.maximum(gaps, 1e-30))
            part = np.where(np.isfinite(part) & (before > gaps), part, 1.0)
            place = int(np.argmin(np.where(gaps <= target, part, np.inf)))
            size = len(states.step) // len(rates)
            own = slice(place * size, (place + 1) * size)
            trained = jax.device_get(states.shared.params)  # devices of the next run may differ
            models = jax.tree.map(lambda leaf, own=own: leaf[own], trained)
            return Tuned(step - count * (1 - part[place]), rates[place], models)
        if step > 30 and not np.isfinite(gaps).any():
            break
        before = gaps
    return None


def measure(
    problem: Problem, config: Any, guess: float, seeds: jax.Array, context: Context
) -> Rows:
    """Measures tuned steps for every batch and delay, and the estimate at the target."""
    every, rate = [], guess
    cases = [("batch", b) for b in sorted({1, *config.batches})]
    cases += [("delay", tau) for tau in sorted({0, *config.delays})]
    for kind, size in context.cases(cases, description=problem.name):
        if size == 0:  # no delay is the same case as a batch of 1
            tuned, rate = every[0], guess
        else:
            batch, delay = (size, 0) if kind == "batch" else (1, size)
            build = functools.partial(delayed_sgd, problem.loss, delay=delay)
            tuned = tune(problem, build, rate, seeds, context, delay + 1, batch)
        every.append(tuned)
        row = {"problem": problem.name, "kind": kind, "size": size, "steps": tuned and tuned.steps}
        yield row | {"learning_rate": tuned and tuned.learning_rate}
        rate = tuned.learning_rate if tuned else rate
    if not context.stop.is_set() and every[0]:
        yield estimate(problem, every[0], seeds)


def estimate(problem: Problem, tuned: Tuned, seeds: jax.Array) -> Row:
    """Estimates the critical parameter from tuned runs with batches of 1.

    ``estimated`` is ``E|xi|^2 / (2 L (f - f*))`` at the target, where the denominator bounds the
    squared gradient from above, and ``pointwise`` is ``E|xi|^2 / |grad f|^2``. ``curvature`` is the
    ratio of the means along the runs of ``tr(H Sigma) / |g|^2`` and ``g' H g / |g|^2``.
    """
    loss, examples = problem.loss, jax.tree.map(jnp.asarray, problem.examples)

    def at(model: Any) -> jax.Array:
        squares, key = noise_scale.per_sample(loss, model, examples), jax.random.key(0)
        largest = noise_scale.smoothness(loss, model, examples, key, iterations=20)
        return jnp.stack([squares.noise, squares.signal, largest])

    ends = jax.tree.map(jnp.asarray, tuned.params)
    noise, signal, largest = np.asarray(jax.lax.map(at, ends), float).mean(0)
    row = {"problem": problem.name, "kind": "estimate", "noise": noise, "signal": signal}
    row |= {"smoothness": largest, "pointwise": noise / signal}
    row |= {"estimated": noise_scale.critical(0.0, noise, 2 * largest * problem.target)}
    size, steep, noisy = along(problem, tuned, seeds).T
    return row | {"curvature": (noisy / size).mean() / (steep / size).mean()}


def along(problem: Problem, tuned: Tuned, seeds: jax.Array) -> np.ndarray:
    """Returns ``|g|^2``, ``g' H g`` and ``tr(H Sigma)`` along runs, means over seeds ``[P, 3]``."""
    algorithm = delayed_sgd(problem.loss, tuned.learning_rate)
    data = jc.data.by_client(problem.examples, [np.arange(len(problem.examples.y))])
    batches, examples = jc.data.minibatches(data, 1), jax.tree.map(jnp.asarray, problem.examples)
    rounds = max(1, round(tuned.steps / POINTS))

    def run(key: jax.Array) -> jax.Array:
        def piece(state: jc.State, _: None) -> tuple[jc.State, jax.Array]:
            state, _ = jc.run(algorithm, state, batches, key, num_rounds=rounds)
            model, own = state.shared.params, jax.random.fold_in(key, state.step)
            slope = jax.grad(lambda p: _value(problem.loss(p, examples, own)))(model)
            options = {"key": own, "probes": PROBES}
            curved = noise_scale.curvature_weighted(problem.loss, model, examples, **options)
            return state, jnp.stack([optax.tree.norm(slope, squared=True), *curved])

        start = algorithm.init(jc.replicate(problem.start, 1))
        return jax.lax.scan(piece, start, length=POINTS)[1]

    return np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(seeds), float).mean(0)


def _value(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def slowdown(ratio: Any) -> np.ndarray:
    """Computes the exact slowdown at any ``tau / (1 + M)``."""
    log = np.log(np.maximum(ratio, 1e-9))
    low = 1 + np.exp(log - RATIOS[0]) * np.expm1(SLOWDOWNS[0])  # linear near 0
    high = SLOWDOWNS[-1] + np.maximum(log - RATIOS[-1], 0)  # linear far beyond the knee
    inside = np.where(log > RATIOS[-1], high, CURVE(np.clip(log, RATIOS[0], RATIOS[-1])))
    return np.where(log < RATIOS[0], low, np.exp(inside))


def cost(kind: str, size: Any, c: float) -> Any:
    """Computes steps relative to an infinite batch, or relative to no delay."""
    return 1 + c / size if kind == "batch" else slowdown(size / (1 + c))


def fit(kind: str, sizes: Any, steps: Any) -> float:
    """Fits C of :func:`cost` by least squares of logarithms."""
    grid = np.geomspace(0.05, 1e6, 2000 if kind == "batch" else 1000)
    costs = np.log([cost(kind, np.asarray(sizes, float), c) for c in grid])
    return float(grid[np.argmin((np.log(steps) - costs).var(1))])


def knees(rows: list[Row]) -> list[Row]:
    """Returns the measured knees and the estimates of every problem."""
    lines: dict[str, Row] = {r["problem"]: {"problem": r["problem"]} for r in rows}
    for name, line in lines.items():
        for kind in KINDS:
            sizes, steps = _reached(rows, name, kind)
            if len(sizes) >= 3:
                line[f"{kind}_knee"] = fit(kind, sizes, steps)
    for row in rows:
        lines[row["problem"]] |= {name: row[name] for name in ESTIMATES if name in row}
    return list(lines.values())


def _reached(rows: list[Row], problem: str, kind: str) -> np.ndarray:
    own = [r for r in rows if (r["problem"], r["kind"]) == (problem, kind) and r["steps"]]
    return columns(own, "size steps")


def claims(config: Any, rows: list[Row]) -> Claims:
    """Every estimate is within a factor of 2 of the measured knees."""
    for line in knees(rows):
        for name, kind in itertools.product(ESTIMATES, KINDS):
            knee = line.get(f"{kind}_knee")
            if knee and name in line:
                claim = f"{line['problem']}: {ESTIMATES[name]} over the measured {kind}"
                yield between(f"{claim} ({knee:.3g})", line[name] / knee, 0.5, 2)


def shown(config: Any, rows: list[Row]) -> Rows:
    """Returns tuned steps, and the learning rate that the estimate suggests."""
    estimates = {r["problem"]: r["estimated"] for r in rows if r["kind"] == "estimate"}
    for row in (r for r in rows if r.get("steps")):
        problem, kind, size = row["problem"], row["kind"], row["size"]
        base = next(r for r in rows if (r["problem"], r["kind"]) == (problem, kind))
        line = row | {"speed_up": base["steps"] / row["steps"] if base["steps"] else None}
        if problem in estimates:
            options = {"critical": estimates[problem], "base": base["learning_rate"]}
            sizes = (size, 0) if kind == "batch" else (1, size)
            line["suggested"] = noise_scale.suggest_learning_rate(*sizes, **options)
        yield line


def figures(name: str, config: Any, rows: list[Row], context: Context) -> None:
    """Draws speed-up against the batch and slowdown against the delay, with both knees."""
    lines = knees(rows)
    width = min(4.8 * len(lines), 15)
    fig, grid = plots.subplots(2, len(lines), squeeze=False, figsize=(width, 7))
    for panels, kind in zip(grid, KINDS, strict=True):
        for ax, line in zip(panels, lines, strict=True):
            gains(ax, kind, rows, line)
            ax.set_title(line["problem"].replace("_", " "))
    context.save(fig, name)


def gains(ax: Any, kind: str, rows: list[Row], line: Row, **style: Any) -> None:
    """Draws the measurements of a problem, their fit, and the prediction of the estimate."""
    sizes, steps = _reached(rows, line["problem"], kind)
    if not sizes.any():
        return
    sign = -1 if kind == "batch" else 1
    x, gain = sizes[sizes > 0], (steps / steps[0])[sizes > 0] ** sign
    style = {"label": "measured", "color": plots.COLORS[0]} | style
    ax.loglog(x, gain, "o", base=2, **style)
    dense = np.geomspace(max(x[0], 1), 1.3 * x[-1], 100)
    curves = {"fit": f"{kind}_knee", "by $2 L (f - f^*)$": "estimated", "by curvature": "curvature"}
    for (name, key), dash in zip(curves.items(), ("-", "--", ":"), strict=True):
        if key in line:
            curve = (cost(kind, dense, line[key]) / cost(kind, sizes[0], line[key])) ** sign
            label = f"{name}, C = {line[key]:.3g}"
            ax.plot(dense, curve, dash, color=style["color"], linewidth=1.6, label=label)
    ax.set(xlabel=kind, ylabel="speed-up in steps" if kind == "batch" else "slowdown")
    ax.legend(fontsize=8, loc="lower right" if kind == "batch" else "upper left")
