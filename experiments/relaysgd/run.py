"""RelaySGD against gossip and all-reduce on heterogeneous data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.model_selection import train_test_split

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.relaysgd.config import Heterogeneity
from experiments.relaysgd.figures import heterogeneity_figure

VALIDATION_FRACTION = 0.2


def run(config: Heterogeneity, context: Context) -> list[Row]:
    """Trains every method for every alpha, all seeds and learning rates in one program."""
    train, validation, test = _split(config.dataset)
    topology = jc.topology.chain(config.n)
    mixers = {
        "all-reduce": jc.all_reduce(),
        "D-PSGD": jc.gossip(topology),
        "RelaySGD": jc.relay_sum(topology),
    }
    model = jc.models.MLP(num_classes=int(train.y.max()) + 1, hidden=(config.hidden,))
    judges = {
        "validation": jc.metrics.accuracy(model.apply, validation.x, validation.y),
        "test": jc.metrics.accuracy(model.apply, test.x, test.y),
    }

    def evaluate(state: jc.State) -> dict[str, Any]:
        named = {f"{k}_{m}": v for k, judge in judges.items() for m, v in judge(state).items()}
        return named | {"consensus_distance": jc.metrics.consensus_distance(state)}

    rows: list[Row] = []
    curves: dict[tuple[float, str], dict[str, np.ndarray]] = {}
    counts: dict[float, np.ndarray] = {}
    for alpha in config.alphas:
        parts = [
            jc.data.dirichlet(train.y, config.n, alpha, seed=seed)
            for seed in range(config.seed, config.seed + config.num_seeds)
        ]
        counts[alpha] = np.stack([np.bincount(train.y[p], minlength=10) for p in parts[0]])
        for name, mixer in mixers.items():
            fitted = _fit(config, context, model, mixer, train, parts, evaluate, name, alpha)
            rows.append(_row(config, fitted, mixer, name, alpha))
            curves[alpha, name] = _best_curves(config, fitted.evaluations)
            if fitted.stopped == "interrupted":
                context.interrupted = True
                return rows
    context.save(heterogeneity_figure(config, topology, curves, counts), "accuracy")
    return rows


def claims(config: Heterogeneity, rows: list[Row]) -> list[Claim]:
    """What the paper says of heterogeneous data, at the smallest alpha of this run."""
    alpha = min(config.alphas)
    worst = {row["algorithm"]: row["worst_accuracy"] for row in rows if row["alpha"] == alpha}
    relay, gossip, exact = worst["RelaySGD"], worst["D-PSGD"], worst["all-reduce"]
    where = f"worst client, alpha {alpha:g}"
    return [
        Claim(f"RelaySGD's clients all learn the task ({where})", ">= 0.95", relay, relay >= 0.95),
        Claim(
            f"RelaySGD is ahead of D-PSGD on the same chain ({where})",
            ">= 0.10",
            relay - gossip,
            relay - gossip >= 0.10,
        ),
        Claim(
            f"RelaySGD is close to all-reduce ({where})",
            "within 0.03",
            exact - relay,
            exact - relay <= 0.03,
        ),
    ]


def _split(dataset: str) -> tuple[jc.data.Dataset, jc.data.Dataset, jc.data.Dataset]:
    known = jc.data.load(dataset, "train")
    fit, held = train_test_split(
        np.arange(len(known.y)), test_size=VALIDATION_FRACTION, random_state=0, stratify=known.y
    )
    train, validation = (jc.data.Dataset(known.x[i], known.y[i]) for i in (fit, held))
    return train, validation, jc.data.load(dataset, "test")


def _fit(
    config: Heterogeneity,
    context: Context,
    model: Any,
    mixer: jc.Mixer,
    train: jc.data.Dataset,
    parts: list[Any],
    evaluate: Any,
    name: str,
    alpha: float,
) -> Any:
    """Runs every (learning rate, seed) as one replica of a single vectorised program."""
    loss = jc.objectives.classification(model.apply)

    def build(rate: Any) -> jc.Algorithm:
        sgd = optax.inject_hyperparams(optax.sgd)(rate, momentum=config.momentum)
        return jc.decentralized(loss, sgd, mixer)

    def start(rate: Any, seed: Any) -> jc.State:
        params = model.init(jax.random.key(seed), train.x[:1])
        return build(rate).init(jax.random.key(seed), jc.replicate(params, config.n))

    seeds = config.seed + np.arange(config.num_seeds)
    rates = np.repeat(np.array(config.learning_rates, np.float32), len(seeds))
    seeds = np.tile(seeds, len(config.learning_rates))
    each = [jc.data.client_data(train, part) for part in parts]
    data = jc.data.ClientData(
        each[0].examples,
        jnp.stack([d.indices for d in each] * len(config.learning_rates)),
        jnp.stack([d.mask for d in each] * len(config.learning_rates)),
    )
    return jc.fit(
        build(0.0),  # the rate of each replica lies in the state of its optimiser
        jax.vmap(start)(rates, seeds),
        data,
        jax.vmap(jax.random.key)(seeds),
        num_rounds=config.rounds,
        sample=jc.data.minibatches(config.batch_size),
        evaluate=evaluate,
        log=context.log(algorithm=name, alpha=alpha, learning_rate=rates, seed=seeds),
        description=f"{name}, alpha {alpha:g}",
        progress=context.progress,
        on_divergence="continue",
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
    )


def _best(config: Heterogeneity, evaluations: dict[str, np.ndarray]) -> int:
    """Position of the learning rate whose worst client does best on validation data."""
    last = evaluations["validation_worst_accuracy"][-1]
    return int(np.nan_to_num(last.reshape(-1, config.num_seeds)).mean(1).argmax())


def _best_curves(
    config: Heterogeneity, evaluations: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    first = _best(config, evaluations) * config.num_seeds
    chosen = slice(first, first + config.num_seeds)
    return {k: v if k == "round" else v[:, chosen] for k, v in evaluations.items()}


def _row(config: Heterogeneity, fitted: Any, mixer: jc.Mixer, name: str, alpha: float) -> Row:
    last = {k: v[-1] for k, v in _best_curves(config, fitted.evaluations).items()}
    one = jax.tree.map(lambda leaf: leaf[0], fitted.state.clients.params)
    return {
        "algorithm": name,
        "alpha": alpha,
        "learning_rate": config.learning_rates[_best(config, fitted.evaluations)],
        "mean_accuracy": last["test_mean_accuracy"].mean(),
        "worst_accuracy": last["test_worst_accuracy"].mean(),
        "worst_std": last["test_worst_accuracy"].std(),
        "averaged_accuracy": last["test_averaged_model_accuracy"].mean(),
        "consensus_distance": last["consensus_distance"].mean(),
        "kB_sent": jc.metrics.bytes_sent(mixer, one).mean() / 1000,
    }
