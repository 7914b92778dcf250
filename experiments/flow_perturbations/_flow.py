"""The images of an experiment, and the flow of these images: trained, measured and drawn."""

import functools
import hashlib
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, at_most
from experiments.fields import Count, Natural, NonNegative, Settings, Share
from experiments.tasks import average_squares
from jcollab import flows, plots

Array = jax.Array
Model = tuple[Any, Any]  # a flow or a VAE, and its parameters
Dataset = jc.data.Dataset
SPLIT_SEED = 9999  # as in the released code: the same labeled images for all seeds
# mean and std of training images in [0, 1], as in the released code
STATISTICS: dict[str, tuple[Any, Any]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
CLIP = 100.0  # global norm of gradients of the loss in nats per image
PART = 100  # images encoded at a time
LINES, COLUMNS = 4, 10  # of pictures
RADII = (0.25, 0.5, 1.0, 2.0)  # standard deviations of random perturbations, one a line


class Config(Settings):
    """A Glow and its training."""

    dataset: str = "mnist"  # "digits" of scikit-learn, or a TFDS name
    fraction: Share = 0.05  # share of the training set, the same images for all seeds
    shrink: Count = 1  # factor by which averaging reduces the resolution; rounded to bytes
    flow_levels: Count = 2  # L
    flow_steps: Count = 6  # K of each level
    flow_width: Count = 32  # channels inside the couplings
    flow_convolution: Literal["full", "lu"] = "full"  # full matrices or LU factors
    flow_rounds: Count = 1500  # steps of training
    flow_optimizer: Literal["adam", "adamax"] = "adam"  # "adamax": as in the paper for CIFAR-10
    flow_warmup: Natural = 100  # steps of the warm-up, at most a tenth of all
    flow_weight_decay: NonNegative = 5e-5  # of "adamax"
    flow_batch_size: Count = 64  # images of a step
    flow_learning_rate: float = 2e-3  # the largest one
    # pixels of random crops (and flips) in the flow's training; 0 for none
    flow_crop_flip: Natural = 0
    decoding: Literal["corrected", "released"] = "corrected"  # "released" leaves contrast at .9
    held_out: Count = 1000  # test images for bits per dimension
    temperature: NonNegative = 0.8  # of the samples that are drawn
    seed: int = 0  # of the first repetition, and of the flow


# the paper's Glow: 3 levels of 32 steps, width 512
PAPERS_FLOW: dict[str, Any] = {
    "dataset": "cifar10",
    "flow_levels": 3,
    "flow_steps": 32,
    "flow_width": 512,
    "flow_learning_rate": 5e-4,
    "flow_optimizer": "adamax",
    "flow_warmup": 7_812,
    "flow_crop_flip": 4,
}
SMALL = {
    "dataset": "digits",
    "flow_levels": 1,
    "flow_steps": 2,
    "flow_width": 4,
    "flow_rounds": 2,
    "flow_batch_size": 8,
    "held_out": 16,
}


class Problem(NamedTuple):
    """Configuration, images and flow."""

    config: Config
    train: Dataset  # labeled images
    seen: np.ndarray  # images that the flow is trained on, [N, ...]
    test: Dataset  # held-out images
    mean: np.ndarray  # of each channel, for the classifier
    std: np.ndarray  # of each channel
    num_classes: int  # C
    flow: flows.Flow
    start: Any  # first parameters of the flow


def make_problem(config: Config) -> Problem:
    """Builds the problem; the flow trains on labeled images, on all, or on public ones."""
    known, test = (jc.data.load(config.dataset, part) for part in ("train", "test"))
    if config.shrink > 1:  # as bytes over 255
        smaller = ((average_squares(x, config.shrink), y) for x, y in (known, test))
        known, test = (Dataset(np.float32(np.round(255 * x) / 255), y) for x, y in smaller)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(known.y))
    count = max(1, round(config.fraction * len(order)))
    rows = chosen = np.sort(order[:count])
    if public := getattr(config, "public", 0.0):
        chosen = np.sort(order[count : count + max(1, round(public * len(order)))])
    elif getattr(config, "flow_data", "same") == "all":
        chosen = np.sort(order)
    tested = getattr(config, "tested", None)
    train, seen = Dataset(known.x[rows], known.y[rows]), known.x[chosen]
    test, classes = Dataset(test.x[:tested], test.y[:tested]), int(test.y[:tested].max()) + 1
    given = STATISTICS.get(config.dataset) or (train.x.mean((0, 1, 2)), train.x.std((0, 1, 2)))
    mean, std = (np.asarray(value, np.float32) for value in given)
    flow = flows.glow(
        levels=config.flow_levels,
        steps=config.flow_steps,
        width=config.flow_width,
        convolution=config.flow_convolution,
        decoding=config.decoding,
        gray_levels=17 if config.dataset == "digits" else 256,
        remat=config.flow_steps > 12,
    )
    first = jnp.asarray(seen[: 4 * config.flow_batch_size])
    start = flow.init(jax.random.key(config.seed), first)
    return Problem(config, train, seen, test, mean, std, classes, flow, start)


