"""Classifiers of images that are perturbed in training, paired by seed."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows
from experiments.fields import EMPTY, Bound, Count, Natural, NonNegative
from experiments.flow_perturbations import _flow
from experiments.flow_perturbations._flow import COLUMNS, Model, Problem
from experiments.paired import interval
from experiments.training import train_replicas
from jcollab import flows, plots
from jcollab.flows import perturb

Array = jax.Array
LATENT = ("randomized", "adversarial")
METHODS = ("plain", "crop_flip", "mixup", "cutout", "pgd", "vae", "away", *LATENT)
Methods = Annotated[tuple[Annotated[str, Bound(among=METHODS)], ...], Bound(containing="plain")]
PART = 500  # test images classified at a time, and images for comparing losses


class Config(_flow.Config):
    """Classifiers trained with perturbed images, paired by seed."""

    flow_data: Literal["same", "all"] = "same"  # the flow trains on labeled images, or on all
    # augmentations
    methods: Methods = METHODS
    classifier: Literal["lenet", "mlp", "resnet18"] = "lenet"
    hidden: Annotated[tuple[int, ...], EMPTY] = (120, 84)  # widths of dense layers
    rounds: Count = 900  # steps of training
    batch_size: Count = 64  # images of a step
    optimizer: Literal["adam", "sgd"] = "adam"  # Adam with cosine decay, SGD as in the paper
    learning_rate: float = 2e-3  # at the start
    weight_decay: float = 0.0  # decoupled for Adam, in the gradient for SGD
    crop_flip: Natural = 0  # pixels of crops (and flips) before every method; 0 for none
    shift: Natural = 2  # pixels of the crops of the method "crop_flip"
    random_radius: NonNegative = 0.5  # standard deviation of "randomized" and "away"
    random_norm: Literal["none", "l2", "linf"] = "none"  # norm of the ball of the projection
    radius: NonNegative = 0.3  # of "adversarial"
    step_size: NonNegative = 0.2  # of "adversarial"
    attack_steps: Natural = 2  # of "adversarial" and "pgd"
    attack_norm: Literal["l2", "linf"] = "linf"  # of "adversarial"
    attack_labels: Literal["own", "true"] = "own"  # the classifier's "own" or the "true" ones
    pgd_radius: NonNegative = 0.1  # L-infinity, of pixels; steps are 2.5 pgd_radius / attack_steps
    vae_latents: Count = 32  # d of the VAE
    vae_radius: NonNegative = 0.5  # standard deviation in its latent space
    vae_rounds: Count = 1500  # steps of its training, on the flow's images
    cutout_size: Natural = 8  # side of the square
    mixup_alpha: float = 1.0  # of the Beta distribution
    tested: int | None = None  # test images, None for all
    num_seeds: Count = 5  # repetitions, paired over methods


SMALL = _flow.SMALL | {
    "classifier": "mlp",
    "hidden": (4,),
    "rounds": 2,
    "batch_size": 4,
    "methods": ("plain", *LATENT),
    "tested": 20,
    "num_seeds": 1,
    "vae_rounds": 2,
}
DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "flow_levels": 1,
    "classifier": "mlp",
    "hidden": (64,),
    "learning_rate": 3e-3,
    "random_radius": 0.3,
    "radius": 0.5,
    "step_size": 0.35,
    "attack_norm": "l2",
}


class Classifier:
    """A network with normalized inputs; ``model_state`` contains its statistics."""

    def __init__(self, problem: Problem):
        self.problem, hidden = problem, problem.config.hidden
        self.model: Any = jc.models.MLP(problem.num_classes, hidden)
        if problem.config.classifier == "lenet":
            self.model = jc.models.CNN(problem.num_classes, (6, 16), hidden)
        elif problem.config.classifier == "resnet18":
            self.model = jc.models.ResNet18(problem.num_classes, width=hidden[0])

    def init(self, key: Array) -> tuple[Any, Any]:
        """Initializes ``(params, model_state)``."""
        variables = self.model.init(key, jnp.zeros(self.problem.train.x[:1].shape))
        return variables["params"], {
            name: variables[name] for name in variables if name != "params"
        }

    def predict(self, params: Any, model_state: Any, x: Array, **options: Any) -> Any:
        """Computes logits."""
        x = (x - self.problem.mean) / self.problem.std
        return self.model.apply({"params": params, **model_state}, x, **options)

    def train(self, params: Any, model_state: Any, x: Array, key: Array) -> tuple[Array, Any]:
        """Computes ``(logits, model_state)`` in training."""
        options = {"train": True, "mutable": ["batch_stats"]} if model_state else {"mutable": []}
        return self.predict(params, model_state, x, **options)


def augmentation(
    name: str, problem: Problem, classifier: Classifier, models: dict[str, Model]
) -> Callable | None:
    """Builds the augmentation of a method; ``models`` contains the flow and the VAE."""
    config, mean, unit = problem.config, problem.mean, (0.0, 1.0)
    predict, on_inputs = jc.stateful(classifier.predict), jc.objectives.on_inputs
    norm = None if config.random_norm == "none" else config.random_norm
    ball = {"radius": config.random_radius, "norm": norm, "clamp": unit}
    size, steps = config.pgd_radius, config.attack_steps
    pixels = {"radius": size, "step_size": 2.5 * size / max(1, steps), "num_steps": steps}
    latents = _ascent(config) | {"labels": config.attack_labels, "clamp": unit}
    hooks = {
        "plain": lambda: None,
        "crop_flip": lambda: on_inputs(
            functools.partial(jc.data.crop_and_flip, padding=config.shift)
        ),
        "mixup": lambda: jc.data.mixup(problem.num_classes, config.mixup_alpha),
        # a square of zeros after normalization
        "cutout": lambda: on_inputs(
            lambda x, key: jc.data.cutout(x - mean, key, config.cutout_size) + mean
        ),
        "pgd": lambda: perturb.pgd(predict, **pixels),
        "vae": lambda: perturb.randomized(*models["vae"], radius=config.vae_radius),
        "away": lambda: perturb.away(*models["flow"], **ball),
        "randomized": lambda: perturb.randomized(*models["flow"], **ball),
        "adversarial": lambda: perturb.adversarial(predict, *models["flow"], **latents),
    }
    return hooks[name]()


def _ascent(config: Config) -> dict[str, Any]:
    return {
        "radius": config.radius,
        "step_size": config.step_size,
        "num_steps": config.attack_steps,
        "norm": config.attack_norm,
    }


def loss_of(
    name: str, problem: Problem, classifier: Classifier, models: dict[str, Model]
) -> Callable:
    """Builds the cross-entropy of images after ``crop_flip`` and the method's augmentation."""
    hook = augmentation(name, problem, classifier, models)
    if problem.config.crop_flip:
        crop = functools.partial(jc.data.crop_and_flip, padding=problem.config.crop_flip)
        hook = jc.objectives.in_turn(jc.objectives.on_inputs(crop), *([hook] if hook else []))
    predict, train = jc.stateful(classifier.predict), jc.stateful(classifier.train)
    return jc.objectives.classification(predict, augment=hook, train=train)


