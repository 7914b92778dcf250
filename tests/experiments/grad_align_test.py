"""The experiments on gradient alignment: their problems, claims and settings."""

import json

import jax
import numpy as np
import pytest

from experiments.grad_align import _problems as problems
from experiments.grad_align import _training as training
from experiments.grad_align import (
    batch_size,
    clusters,
    distributed,
    emnist_style,
    local_steps,
    sgd_regularizer,
    taylor,
)
from tests import REFERENCE

FOLDER = REFERENCE / "grad_align"
REFS = json.loads((FOLDER / "refs.json").read_text())


def test_the_experiments_use_the_recorded_problems(x64):
    for name in ("quadratic", "mlp"):
        stored = np.load(problems.FILES / f"{name}.npz")
        for key, values in np.load(FOLDER / f"{name}.npz").items():
            np.testing.assert_array_equal(stored[key], values)
    mlp, quadratic = problems.mlp(), problems.quadratic()
    np.testing.assert_allclose(mlp.mean_loss(mlp.start), REFS["mlp_loss0"], rtol=1e-12)
    np.testing.assert_allclose(mlp.variance(mlp.start), REFS["mlp_var0"], rtol=1e-12)
    np.testing.assert_allclose(
        jax.grad(quadratic.variance)(quadratic.start), REFS["grad_of_variance_x0"], rtol=1e-12
    )


def case(method, beta, accuracy, variance, broken=False, **rest):
    return [
        {
            "method": method, "beta": beta, "seed": s, "test_accuracy": a, "train_loss": 0.2,
            "test_loss": 0.3, "mean_variance": variance, "final_variance": variance,
            "gradient_variance": variance, "broken": broken,
        }
        | rest
        for s, a in enumerate(accuracy)
    ]  # fmt: skip


def test_claims_say_when_they_do_not_hold():
    rows = [
        *case("GD", 0.0, [0.80, 0.82], 0.3, c=0.0),
        *case("GradAlign", 0.5, [0.81, 0.84], 0.4, c=0.5),
        *case("GradAlign", 1.0, [0.1, 0.8], 0.9, broken=True, c=1.0),
        *case("FedGA", 0.225, [0.70, 0.75], 0.2, c=0.0),
        *case("SCAFFOLD", None, [0.80, 0.81], 0.2, c=0.0),
    ]
    by_name = {c.claim: c.holds for c in clusters.claims(clusters.Config(), rows)}
    (falls,) = [v for k, v in by_name.items() if "variance falls" in k]
    (rises,) = [v for k, v in by_name.items() if "rises at every step" in k]
    (same,) = [v for k, v in by_name.items() if "SCAFFOLD's" in k]
    (breaks,) = [v for k, v in by_name.items() if "breaks training" in k]
    assert (falls, rises, same, breaks) == (False, True, False, True)
    images = [
        *case("parallel SGD", 0.0, [0.9, 0.9], 0.3),
        *case("GradAlign", 0.2, [0.8, 0.9], 0.2),
        *case("GradAlign", 0.4, [0.1, 0.1], 9.0, broken=True),
    ]
    holds = [claim.holds for claim in distributed.claims(distributed.Config(), images)]
    assert holds == [True, False, False]
    federation = [
        *case("FedAvg", 0.0, [0.8, 0.8], 0.3, mu=None),
        *case("FedGA", 0.1, [0.9, 0.9], 0.2, mu=None),
        *case("SCAFFOLD", None, [0.95, 0.95], 0.1, mu=None),
    ]
    holds = [claim.holds for claim in emnist_style.claims(emnist_style.Config(), federation)]
    assert holds == [True, True, False]
    assert training.is_broken(float("nan"), 10) and training.is_broken(2.3, 10)
    assert not training.is_broken(0.3, 10)


def test_claims_on_batch_sizes_are_paired_by_seed():
    def tuned(method, accuracy, variance):
        own = case(method, None, accuracy, variance, learning_rate=0.1, chosen=True)
        return [row | {"variance_at_level": variance} for row in own]

    config = batch_size.Config(learning_rates=(0.1,))
    rows = tuned("small batch", [0.90, 0.81, 0.861], 0.3)
    rows += tuned("large batch", [0.88, 0.79, 0.84], 0.2)
    rows += tuned("GradAlign", [0.89, 0.70, 0.90], 0.1)
    assert [claim.holds for claim in batch_size.claims(config, rows)] == [True, False, True]
    losses, variances = np.array([1.0, 0.4, 0.1]), np.array([3.0, 1.2, 0.3])  # 3 times the loss
    assert batch_size.at_level(losses, variances, 0.2) == pytest.approx(0.6)
    assert np.isnan(batch_size.at_level(losses, variances, 0.05))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: taylor.Config(betas=(0.2, 0.15)), "betas must each be half"),
        (lambda: sgd_regularizer.Config(gammas=()), "gammas must have at least one"),
        (lambda: local_steps.Config(steps=(0,)), r"steps must be at least 1, got \(0,\)"),
        (lambda: local_steps.Config(ratios=(1.0,)), "ratios must contain 0"),
        (lambda: clusters.Config(noise=1.0), r"noise must be at least 0 and below 1, got 1.0"),
        (lambda: clusters.Config(gamma=0.0), "gamma must be above 0, got 0.0"),
        (
            lambda: emnist_style.Config(num_sampled=48),
            "num_sampled must be at least 1 and at most 47, got 48",
        ),
        (lambda: emnist_style.Config(methods=("SGD",)), "methods must be among large-batch SGD"),
        (lambda: distributed.Config(network="cnn"), "network must be 'mlp' for digits"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