def train_flow(problem: Problem, context: Context) -> Any:
    """Trains the flow, or loads it from the output folder."""
    config = problem.config
    names = sorted(name for name in vars(config) if name.startswith("flow_"))
    settings = repr([config.seed, *(getattr(config, name) for name in names)]).encode()
    digest = hashlib.sha256(settings + np.ascontiguousarray(problem.seen).tobytes()).hexdigest()
    file = context.out / f"flow-{digest[:12]}.npz"
    if file.exists():
        context.fits += 1  # a resumed run numbers the later trainings in the same way
        kept = np.load(file)
        leaves = [jnp.asarray(kept[name]) for name in kept.files]
        return jax.tree.unflatten(jax.tree.structure(problem.start), leaves)
    moves = config.flow_crop_flip
    jitter = functools.partial(jc.data.crop_and_flip, padding=moves) if moves else None
    algorithm = jc.centralized(flows.likelihood(problem.flow, jitter=jitter), _optimizer(config))
    params = minimize(problem, context, "flow", algorithm, problem.start, config.flow_rounds)
    if not context.stop.is_set():
        np.savez(file, *map(np.asarray, jax.tree.leaves(params)))
    return params


def _optimizer(config: Config) -> optax.GradientTransformation:
    largest, rounds = config.flow_learning_rate, config.flow_rounds
    warmup = min(config.flow_warmup, rounds // 10)
    if config.flow_optimizer == "adamax":
        decay = optax.add_decayed_weights(config.flow_weight_decay)
        return optax.chain(decay, optax.adamax(optax.linear_schedule(0.0, largest, max(1, warmup))))
    rate = optax.warmup_cosine_decay_schedule(0.0, largest, warmup, rounds, largest / 50)
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(rate))


def minimize(
    problem: Problem, context: Context, name: str, algorithm: jc.Algorithm, start: Any, rounds: int
) -> Any:
    """Trains a model on the images of the flow, without labels."""
    rows, key = np.arange(len(problem.seen)), jax.random.key(problem.config.seed)
    data = jc.data.by_client(Dataset(problem.seen, np.zeros_like(rows, np.int32)), [rows])
    result = context.fit(
        algorithm,
        algorithm.init(jc.replicate(start, 1)),
        jc.data.minibatches(data, problem.config.flow_batch_size),
        key,
        num_rounds=rounds,
        description=name,
        tags={"stage": name},
    )
    return result.state.shared.params


