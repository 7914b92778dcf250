"""Ratings of films and lectures: what is known of a user stays with the user.

Belongs to no paper.

    python -m experiments federated movielens

100,000 ratings of films by 671 users: without and with private user factors, and all in one place.
Cost: 6 minutes on 1 core, movielens.csv.gz in --data DIR.
Expected: private factors are as accurate as a factorization of all ratings in one place.

    python -m experiments federated insteval

71,000 ratings of lecturers by 2,642 students, in the same way.
Cost: 6 minutes on 1 core, insteval.csv.gz in --data DIR.
Expected: the same.
"""

import pathlib
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_most, below, groups
from experiments.fields import Count, Positive, Settings
from jcollab import plots

COMMON, PRIVATE, CENTRAL = "items only", "private factors", "central"
# file, and its columns of users, items and ratings
TABLES = {
    "movielens": ("movielens.csv.gz", "userId", "movieId", "rating"),
    "insteval": ("insteval.csv.gz", "s", "d", "y"),
}


class Config(Settings):
    """Ratings, factors and rounds."""

    dataset: Literal["movielens", "insteval", "toy"] = "movielens"
    data: str = ""  # folder with the file
    ratings: Count = 20  # least number of a user
    factors: Count = 8  # d
    # on squares of factors and biases, for each rating; chosen by validation
    penalties: tuple[Positive, ...] = (0.1, 0.2, 0.4)
    num_sampled: Count = 100  # m users a round
    rounds: Count = 600  # T
    rate: Positive = 0.02  # of Adam, at the server and in one place
    evaluations: Count = 12
    seed: int = 0


PRESETS = {"movielens": Config(), "insteval": Config(dataset="insteval", ratings=10)}
SMOKE = {
    name: {
        "dataset": "toy",
        "ratings": 4,
        "num_sampled": 4,
        "rounds": 20,
        "evaluations": 2,
        "penalties": (0.1, 0.2),
    }
    for name in PRESETS
}


class Items(NamedTuple):
    """What all users share: the mean rating, and bias and factors of each item."""

    mean: jax.Array
    bias: jax.Array
    factors: jax.Array


class User(NamedTuple):
    """What stays with a user."""

    bias: jax.Array
    factors: jax.Array


def predict(items: Items, user: User, x: jax.Array) -> jax.Array:
    """Computes ``mu + a_u + b_i + p_u . q_i`` of the items i ``[b]``, as ``[b, 1]``."""
    rating = items.mean + user.bias + items.bias[x] + items.factors[x] @ user.factors
    return rating[:, None]


def best_user(items: Items, own: Any, penalty: float) -> User:
    """Computes the bias and the factors that fit a user's ratings best, a ridge regression."""
    present = own["mask"].astype(own["y"].dtype)
    inputs = jnp.concatenate([jnp.ones_like(own["y"])[:, None], items.factors[own["x"]]], 1)
    target = own["y"] - items.mean - items.bias[own["x"]]
    moments = (inputs * present[:, None]).T @ inputs
    ridge = penalty * present.sum() * jnp.eye(len(moments))
    fit = jnp.linalg.solve(moments + ridge, (inputs * present[:, None]).T @ target)
    return User(fit[0], fit[1:])


def objective(items: Items, user: User, own: Any, penalty: float) -> jax.Array:
    """Computes the mean over a user's ratings of squared errors and of squares of the factors."""
    error = predict(items, user, own["x"])[:, 0] - own["y"]
    shared = items.bias[own["x"]] ** 2 + (items.factors[own["x"]] ** 2).sum(1)
    squares = error**2 + penalty * (shared + user.bias**2 + (user.factors**2).sum())
    return jnp.sum(squares * own["mask"]) / own["mask"].sum()