def _optimizer(config: Config) -> optax.GradientTransformation:
    if config.optimizer == "adam":
        rate = optax.cosine_decay_schedule(config.learning_rate, config.rounds)
        return optax.adamw(rate, weight_decay=config.weight_decay)
    cuts = {int(config.rounds * share): 0.2 for share in (0.3, 0.6, 0.8)}
    rate = optax.piecewise_constant_schedule(config.learning_rate, cuts)
    decay = optax.add_decayed_weights(config.weight_decay)
    return optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=True))


def compare(
    problem: Problem, context: Context, algorithm: Callable, n: int, batches: Any, **options: Any
) -> list[Row]:
    """Trains ``algorithm(loss, optimizer)`` of n clients with every method, paired by seed.

    Yields one row of kind ``flow``, and one of kind ``classifier`` for each method and seed. All
    methods share initial values and batches of a seed.
    """
    config, classifier = problem.config, Classifier(problem)
    models = {"flow": (problem.flow, _flow.train_flow(problem, context))}
    if "vae" in config.methods and not context.stop.is_set():
        vae = jc.models.vae(problem.train.x.shape[1:], latents=config.vae_latents)
        first = vae.init(jax.random.key(config.seed), problem.seen[:1])
        adam = jc.centralized(vae.loss, optax.adam(1e-3))
        models["vae"] = vae, _flow.minimize(problem, context, "VAE", adam, first, config.vae_rounds)
    if context.stop.is_set():
        return []
    rows = [_flow.measure_flow(problem, models["flow"][1])]
    # models are arguments of the program: as constants they would slow compilation down
    params = {name: own for name, (_, own) in models.items()}
    settings = jax.tree.map(lambda leaf: leaf[None], params)
    evaluate = jc.metrics.accuracy(jc.stateful(classifier.predict), *problem.test, batch_size=PART)

    def start(built: jc.Algorithm, key: Array) -> jc.State:
        return built.init(*jc.replicate(classifier.init(key), n))

    def measure(state: jc.State) -> Row:
        models = jc.params_of(state), jc.core.model_state_of(state)
        trained = jax.tree.map(lambda leaf: leaf[0], models)
        return {"accuracy": 100 * evaluate(state)["mean_accuracy"], "trained": trained}

    for method in context.cases(config.methods):

        def build(params: Any, method: str = method) -> jc.Algorithm:
            own = {name: (model, params[name]) for name, (model, _) in models.items()}
            return algorithm(loss_of(method, problem, classifier, own), _optimizer(config))

        done = train_replicas(
            context,
            build,
            start,
            batches,
            settings=settings,
            fold=1,
            description=method,
            tags={"method": method},
            **options,
        )
        if not done.finished:
            return rows
        measured, tail = done.measure(measure), max(1, config.rounds // 20)
        if method == "plain":
            plain = jax.tree.map(lambda leaf: leaf[0], measured["trained"])
        for i, seed in enumerate(done.seeds):
            row = {"kind": "classifier", "method": method, "seed": seed}
            row["accuracy"] = measured["accuracy"][i]
            if n == 1:
                row["loss"] = done.log()["loss"][i, -tail:].mean()
            rows.append(row)
    if not context.stop.is_set():
        context.kept["flow"] = problem, params["flow"]
        rows[0] |= _attack(problem, params["flow"], classifier, plain, context)
    return rows


def _attack(
    problem: Problem, params: Any, classifier: Classifier, trained: Any, context: Context
) -> Row:
    """Measures the cross-entropy of a trained classifier on perturbed held-out images.

    Random perturbations are scaled to the length of the adversarial ones.
    """
    flow, key = problem.flow, jax.random.key(problem.config.seed)
    x, y = (jnp.asarray(part[:PART]) for part in problem.test)
    noise = flow.noise(key, x)

    def loss(x: Array) -> Array:
        logits = classifier.predict(*trained, jnp.clip(x, 0, 1))
        return optax.softmax_cross_entropy_with_integer_labels(logits, y)

    @jax.jit
    def attack(params: Any) -> tuple[Array, Array, Array]:
        z, _ = flow.encode(params, x, noise)

        def decode(delta: Array) -> Array:
            return flow.decode(params, z + delta, noise)

        options = _ascent(problem.config)
        delta = flows.ascend(lambda delta: loss(decode(delta)).sum(), jnp.zeros_like(z), **options)
        length, random = flows.lengths(delta), jax.random.normal(key, z.shape)
        return decode(random * length / flows.lengths(random)), decode(delta), length

    random, attacked, length = attack(params)
    images = {"clean": x, "random": random, "adversarial": attacked}
    blocks = images | {"difference": 0.5 + (attacked - x)}
    context.kept["attack"] = {name: block[None, :COLUMNS] for name, block in blocks.items()}
    row: Row = {f"ce_{name}": float(loss(own).mean()) for name, own in images.items()}
    return row | {"latent_distance": float(length.mean())}


def _gains(rows: list[Row], method: str, other: str = "plain") -> list[float]:
    """Computes differences in accuracy between two methods for each seed, in points."""
    by = {(row["method"], row["seed"]): row["accuracy"] for row in rows if "method" in row}
    return [by[method, seed] - by[other, seed] for name, seed in sorted(by) if name == method]


def shown(config: Config, rows: list[Row]) -> Rows:
    """Returns means over seeds, and paired differences to plain training with intervals."""
    for name in config.methods:
        own = [row["accuracy"] for row in rows if row.get("method") == name]
        if own:
            mean, low, high = interval(_gains(rows, name))
            line: Row = {"method": name, "accuracy": f"{np.mean(own):.2f}"}
            line |= {"std": f"{np.std(own, ddof=1):.2f}" if len(own) > 1 else None}
            line |= {"over_plain": f"{mean:+.2f}", "interval": f"[{low:+.2f}, {high:+.2f}]"}
            yield line


def claims(config: Config, rows: list[Row]) -> Claims:
    """Latent perturbations help, adversarial ones at least as much, and the flow has learned."""
    yield from _flow.claims(config, rows)
    for method, other in ((LATENT[0], "plain"), (LATENT[1], "plain"), LATENT[::-1]):
        if {method, other} <= {*config.methods}:
            mean, low, high = interval(_gains(rows, method, other))
            measured = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            if other == "plain":
                text = (
                    f"{method} latent perturbations are more accurate than plain training (points)"
                )
                yield Claim(text, "95 % interval above 0", measured, low > 0)
            else:
                text = "adversarial ones are not below randomized ones (points)"
                yield Claim(text, ">= 0", measured, mean >= 0)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the flow, the attack, and accuracies relative to plain training for each seed."""
    _flow.figures(config, rows, context)
    title = "perturbations of the same length in latent space"
    _flow.draw(context, "perturb", title, context.kept["attack"])
    fig, ax = plots.subplots(figsize=(7, 0.45 * len(config.methods) + 1.4))
    for i, name in enumerate(config.methods):
        gains = _gains(rows, name)
        ax.plot(gains, [i] * len(gains), "o", color=plots.COLORS[0], alpha=0.5)
        ax.plot(np.mean(gains), i, "|", color=plots.COLORS[1], markersize=18, markeredgewidth=3)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(config.methods)), [name.replace("_", " ") for name in config.methods])
    ax.invert_yaxis()
    ax.set(xlabel="test accuracy over plain training, points", title=config.dataset)
    context.save(fig, "accuracy")
