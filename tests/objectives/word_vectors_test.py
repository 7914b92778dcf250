import json

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import objectives
from jcollab.local import row_sparse
from tests import REFERENCE

X2STATIC = REFERENCE / "x2static"
RECORDED = json.loads((X2STATIC / "loss_small.json").read_text())
ARRAYS = np.load(X2STATIC / "loss_small.npz")


def test_loss_and_gradient_equal_the_recorded_ones():
    with jax.enable_x64(True):
        table, contexts, targets, negatives = (
            jnp.asarray(ARRAYS[k]) for k in ("E", "C", "targets", "negatives")
        )
        value, grad = jax.value_and_grad(objectives.x2static)(table, contexts, targets, negatives)
        np.testing.assert_allclose(value, RECORDED["loss"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(grad, ARRAYS["grad_E"], rtol=0, atol=1e-9)
        zero = objectives.x2static(0 * table, contexts, targets, negatives)
        np.testing.assert_allclose(zero, 11 * np.log(2), atol=1e-9)
        # the form for rows
        batch = {"contexts": contexts, "targets": targets, "negatives": negatives}
        ids = objectives.x2static_rows(batch)["words"]
        rows = jax.grad(
            lambda v: objectives.x2static_loss()({"words": v}, batch, jax.random.key(0))
        )(table[ids])
        np.testing.assert_allclose(jnp.zeros_like(table).at[ids].add(rows), grad, atol=1e-12)
        # each context once, and negatives of a sentence as if each target had drawn the same
        lines = jnp.array([0, 0, 0, 1, 1, 2, 2])
        once = batch | {"contexts": contexts[:3], "lines": lines}
        shared = once | {"negatives": negatives[:, :3], "shares": jnp.array([3, 2, 2]) / 7}
        for given, drawn in ((once, negatives), (shared, negatives[:, lines])):
            expected = jax.value_and_grad(objectives.x2static)(
                table, contexts[lines], targets, drawn
            )
            ids = objectives.x2static_rows(given)["words"]
            unique = row_sparse.distinct(ids, len(table))
            for rows_of_table, placed in (
                (ids, given),
                (unique.rows, given | {"places": {"words": unique[1]}}),
            ):
                value, rows = jax.value_and_grad(
                    lambda v, placed=placed: objectives.x2static_loss()({"words": v}, placed, None)
                )(row_sparse.take(table, rows_of_table))
                np.testing.assert_allclose(value, expected[0], rtol=1e-12)
                summed = jnp.zeros_like(table).at[rows_of_table].add(rows, mode="drop")
                np.testing.assert_allclose(summed, expected[1], atol=1e-12)


def test_clipped_logistic_equals_the_recorded_values():
    with jax.enable_x64(True):
        x = jnp.asarray(RECORDED["clamped"]["x"])
        value, grad = jax.vmap(jax.value_and_grad(objectives.clipped_logistic))(x)
        np.testing.assert_allclose(value, RECORDED["clamped"]["ll"], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(grad, RECORDED["clamped"]["grad"], rtol=1e-7, atol=1e-12)


def test_a_bag_is_a_mean_of_its_sources():
    rng = np.random.default_rng(0)
    sources, words = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    bags = jnp.array([[0, 2, -1], [4, -1, -1], [-1, -1, -1]])
    targets, negatives = jnp.array([1, 2, 3]), jnp.array([[0, 0, 5], [1, 3, 3]])
    batch = {"bags": bags, "targets": targets, "negatives": negatives}
    ids = objectives.bag_rows(batch)
    tables = {"sources": sources, "words": words}
    vectors = {k: row_sparse.take(jnp.asarray(tables[k]), ids[k]) for k in ids}
    contexts = np.stack([(sources[0] + sources[2]) / 2, sources[4], np.zeros(3)])
    expected = objectives.x2static(words, contexts, targets, negatives)
    np.testing.assert_allclose(
        objectives.bag_loss()(vectors, batch, jax.random.key(0)), expected, rtol=1e-6
    )
