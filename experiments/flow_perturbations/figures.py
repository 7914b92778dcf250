"""Pictures of flows: samples, interpolations, perturbed images; and accuracies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.contract import Context, Row
from experiments.flow_perturbations.data import Dataset, Images
from experiments.flow_perturbations.kinds import Comparison, FlowSettings
from jcollab import flows, plots

Array = jax.Array
LINES, COLUMNS = 4, 10
RADII = (0.25, 0.5, 1.0, 2.0)  # standard deviations of random perturbations, one a line
SHOWN = 500  # images on which losses of perturbations are compared


def density_pictures(config: FlowSettings, images: Images, model: Any, context: Context) -> None:
    """``samples``, ``interpolate`` and ``perturb_random`` of held-out images."""
    flow, params = model
    key = jax.random.key(config.seed)
    x = jnp.asarray(images.test.x[:COLUMNS])
    noise = flow.noise(key, x)
    z = jax.jit(lambda p: flow.encode(p, x, noise)[0])(params)

    @jax.jit
    def decode(params: Any, z: Array, noise: Array) -> Array:
        return jnp.clip(flow.decode(params, z, noise), 0, 1)

    blocks, shape = (LINES, COLUMNS), x.shape[1:]  # every picture is one batch of one shape

    def decoded(latents: Array, noise: Array) -> Array:
        latents, noise = (a.reshape(-1, *shape) for a in (latents, noise))
        return decode(params, latents, noise).reshape(*blocks, *shape)

    middle = jnp.full((*blocks, *shape), 0.5)
    drawn = decoded(config.temperature * jax.random.normal(key, middle.shape), middle)
    context.save(grid({"": drawn}, f"samples at temperature {config.temperature:g}"), "samples")
    t = jnp.linspace(0, 1, COLUMNS).reshape(-1, *(1,) * len(shape))
    lines = jnp.stack([(1 - t) * z[2 * i] + t * z[2 * i + 1] for i in range(LINES)])
    title = "on lines between latents of held-out images"
    context.save(grid({"": decoded(lines, middle)}, title), "interpolate")
    radii = jnp.array(RADII).reshape(-1, *(1,) * z.ndim)
    moved = z + radii * jax.random.normal(key, (LINES, *z.shape))
    moved = decoded(moved, jnp.broadcast_to(noise, moved.shape))
    rows = {"images": x[None]} | {f"random {r:g}": moved[i, None] for i, r in enumerate(RADII)}
    context.save(grid(rows, "held-out images perturbed in latent space"), "perturb_random")


def pictures(
    config: Comparison,
    images: Images,
    model: Any,
    classifier: Any,
    trained: Any,
    context: Context,
) -> Row:
    """All pictures; and the cross-entropy of a trained classifier on perturbed held-out images.

    Random perturbations are scaled to the length of the adversarial ones.
    """
    density_pictures(config, images, model, context)
    flow, flow_params = model
    params, extra = trained
    size = min(SHOWN, len(images.test.y))
    batch = Dataset(jnp.asarray(images.test.x[:size]), jnp.asarray(images.test.y[:size]))
    key = jax.random.key(config.seed)
    noise = flow.noise(key, batch.x)
    size_of = {"l2": config.radius, "linf": config.radius}[config.attack_norm]

    def loss(x: Array) -> Array:
        logits = classifier.predict(params, extra, jnp.clip(x, 0, 1))
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y)

    @jax.jit
    def all_of_them(params: Any, key: Array) -> tuple[Array, ...]:
        z, _ = flow.encode(params, batch.x, noise)

        def decode(delta: Array) -> Array:
            return flow.decode(params, z + delta, noise)

        start = jnp.zeros_like(z)
        attacked = flows.ascend(
            lambda delta: loss(decode(delta)).sum(),
            start,
            radius=size_of,
            step_size=config.step_size,
            num_steps=config.attack_steps,
            norm=config.attack_norm,
        )
        length = flows.lengths(attacked)
        random = jax.random.normal(key, z.shape)
        random = random * length / flows.lengths(random)
        return decode(random), decode(attacked), length

    random, attacked, length = all_of_them(flow_params, key)
    rows = {
        "images": batch.x[None, :COLUMNS],
        "random, as long": random[None, :COLUMNS],
        "adversarial": attacked[None, :COLUMNS],
        "difference": 0.5 + (attacked - batch.x)[None, :COLUMNS],
    }
    context.save(grid(rows, "perturbations of the same length in latent space"), "perturb")
    return {
        "ce_clean": float(loss(batch.x).mean()),
        "ce_random": float(loss(random).mean()),
        "ce_adversarial": float(loss(attacked).mean()),
        "latent_distance": float(length.mean()),
    }


@plots.style()
def grid(rows: dict[str, Any], title: str) -> Any:
    """Images in rows: for each label ``[lines, columns, height, width, channels]``."""
    lines = [(label, line) for label, block in rows.items() for line in np.asarray(block)]
    columns = max(len(line) for _, line in lines)
    fig = plots.figure(figsize=(0.75 * columns + 1.2, 0.78 * len(lines) + 0.5))
    axes = fig.subplots(len(lines), columns, squeeze=False)
    for own, (label, line) in zip(axes, lines, strict=True):
        for ax in own:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(False)
        for ax, image in zip(own, line, strict=False):
            shown = np.clip(image, 0, 1)
            ax.imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1)
        own[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    fig.suptitle(title, fontsize=11)
    return fig


@plots.style()
def accuracies(config: Comparison, rows: list[Row]) -> Any:
    """Accuracy of each method over plain training, seed by seed."""
    fig = plots.figure(figsize=(7, 0.45 * len(config.methods) + 1.4))
    ax = fig.subplots()
    by = {(r["method"], r["seed"]): r["accuracy"] for r in rows if r["kind"] == "classifier"}
    seeds = sorted({seed for _, seed in by})
    for i, name in enumerate(config.methods):
        gains = [by[name, seed] - by["plain", seed] for seed in seeds]
        ax.plot(gains, [i] * len(gains), "o", color=plots.COLORS[0], alpha=0.5)
        ax.plot(np.mean(gains), i, "|", color=plots.COLORS[1], markersize=18, markeredgewidth=3)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(config.methods)), [name.replace("_", " ") for name in config.methods])
    ax.invert_yaxis()
    ax.set(xlabel="test accuracy over plain training, points", title=config.dataset)
    return fig
