"""Experiments with latent perturbations: what needs no long run."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from experiments.contract import configure
from experiments.flow_perturbations import _flow, _training, comparison, federated
from experiments.paired import interval

KEY = jax.random.key(0)


def smoke(name="digits", **fields):
    return configure("flow_perturbations", name, smoke=True, **fields)


@pytest.mark.parametrize("name", _training.METHODS)
def test_every_method_makes_a_batch_of_images(name):
    problem = _flow.make_problem(smoke())
    classifier = _training.Classifier(problem)
    model = jc.models.vae((8, 8, 1), latents=2, hidden=(4,))
    x = jnp.asarray(problem.train.x[:8])
    models = {"flow": (problem.flow, problem.start), "vae": (model, model.init(KEY, x))}
    loss = jax.jit(_training.loss_of(name, problem, classifier, models))
    params, model_state = classifier.init(KEY)
    batch = jc.data.Dataset(x, jnp.asarray(problem.train.y[:8]))
    value, _, _ = loss(params, model_state, batch, KEY)
    assert np.isfinite(value)


def test_the_flow_sees_what_it_may():
    same = _flow.make_problem(smoke(flow_data="same"))
    np.testing.assert_array_equal(same.seen, same.train.x)
    everything = _flow.make_problem(smoke(flow_data="all"))
    assert len(everything.seen) == 1437 and len(everything.train.y) == 144
    apart = _flow.make_problem(smoke("federated"))
    rows = {image.tobytes() for image in apart.train.x}
    assert len(apart.train.y) == 287 and len(apart.seen) == 1150
    assert not any(image.tobytes() in rows for image in apart.seen[:200])


def test_intervals_are_those_of_student():
    mean, low, high = interval([1.0, 2.0, 3.0])
    half = 4.302653 / np.sqrt(3)  # two degrees of freedom
    np.testing.assert_allclose([mean, low, high], [2, 2 - half, 2 + half], rtol=1e-5)
    assert interval([1.0])[1:] == (-np.inf, np.inf)


def test_claims_are_paired_by_seed():
    config = comparison.Config(methods=("plain", "randomized", "adversarial"))

    def rows(randomized, adversarial):
        values = {"plain": [90.0, 95.0, 92.0], "randomized": randomized, "adversarial": adversarial}
        of_flow = [
            {"kind": "flow", "bits_untrained": 6.0, "bits_held_out": 2.0, "round_trip": 1e-6}
        ]
        return of_flow + [
            {"kind": "classifier", "method": name, "seed": seed, "accuracy": value}
            for name, accuracies in values.items()
            for seed, value in enumerate(accuracies)
        ]

    good = [*comparison.claims(config, rows([91.0, 96.1, 93.0], [91.2, 96.1, 93.1]))]
    assert [claim.holds for claim in good] == [True] * 5
    bad = [*comparison.claims(config, rows([91.0, 94.0, 93.0], [90.5, 93.0, 92.9]))]
    assert [claim.holds for claim in bad] == [True, True, False, False, False]
    _, line, _ = comparison.shown(config, rows([91.0] * 3, [92.0] * 3))
    assert line["over_plain"] == "-1.33"


def test_a_flow_is_trained_once_for_a_folder(tmp_path):
    import pathlib

    from rich.progress import Progress

    from experiments.contract import Context

    problem = _flow.make_problem(smoke())
    context = Context(pathlib.Path(tmp_path), Progress(disable=True), True)
    first = _flow.train_flow(problem, context)
    lines = (tmp_path / "metrics.jsonl").read_text()
    again = _flow.train_flow(problem, context)
    assert (tmp_path / "metrics.jsonl").read_text() == lines
    chex.assert_trees_all_equal(first, again)
    _flow.train_flow(_flow.make_problem(smoke(flow_rounds=1)), context)
    assert len(list(tmp_path.glob("flow-*.npz"))) == 2


def test_bad_input_is_named():
    for fields, message in [
        ({"fraction": 0.0}, "fraction must be above 0 and at most 1, got 0"),
        ({"methods": ("randomized",)}, "methods must contain plain"),
        ({"methods": ("plain", "other")}, "methods must be among plain"),
        ({"radius": -1.0}, "radius must be at least 0, got -1"),
        ({"attack_steps": -1}, "attack_steps must be at least 0, got -1"),
        ({"flow_rounds": 0}, "flow_rounds must be at least 1, got 0"),
        ({"decoding": "right"}, "decoding must be among corrected"),
    ]:
        with pytest.raises(ValueError, match=message):
            comparison.Config(**fields)
    with pytest.raises(ValueError, match="public must be above 0 and leave"):
        federated.Config(public=0.99)
    with pytest.raises(ValueError, match="alpha must be above 0, got 0"):
        federated.Config(alpha=0.0)
