"""What images go through in training, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jcollab as jc
from experiments.flow_perturbations.data import Images
from experiments.flow_perturbations.kinds import Comparison
from jcollab.flows import perturb

Array = jax.Array
UNIT = (0.0, 1.0)


class Classifier:
    """A network behind a layer that normalises images in [0, 1].

    Attributes:
        init: ``init(key) -> (params, extra)``.
        predict: ``predict(params, extra, x) -> logits``.
        train: ``train(params, extra, x, key) -> (logits, extra)``.
        num_classes: C.
    """

    def __init__(self, config: Comparison, images: Images):
        self.num_classes = int(images.test.y.max()) + 1
        mean, std = jnp.asarray(images.mean), jnp.asarray(images.std)
        shape = images.train.x[:1].shape
        network: nn.Module
        if config.classifier == "resnet18":
            network = jc.models.ResNet18(self.num_classes, width=config.hidden[0])
            predict, train = jc.models.with_statistics(network)

            def init(key: Array) -> tuple[Any, Any]:
                variables = network.init(key, jnp.zeros(shape))
                return variables["params"], variables["batch_stats"]

        else:
            if config.classifier == "lenet":
                network = jc.models.CNN(self.num_classes, (6, 16), config.hidden)
            else:
                network = jc.models.MLP(self.num_classes, config.hidden)

            def predict(params: Any, extra: Any, x: Array) -> Any:
                return network.apply(params, x)

            def train(params: Any, extra: Any, x: Array, key: Array) -> tuple[Any, Any]:
                return network.apply(params, x), extra

            def init(key: Array) -> tuple[Any, Any]:
                return network.init(key, jnp.zeros(shape)), ()

        def normal(x: Array) -> Array:
            return (x - mean) / std

        self.init = init
        self.predict: Callable[..., Array] = lambda p, e, x: predict(p, e, normal(x))
        self.train: Callable[..., Any] = lambda p, e, x, key: train(p, e, normal(x), key)


def augmentation(
    name: str,
    config: Comparison,
    images: Images,
    classifier: Classifier,
    models: dict[str, tuple[Any, Any]],
) -> Callable | None:
    """The hook of a method; ``models`` holds the flow and the VAE with their parameters."""
    predict, radius = classifier.predict, config.radius
    norm = None if config.random_norm == "none" else config.random_norm
    if name == "plain":
        return None
    if name == "crop_flip":
        return lambda x, key: jc.data.crop_and_flip(x, key, config.shift)
    if name == "mixup":
        return jc.data.mixup(classifier.num_classes, config.mixup_alpha)
    if name == "cutout":
        mean = jnp.asarray(images.mean)  # a square of zeros after normalisation
        return lambda x, key: jc.data.cutout(x - mean, key, config.cutout_size) + mean
    if name == "pgd":
        size = 2.5 * config.pgd_radius / max(1, config.attack_steps)
        return perturb.pgd(
            predict, radius=config.pgd_radius, step_size=size, num_steps=config.attack_steps
        )
    if name == "vae":
        return perturb.randomized(*models["vae"], radius=config.vae_radius)
    if name in ("away", "randomized"):
        build = perturb.away if name == "away" else perturb.randomized
        return build(*models["flow"], radius=config.random_radius, norm=norm, clamp=UNIT)
    return perturb.adversarial(
        predict,
        *models["flow"],
        radius=radius,
        step_size=config.step_size,
        num_steps=config.attack_steps,
        norm=config.attack_norm,
        labels=config.attack_labels,
        clamp=UNIT,
    )


def loss_of(config: Comparison, hook: Callable | None, classifier: Classifier) -> Callable:
    """Cross-entropy of perturbed images, crops before them where so asked."""
    if config.crop_flip:

        def crop(x: Array, key: Array) -> Array:
            return jc.data.crop_and_flip(x, key, config.crop_flip)

        hook = jc.objectives.in_turn(crop, *([hook] if hook else []))
    return jc.objectives.classification(classifier.predict, augment=hook, train=classifier.train)


def optimizer_of(config: Comparison) -> optax.GradientTransformation:
    """Adam with cosine decay, or SGD as in the paper."""
    if config.optimizer == "adam":
        rate = optax.cosine_decay_schedule(config.learning_rate, config.rounds)
        return optax.adamw(rate, weight_decay=config.weight_decay)
    cuts = {int(config.rounds * share): 0.2 for share in (0.3, 0.6, 0.8)}
    rate = optax.piecewise_constant_schedule(config.learning_rate, cuts)
    decay = optax.add_decayed_weights(config.weight_decay)
    return optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=True))


def accuracies(classifier: Classifier, params: Any, extra: Any, data: Any) -> Any:
    """Accuracy of each of S models on the same images, in per cent, ``[S]``."""
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)
    size = min(500, len(y))
    whole = len(y) // size * size

    @jax.jit
    def right(params: Any, extra: Any, x: Array, y: Array) -> Array:
        def part(pair: tuple[Array, Array]) -> Array:
            return (jnp.argmax(classifier.predict(params, extra, pair[0]), -1) == pair[1]).sum()

        return jax.lax.map(part, (x, y)).sum()

    parts = [(x[:whole], y[:whole], size)]
    if whole < len(y):
        parts.append((x[whole:], y[whole:], len(y) - whole))
    found = []
    for i in range(len(jax.tree.leaves(params)[0])):
        own = jax.tree.map(lambda leaf: leaf[i], (params, extra))  # noqa: B023
        count = sum(
            int(right(*own, x.reshape(-1, b, *x.shape[1:]), y.reshape(-1, b))) for x, y, b in parts
        )
        found.append(100 * count / len(y))
    return found
