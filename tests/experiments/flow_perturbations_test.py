"""Experiments with latent perturbations: what needs no long run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from experiments.contract import configure, find
from experiments.flow_perturbations import comparison, data, flow, kinds, methods

KEY = jax.random.key(0)


def smoke(name="digits", **fields):
    return configure(find("flow_perturbations", name), smoke=True, **fields)


@pytest.mark.parametrize("name", kinds.METHODS)
def test_every_method_makes_a_batch_of_images(name):
    config = smoke()
    images = data.make(config)
    classifier = methods.Classifier(config, images)
    model = jc.models.vae((8, 8, 1), latents=2, hidden=(4,))
    glow = flow.make(config, images)
    x = jnp.asarray(images.train.x[:8])
    models = {"flow": (glow, glow.init(KEY, x)), "vae": (model, model.init(KEY, x))}
    hook = methods.augmentation(name, config, images, classifier, models)
    loss = jax.jit(methods.loss_of(config, hook, classifier))
    params, extra = classifier.init(KEY)
    value, _ = loss(params, extra, data.Dataset(x, jnp.asarray(images.train.y[:8])), KEY)
    assert np.isfinite(value)


def test_the_flow_sees_what_it_may():
    same = data.make(smoke(flow_data="same"))
    np.testing.assert_array_equal(same.flow, same.train.x)
    everything = data.make(smoke(flow_data="all"))
    assert len(everything.flow) == 1437 and len(everything.train.y) == 144
    apart = data.make(smoke("federated"))
    rows = {image.tobytes() for image in apart.train.x}
    assert len(apart.train.y) == 287 and len(apart.flow) == 1150
    assert not any(image.tobytes() in rows for image in apart.flow[:200])


def test_intervals_are_those_of_student():
    mean, low, high = comparison.interval([1.0, 2.0, 3.0])
    half = 4.302653 / np.sqrt(3)  # two degrees of freedom
    np.testing.assert_allclose([mean, low, high], [2, 2 - half, 2 + half], rtol=1e-5)
    assert comparison.interval([1.0])[1:] == (-np.inf, np.inf)


def test_claims_are_paired_by_seed():
    config = kinds.Comparison(methods=("plain", "randomized", "adversarial"))

    def rows(randomized, adversarial):
        values = {"plain": [90.0, 95.0, 92.0], "randomized": randomized, "adversarial": adversarial}
        found = [{"kind": "flow", "bits_untrained": 6.0, "bits_held_out": 2.0, "round_trip": 1e-6}]
        return found + [
            {"kind": "classifier", "method": name, "seed": seed, "accuracy": value}
            for name, accuracies in values.items()
            for seed, value in enumerate(accuracies)
        ]

    good = comparison.claims(config, rows([91.0, 96.1, 93.0], [91.2, 96.1, 93.1]))
    assert [claim.holds for claim in good] == [True] * 5
    bad = comparison.claims(config, rows([91.0, 94.0, 93.0], [90.5, 93.0, 92.9]))
    assert [claim.holds for claim in bad] == [True, True, False, False, False]
    assert comparison.shown(config, rows([91.0] * 3, [92.0] * 3))[1]["over_plain"] == "-1.33"


def test_a_flow_is_trained_once_for_a_folder(tmp_path):
    import pathlib

    from rich.progress import Progress

    from experiments.contract import Context

    config = smoke()
    images = data.make(config)
    context = Context(pathlib.Path(tmp_path), Progress(disable=True), True)
    first = flow.trained(config, images, context)
    lines = (tmp_path / "metrics.jsonl").read_text()
    again = flow.trained(config, images, context)
    assert (tmp_path / "metrics.jsonl").read_text() == lines
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = configure(find("flow_perturbations", "digits"), smoke=True, flow_rounds=1)
    flow.trained(other, images, context)
    assert len(list(tmp_path.glob("flow-*.npz"))) == 2


def test_bad_input_is_named():
    for fields, message in [
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], got 0"),
        ({"methods": ("randomized",)}, "methods must hold plain"),
        ({"methods": ("plain", "other")}, "methods must be among plain"),
        ({"radius": -1.0}, "radius must be at least 0, got -1"),
        ({"attack_steps": -1}, "attack_steps must be at least 0, got -1"),
        ({"flow_rounds": 0}, "flow_rounds must be at least 1, got 0"),
        ({"decoding": "right"}, "decoding must be among corrected"),
    ]:
        with pytest.raises(ValueError, match=message):
            kinds.Comparison(**fields)
    with pytest.raises(ValueError, match="public must be above 0 and leave"):
        kinds.Federated(public=0.99)
    with pytest.raises(ValueError, match="alpha must be above 0, got 0"):
        kinds.Federated(alpha=0.0)