def run(config: Config, context: Context) -> Rows:
    """Trains items with sampled users, with and without private parts, and in one place."""
    train, validation, test, num_items = ratings(config)
    examples, mask = jc.data.client_arrays(_as_lists(train))
    own = {"x": examples.x, "y": examples.y, "mask": mask}
    key, n = jax.random.key(config.seed), len(train.names)
    start = Items(
        jnp.float32(train.examples.y.mean()),
        jnp.zeros(num_items),
        0.1 * jax.random.normal(key, (num_items, config.factors)),
    )
    nobody = User(jnp.zeros(()), jnp.zeros(config.factors))
    measure = evaluation(validation, test)
    every = max(1, config.rounds // config.evaluations)
    options = {"num_rounds": config.rounds, "eval_every": every}

    def fit(method: str, penalty: float) -> Any:
        own_options = {**options, "tags": {"method": method, "penalty": penalty}}
        own_options["description"] = f"{method}, penalty {penalty:g}"
        if method == CENTRAL:
            return central(config, context, own, start, penalty, measure, own_options)

        def loss(items: Items, user: User, batch: Any, key: jax.Array) -> Any:
            if method == PRIVATE:
                user = jax.lax.stop_gradient(best_user(items, batch, penalty))
            return objective(items, user, batch, penalty), user, {}

        algorithm = jc.federated(
            jc.stateful(loss), optax.sgd(1.0), server_optimizer=optax.adam(config.rate),
            num_clients=n, num_sampled=min(n, config.num_sampled), model_state="keep",
            weights=train.size,
        )  # fmt: skip
        state, batches = algorithm.init(start, nobody), jc.data.full_batch(own)
        return context.fit(algorithm, state, batches, key, evaluate=measure, **own_options)

    for method in (COMMON, PRIVATE, CENTRAL):
        results = {p: fit(method, p) for p in context.cases(config.penalties)}
        if context.stop.is_set():
            return
        best = min(results, key=lambda p: results[p].evaluations["validation_error"][-1])
        yield from rows(context, method, best, results[best])


def evaluation(validation: Any, test: Any) -> Any:
    """Builds the evaluation of a run, by user."""
    options: dict[str, Any] = {"measure": _squared, "name": "error", "edges": None}
    model, options = jc.stateful(predict), options | {"higher_is_better": False}
    known, unknown = (jc.metrics.by_client(model, d, **options) for d in (validation, test))

    def evaluate(state: jc.State) -> Any:
        return unknown(state) | {"validation_error": known(state)["weighted_error"]}

    return evaluate


def central(
    config: Config, context: Context, own: Any, start: Items, penalty: float, by_user: Any,
    options: Any,
) -> Any:  # fmt: skip
    """Factorizes all ratings in one place."""
    n, total = len(own["y"]), own["mask"].sum()

    def loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
        items, users = params
        each = jax.vmap(objective, (None, 0, 0, None))(items, users, batch, penalty)
        return jnp.sum(each * batch["mask"].sum(1)) / total

    users = User(jnp.zeros(n), 0.1 * jax.random.normal(jax.random.key(1), (n, config.factors)))
    algorithm = jc.centralized(loss, optax.adam(config.rate))
    batches = jc.data.full_batch(jax.tree.map(lambda leaf: leaf[None], own))
    state = algorithm.init(jc.replicate((start, users), 1))

    def measure(state: jc.State) -> Any:
        items, users = jc.params_of(state)
        clients = jc.core.Clients((), jax.tree.map(lambda leaf: leaf[0], users), (), ())
        personal = jax.tree.map(lambda leaf: jnp.repeat(leaf, n, 0), items)
        return by_user(jc.State(clients._replace(params=personal), (), state.step))

    key = jax.random.key(config.seed)
    return context.fit(algorithm, state, batches, key, evaluate=measure, **options)


def rows(context: Context, method: str, penalty: float, result: Any) -> Rows:
    """Yields one row for each evaluation, and keeps the users' last errors."""
    history = result.evaluations
    context.kept[method] = np.sqrt(history["client_error"][-1])
    for i, done in enumerate(history["round"].tolist()):
        yield {
            "method": method,
            "penalty": penalty,
            "round": done,
            "rmse": np.sqrt(history["weighted_error"][i]),
            "mean_over_users": np.sqrt(history["client_error"][i]).mean(),
            "highest_decile": np.sqrt(history["error_deciles"][i][9]),
        }


def _squared(predictions: jax.Array, y: jax.Array) -> jax.Array:
    return (predictions[:, 0] - y) ** 2


def ratings(config: Config) -> tuple[Any, Any, Any, int]:
    """Returns ratings for training, validation and tests, and the number of items."""
    if config.dataset == "toy":
        frame, user, item, rating = _toy(), "user", "item", "rating"
    else:
        file, user, item, rating = TABLES[config.dataset]
        path = pathlib.Path(config.data, file)
        if not config.data or not path.exists():
            raise ValueError(f"data must be a folder with {file} (--data DIR), got {config.data!r}")
        frame = pd.read_csv(path)
    codes, items = pd.factorize(frame[item])
    data = jc.data.by_column(frame.astype({rating: float}), user, codes, rating)
    options: dict[str, Any] = {"at_least": config.ratings, "seed": config.seed}
    return *jc.data.split(data, validation=0.1, test=0.2, **options), len(items)


def _as_lists(data: jc.data.ClientRanges) -> jc.data.ClientData:
    parts = [np.arange(a, a + m) for a, m in zip(data.start, data.size, strict=True)]
    return jc.data.by_client(data.examples, parts, names=list(data.names))


def _toy(users: int = 12, items: int = 9) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(users * items)[: users * items * 2 // 3], items)
    rating = 3 + rng.normal(size=users)[user] * rng.normal(size=items)[item]
    return pd.DataFrame({"user": user, "item": item, "rating": rating})


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Shows the last evaluation of each method."""
    return [own[-1] for own in groups(rows, "method").values()]


def claims(config: Config, rows: list[Row]) -> Claims:
    """Private parts help, and cost nothing against ratings in one place."""
    last = {row["method"]: row for row in shown(config, rows)}
    if PRIVATE in last:
        gain = last[PRIVATE]["rmse"] - last[COMMON]["rmse"]
        yield below("private factors against items only (difference of RMSE)", gain, 0)
    if CENTRAL in last:
        gap = last[PRIVATE]["rmse"] - last[CENTRAL]["rmse"]
        yield at_most("private factors against all ratings in one place (difference)", gap, 0.01)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Errors by round, and by user."""
    fig, ax = plots.subplots(figsize=(5.6, 3.6))
    for i, ((method,), own) in enumerate(groups(rows, "method").items()):
        x, y = ([row[name] for row in own] for name in ("round", "rmse"))
        ax.plot(x, y, color=plots.COLORS[i], label=method)
    ax.set(xlabel="communication rounds", ylabel="root mean squared error")
    ax.legend()
    context.save(fig, f"{config.dataset}_rounds")
    if context.kept:
        fig = plots.by_client(context.kept, name="RMSE", higher_is_better=False)
        context.save(fig, f"{config.dataset}_users")
