"""Classifiers trained with and without perturbed images, paired by seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.flow_perturbations import data, figures, methods
from experiments.flow_perturbations import flow as flow_of
from experiments.flow_perturbations.kinds import Comparison

LATENT = ("randomized", "adversarial")
CONFIDENCE = 0.95


def run(config: Comparison, context: Context) -> list[Row]:
    """Rows of kind ``flow`` (one) and ``classifier``, one for each method and seed."""
    return compare(config, context, train)


def compare(config: Comparison, context: Context, train: Callable) -> list[Row]:
    """Every method by ``train``, which returns models ``[S, ...]`` with their ``accuracy [S]``.

    A ``loss [S]`` goes into the rows as well; ``extra`` is what models carry along.
    """
    images = data.make(config)
    models = latent_models(config, images, context)
    if models is None:
        return []
    rows = [flow_of.measure(config, images, models["flow"][1])]
    classifier = methods.Classifier(config, images)
    for name in config.methods:
        trained = train(name, config, images, classifier, models, context)
        if trained is None:
            return rows
        for seed, accuracy in enumerate(trained["accuracy"]):
            row: Row = {"kind": "classifier", "method": name, "seed": config.seed + seed}
            row["accuracy"] = accuracy
            if "loss" in trained:
                row["loss"] = float(trained["loss"][seed])
            rows.append(row)
            context.log().write(rows[-1])
        if name == "plain":
            first = jax.tree.map(lambda leaf: leaf[0], (trained["params"], trained["extra"]))
    rows[0] |= figures.pictures(config, images, models["flow"], classifier, first, context)
    context.save(figures.accuracies(config, rows), "accuracy")
    return rows


def latent_models(
    config: Comparison, images: data.Images, context: Context
) -> dict[str, tuple[Any, Any]] | None:
    """The flow, and where it is compared with, the VAE; each with its parameters."""
    params = flow_of.trained(config, images, context)
    if params is None:
        return None
    models: dict[str, tuple[Any, Any]] = {"flow": (flow_of.make(config, images), params)}
    if "vae" in config.methods:
        model = jc.models.vae(images.train.x.shape[1:], latents=config.vae_latents)
        start = model.init(jax.random.key(config.seed), images.flow[:1])
        params = flow_of.minimised(
            model.loss, optax.adam(1e-3), start, images.flow, config.vae_rounds,
            config.flow_batch_size, config.seed, context, "VAE",
        )  # fmt: skip
        if params is None:
            return None
        models["vae"] = (model, params)
    return models


def train(
    name: str,
    config: Comparison,
    images: data.Images,
    classifier: methods.Classifier,
    models: dict[str, tuple[Any, Any]],
    context: Context,
) -> dict[str, Any] | None:
    """One classifier for each seed, all in one program; None after Ctrl-C.

    Seeds set initial values and batches, the same ones for every method.
    """
    used = {key: params for key, (_, params) in models.items()}

    def build(params: Any) -> jc.Algorithm:
        own = {key: (model, params[key]) for key, (model, _) in models.items()}
        hook = methods.augmentation(name, config, images, classifier, own)
        loss = methods.loss_of(config, hook, classifier)
        return jc.centralized(loss, methods.optimizer_of(config))

    keys = jnp.stack([jax.random.key(config.seed + i) for i in range(config.num_seeds)])
    starts = [classifier.init(key) for key in keys]
    params, extra = jax.tree.map(lambda *rows: jnp.stack(rows)[:, None], *starts)
    # parameters of the flow are arguments of the program, and no constants in it
    settings = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(keys), *leaf.shape)), used)
    examples = data.Dataset(*map(jnp.asarray, images.train))
    state = jax.vmap(build(used).init)(keys, params, extra)
    result = jc.fit(
        build,
        state,
        jc.data.client_data(examples, [np.arange(len(images.train.y))]),
        jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
        num_rounds=config.rounds,
        sample=jc.data.minibatches(config.batch_size),
        replicas=True,
        settings=settings,
        description=name,
        **context.fit_options(method=name),
    )
    if result.stopped != "finished":
        return None
    params = result.state.shared.params
    extra = jax.tree.map(lambda leaf: leaf[:, 0], result.state.clients.extra)
    tail = max(1, config.rounds // 20)
    return {
        "params": params,
        "extra": extra,
        "accuracy": methods.accuracies(classifier, params, extra, images.test),
        "loss": result.log["loss"][:, -tail:].mean(1),
    }


def interval(differences: Any) -> tuple[float, float, float]:
    """Mean of paired differences, and its 95 % interval by Student's t."""
    values = np.asarray(differences, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = float(error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return mean, mean - half, mean + half


def paired(rows: list[Row], method: str, other: str) -> tuple[float, float, float]:
    """Accuracy of a method over that of another one, seed by seed, in points."""
    by = {(r["method"], r["seed"]): r["accuracy"] for r in rows if r["kind"] == "classifier"}
    seeds = sorted(seed for name, seed in by if name == method)
    return interval([by[method, seed] - by[other, seed] for seed in seeds])


def shown(config: Comparison, rows: list[Row]) -> list[Row]:
    """Means over seeds, and the paired difference to plain training with its interval."""
    table = []
    for name in config.methods:
        own = [r["accuracy"] for r in rows if r.get("method") == name]
        if not own:
            continue
        mean, low, high = paired(rows, name, "plain")
        line: Row = {"method": name, "accuracy": f"{np.mean(own):.2f}"}
        line |= {"std": f"{np.std(own, ddof=1):.2f}" if len(own) > 1 else None}
        line |= {"over_plain": f"{mean:+.2f}", "interval": f"[{low:+.2f}, {high:+.2f}]"}
        table.append(line)
    return table


def claims(config: Comparison, rows: list[Row]) -> list[Claim]:
    """Latent perturbations help, adversarial ones no less; the flow has learned something."""
    found = [*flow_claims(config, rows)]
    for name in LATENT:
        if name in config.methods:
            mean, low, high = paired(rows, name, "plain")
            text = f"{name} latent perturbations are more accurate than plain training (points)"
            said = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            found.append(Claim(text, "95 % interval above 0", said, bool(low > 0)))
    if set(LATENT) <= set(config.methods):
        mean, low, high = paired(rows, "adversarial", "randomized")
        said = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        text = "adversarial ones are not below randomised ones (points)"
        found.append(Claim(text, ">= 0", said, bool(mean >= 0)))
    return found


def flow_claims(config: Any, rows: list[Row]) -> list[Claim]:
    """Of the flow's row: it learned, it undoes what it does, and attacks raise the loss."""
    (row,) = [r for r in rows if r["kind"] == "flow"]
    gain = row["bits_untrained"] - row["bits_held_out"]
    found = [
        Claim(
            "the flow has learned: bits per dimension of held-out images (untrained)",
            "at least 1 less",
            f"{row['bits_held_out']:.3f} ({row['bits_untrained']:.3f})",
            bool(gain >= 1),
        )
    ]
    if "round_trip" in row:
        text = "decoding undoes encoding (largest error of a pixel)"
        found.append(Claim(text, "<= 1e-4", row["round_trip"], bool(row["round_trip"] <= 1e-4)))
    if "ce_adversarial" in row:
        said = f"{row['ce_adversarial']:.4f} (random {row['ce_random']:.4f})"
        text = (
            "at the same distance, adversarial perturbations raise the loss more than random ones"
        )
        higher = row["ce_adversarial"] > row["ce_random"]
        found.append(Claim(text, "higher cross-entropy", said, bool(higher)))
    return found