def measure_flow(problem: Problem, params: Any) -> Row:
    """Measures bits per dimension of training and held-out images, and the reconstruction error.

    ``bits_untrained`` is the value of held-out images for the initialized flow.
    """
    config, flow, key = problem.config, problem.flow, jax.random.key(problem.config.seed)
    bits = jax.jit(lambda params, *given: flows.bits_per_dimension(flow, params, *given).sum())

    def mean(params: Any, x: np.ndarray) -> float:
        parts = {i: jnp.asarray(x[i : i + PART]) for i in range(0, len(x), PART)}
        noise = {i: flow.noise(jax.random.fold_in(key, i), part) for i, part in parts.items()}
        return sum(float(bits(params, parts[i], noise[i])) for i in parts) / len(x)

    held_out = problem.test.x[: config.held_out]
    row: Row = {
        "kind": "flow",
        "bits_train": mean(params, problem.seen[: config.held_out]),
        "bits_held_out": mean(params, held_out),
        "bits_untrained": mean(problem.start, held_out),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    if config.decoding == "corrected":
        part = jnp.asarray(held_out[:PART])
        noise = flow.noise(key, part)
        decoded = flow.decode(params, flow.encode(params, part, noise)[0], noise)
        row["round_trip"] = float(jnp.abs(decoded - part).max())
    return row


def claims(config: Config, rows: list[Row]) -> Claims:
    """The flow has learned, it is invertible, and attacks raise the loss."""
    (row,) = [row for row in rows if row["kind"] == "flow"]
    held_out, untrained = row["bits_held_out"], row["bits_untrained"]
    text = "the flow has learned: bits per dimension of held-out images (untrained)"
    measured = f"{held_out:.3f} ({untrained:.3f})"
    yield Claim(text, "at least 1 less", measured, untrained - held_out >= 1)
    if "round_trip" in row:
        text = "decoding undoes encoding (largest error of a pixel)"
        yield at_most(text, row["round_trip"], 1e-4)
    if "ce_adversarial" in row:
        attacked, random = row["ce_adversarial"], row["ce_random"]
        text = (
            "at the same distance, adversarial perturbations raise the loss more than random ones"
        )
        measured = f"{attacked:.4f} (random {random:.4f})"
        yield Claim(text, "higher cross-entropy", measured, attacked > random)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws ``samples``, ``interpolate`` and ``perturb_random`` of held-out images."""
    problem, params = context.kept["flow"]
    flow, key, x = problem.flow, jax.random.key(config.seed), jnp.asarray(problem.test.x[:COLUMNS])
    noise = flow.noise(key, x)
    z = jax.jit(lambda params: flow.encode(params, x, noise)[0])(params)
    decode = jax.jit(jax.vmap(flow.decode, (None, 0, None)))  # [LINES, COLUMNS, ...] at a time
    drawn = jax.random.normal(key, (LINES, *z.shape))
    samples = decode(params, config.temperature * drawn, 0.5)
    draw(context, "samples", f"samples at temperature {config.temperature:g}", {"": samples})
    t = jnp.linspace(0, 1, COLUMNS).reshape(-1, *(1,) * (z.ndim - 1))
    between = (1 - t) * z[: 2 * LINES : 2, None] + t * z[1 : 2 * LINES : 2, None]
    blocks = {"": decode(params, between, 0.5)}
    draw(context, "interpolate", "on lines between latents of held-out images", blocks)
    moved = decode(params, z + jnp.array(RADII).reshape(-1, *(1,) * z.ndim) * drawn, noise)
    blocks = {"images": x[None]} | {f"random {r:g}": moved[i, None] for i, r in enumerate(RADII)}
    draw(context, "perturb_random", "held-out images perturbed in latent space", blocks)


def draw(context: Context, name: str, title: str, blocks: dict[str, Any]) -> None:
    """Draws rows of images: for each label ``[lines, columns, height, width, channels]``."""
    labels = [label for label, block in blocks.items() for _ in block]
    images = np.clip(np.concatenate([np.asarray(block) for block in blocks.values()]), 0, 1)
    images = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
    lines, columns, height, width, channels = images.shape
    canvas = images.swapaxes(1, 2).reshape(lines * height, columns * width, channels)
    fig, ax = plots.subplots(figsize=(0.75 * columns + 1.2, 0.78 * lines + 0.5))
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    for i, label in enumerate(labels):
        ax.text(-1, height * (i + 0.5), label, ha="right", va="center")
    ax.set_axis_off()
    ax.set_title(title)
    context.save(fig, name)
