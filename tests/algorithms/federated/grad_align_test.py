"""Gradient alignment: recorded expansions, and properties that follow from them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from experiments.grad_align import _problems as problems
from experiments.grad_align import local_steps, sgd_regularizer, taylor
from tests import REFERENCE

FOLDER = REFERENCE / "grad_align"
REFS = json.loads((FOLDER / "refs.json").read_text())
KEY = jax.random.key(0)


def test_grad_align_is_the_regularized_gradient_to_first_order(x64):
    recorded = REFS["mlp_taylor"]
    rows = taylor.run(taylor.Config(betas=tuple(r["beta"] for r in recorded)), None)
    for row, expected in zip(rows, recorded, strict=True):
        np.testing.assert_allclose(row["error"], expected["err"], rtol=1e-10)
        np.testing.assert_allclose(row["signal"], expected["signal"], rtol=1e-12)
        np.testing.assert_allclose(row["wrong_sign_error"], expected["wrong_sign_err"], rtol=1e-12)
    assert all(claim.holds for claim in taylor.claims(taylor.Config(), rows))


def test_sgd_is_grad_align_to_second_order(x64):
    recorded = REFS["sgd_epoch_mean_over_120_orders"]
    config = sgd_regularizer.Config(gammas=tuple(r["gamma"] for r in recorded))
    rows = sgd_regularizer.run(config, None)
    for row, expected in zip(rows, recorded, strict=True):
        np.testing.assert_allclose(
            row["gap_to_gradient_descent"], expected["gap_sgd_gd"], rtol=1e-10
        )
        np.testing.assert_allclose(
            row["gap_to_grad_align"], expected["gap_sgd_gradalign"], rtol=1e-7
        )
        np.testing.assert_allclose(
            row["error_of_prediction"], expected["rel_err_vs_pred"], rtol=1e-8
        )
    assert all(claim.holds for claim in sgd_regularizer.claims(config, rows))


def test_coefficients_of_local_steps(x64):
    config = local_steps.Config()
    rows = [*local_steps.run(config, None)]
    for expected in REFS["fedga_second_order"]:
        case = expected["K"], expected["beta_over_gamma"]
        own = [row for row in rows if (row["K"], row["beta_over_gamma"]) == case]
        distances = np.array([row["distance"] for row in own])
        assert {row["predicted"] for row in own} == {expected["coef"]}
        if case == (1, 0.0):  # gradient descent
            assert distances.max() < 1e-15
        elif case[0] == 1 or case == (2, 0.0):  # exact
            assert max(row["relative_error"] for row in own) < 1e-9
        elif expected["coef"] == 0:  # third order is left
            np.testing.assert_allclose(distances[:-1] / distances[1:], 8, rtol=0.05)
        else:
            errors = [row["relative_error"] for row in own]
            np.testing.assert_allclose(errors, expected["rel_err_gamma_1e2_5e3_25e4"], rtol=1e-7)
    ratios = local_steps.scaffold_ratios(rows, 5)
    np.testing.assert_allclose(ratios, REFS["scaffold_minus_gd_over_fedavg_minus_gd"], rtol=1e-7)
    assert all(claim.holds for claim in local_steps.claims(config, rows))


def federated(problem, gamma=0.05, **options):
    return jc.federated(problem.loss, optax.sgd(gamma), **{"local_steps": 3} | options)


def test_a_lone_client_and_identical_clients_take_plain_steps(x64):
    """n = 1 is SGD, and identical clients are gradient descent, for any displacement."""
    quadratic = problems.quadratic()
    for rows in ([2], [2, 2, 2]):
        data = {name: leaf[np.array(rows)] for name, leaf in quadratic.data.items()}
        same = quadratic._replace(data=data)
        moved = same.end(federated(same, method=jc.local.fedga(3.0)))
        np.testing.assert_allclose(moved, same.gradient_descent(0.05, 3), rtol=1e-12)


def test_weights_displace_and_average_alike(x64):
    """With weights p_i, one step follows f + (beta/2) Var of the weighted mean and variance."""
    quadratic, beta, gamma = problems.quadratic(), 0.1, 0.05
    p = jnp.array([1.0, 4.0, 2.0, 0.0, 3.0])

    def regularized(x):
        losses = jax.vmap(quadratic.loss, (None, 0, None))(x, quadratic.data, KEY)
        grads = jax.vmap(jax.grad(quadratic.loss), (None, 0, None))(x, quadratic.data, KEY)
        mean = p @ grads / p.sum()
        return p @ (losses + beta / 2 * jnp.sum((grads - mean) ** 2, 1)) / p.sum()

    algorithm = federated(quadratic, gamma, local_steps=1, method=jc.local.fedga(beta), weights=p)
    state = algorithm.init(jc.replicate(quadratic.start, 5))
    state, _ = algorithm.update(state, jc.data.full_batch(quadratic.data), KEY)
    expected = quadratic.start - gamma * jax.grad(regularized)(quadratic.start)
    np.testing.assert_allclose(jc.params_of(state)[0], expected, rtol=1e-12)


def test_gradients_are_aligned_over_the_sampled_alone(x64):
    """Two of five clients: the round is that of a federation of these two."""
    quadratic = problems.quadratic()
    method = jc.local.fedga(0.1)
    some = federated(quadratic, num_sampled=2, method=method)
    key = jax.random.key(4)
    data = jc.data.full_batch(quadratic.data)
    state, _ = some.update(some.init(jc.replicate(quadratic.start, 5)), data, key)
    pair = jc.layout.sample_clients(jax.random.split(key)[0], 5, 2)
    alone = quadratic._replace(data=jax.tree.map(lambda leaf: leaf[pair], quadratic.data))
    expected = alone.end(federated(alone, method=method))
    np.testing.assert_allclose(jc.params_of(state)[0], expected, rtol=1e-12)


def test_twice_the_gradients():
    """A round costs K + 1 gradients of each client, K without displacement."""
    counted = []

    def loss(x, batch, key):
        jax.debug.callback(lambda _: counted.append(1), batch)
        return 0.5 * jnp.sum((x - batch) ** 2)

    data, x = jnp.arange(6.0).reshape(3, 2), jnp.zeros((3, 2))
    for method, each in ((jc.local.fedavg(), 4), (jc.local.fedga(0.1), 5)):
        counted.clear()
        algorithm = jc.federated(loss, optax.sgd(0.1), local_steps=4, method=method)
        state, _ = algorithm.update(algorithm.init(x), jc.data.full_batch(data), KEY)
        jax.block_until_ready(state)
        jax.effects_barrier()
        assert len(counted) == 3 * each


def test_gradient_variance_at_the_servers_model(x64):
    quadratic = problems.quadratic()
    evaluate = jc.metrics.gradient_variance(quadratic.loss, quadratic.data, prefix="server_")
    algorithm = federated(quadratic)
    measured = evaluate(algorithm.init(jc.replicate(quadratic.start, 5)))
    np.testing.assert_allclose(
        measured["server_gradient_variance"], REFS["grad_variance_x0"], rtol=1e-12
    )
    gradient = jax.grad(quadratic.mean_loss)(quadratic.start)
    np.testing.assert_allclose(measured["server_gradient_norm"], jnp.linalg.norm(gradient))
    loss = quadratic.mean_loss(quadratic.start)
    np.testing.assert_allclose(measured["server_mean_loss"], loss)
    gossip = jc.decentralized(quadratic.loss, optax.sgd(0.1), jc.identity())
    models = jc.replicate(quadratic.start, 5) + jnp.array([-2.0, -1, 0, 1, 2])[:, None]
    again = evaluate(gossip.init(models))  # without a server, at the average
    np.testing.assert_allclose(again["server_gradient_variance"], REFS["grad_variance_x0"])
    with pytest.raises(ValueError, match="batch"):
        jc.metrics.gradient_variance(quadratic.loss, {})
