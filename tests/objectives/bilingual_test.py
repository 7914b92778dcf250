"""The shared encoder and its losses against the original code's numbers and loops in NumPy."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import models
from jcollab import objectives as obj
from jcollab.objectives import bilingual as cl
from jcollab.objectives import masking
from tests import REFERENCE

FOLDER = REFERENCE / "crosslingual"
REF = np.load(FOLDER / "small.npz")
RECORDED = json.loads((FOLDER / "small.json").read_text())
V, D, HEADS, L = 40, 16, 4, 6
MODEL = models.SharedEncoder(V, D, num_heads=HEADS, hidden=32, max_len=12, dropout=0.0)


def to_flax(prefix):
    """The original's parameters, or gradients, in the form of ours."""

    def get(name):
        return jnp.asarray(REF[f"{prefix}::{name}"].astype(np.float64))

    def dense(name):
        return {"kernel": get(f"{name}.weight").T, "bias": get(f"{name}.bias")}

    def norm(name):
        return {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

    def heads(name):
        weights = dense(name)
        return {
            "kernel": weights["kernel"].reshape(D, HEADS, -1),
            "bias": weights["bias"].reshape(HEADS, -1),
        }

    params = {
        "embedding": get("model.bert.embedding.word_embedding.embedding.weight"),
        "position": get("model.bert.embedding.position_embedding.position_embeddings.weight"),
        "norm": norm("model.bert.embedding.layer_norm"),
        "transform": dense("model.transform.dense"),
        "transform_norm": norm("model.transform.LayerNorm"),
        "bias": get("model.decoder.bias"),
    }
    for i in range(2):
        at = f"model.bert.encoder.layer.{i}"
        out = dense(f"{at}.attention.output.dense")
        parts = ("query", "key", "value")
        attention = {part: heads(f"{at}.attention.self_attention.{part}") for part in parts}
        attention["out"] = out | {"kernel": out["kernel"].reshape(HEADS, -1, D)}
        params[f"layers_{i}"] = {
            "attention": attention,
            "attention_norm": norm(f"{at}.attention.output.LayerNorm"),
            "inner": dense(f"{at}.intermediate.dense"),
            "outer": dense(f"{at}.output.dense"),
            "norm": norm(f"{at}.output.LayerNorm"),
        }
    return {"params": params}


BATCH = masking.Masked(
    jnp.asarray(REF["ids1"], jnp.int32),
    jnp.asarray(REF["ids2"], jnp.int32),
    jnp.asarray(REF["masked_lm_label"], jnp.int32),
    jnp.asarray(REF["masked_la"] == 1),
)


def released(params, align, sim):
    (s, from_x), (t, from_y) = (MODEL.apply(params, ids) for ids in BATCH[:2])
    q_x, q_y = masking.unified_targets(BATCH, V)
    ugt = cl.batch_kl(q_x, from_x) + cl.batch_kl(q_y, from_y)
    return ugt + align * cl.alignment(s, t) + sim * cl.similarity_structure(s, t)


def target_of(row):
    """The targets as the original writes them, value after value."""
    sides = [[v for v in ids[row] if v] for ids in (REF["ids1"], REF["ids2"])]
    masked = int(REF["masked_la"][row]) - 1
    q = [np.zeros(V), np.zeros(V)]
    q[masked][REF["masked_lm_label"][row]] = 0.5
    other = sides[1 - masked]
    for v in other:
        q[masked][v] = 1 / (2 * len(other))
    for v in sides[masked]:
        q[1 - masked][v] = 1 / len(sides[masked])
    return q


def test_parameters_are_counted_as_in_the_original():
    shapes = jax.eval_shape(
        models.SharedEncoder(50_000).init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == RECORDED["full_config_params"]


def test_values_and_gradients_are_those_of_the_original(x64):
    params = to_flax("p")
    forward = jax.jit(MODEL.apply)
    for ids, logits, vectors in (("ids1", "scores1", "emb1"), ("ids2", "scores2", "emb2")):
        s, z = forward(params, jnp.asarray(REF[ids], jnp.int32))
        np.testing.assert_allclose(s, REF[vectors], atol=3e-6)
        np.testing.assert_allclose(z, REF[logits], atol=2e-5)
    value = jax.jit(jax.value_and_grad(released))
    for name, weights in {"UGT": (0, 0), "UGT+ALIGN": (2, 0), "UGT+SIM": (0, 2)}.items():
        np.testing.assert_allclose(
            value(params, *map(float, weights))[0], RECORDED["losses"][name], 1e-6
        )
    total, gradient = value(params, 2.0, 2.0)
    np.testing.assert_allclose(total, RECORDED["losses"]["UGT+ALIGN+SIM"], 1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), gradient, to_flax("g")
    )


def test_terms_equal_loops_in_float64(x64):
    s, t = (REF[name].astype(np.float64) for name in ("emb1", "emb2"))
    a = s @ t.T
    log_softmax = lambda z: z - np.log(np.exp(z).sum(1, keepdims=True))  # noqa: E731
    align = -np.mean(np.diag(log_softmax(a))) - np.mean(np.diag(log_softmax(a.T)))
    np.testing.assert_allclose(obj.alignment(s, t), align, rtol=1e-9)
    np.testing.assert_allclose(align, RECORDED["align"], 1e-6)
    p, q = (np.exp(log_softmax(v @ v.T)) for v in (s, t))
    sim = -np.log(np.cos(np.pi / 2 * (p - q))).sum()
    np.testing.assert_allclose(obj.similarity_structure(s, t), sim, rtol=1e-6)  # angles are cut off
    np.testing.assert_allclose(sim, RECORDED["sim"], 1e-6)

    wanted = np.array([target_of(row) for row in range(4)])
    for mine, side in zip(masking.unified_targets(BATCH, V), (0, 1), strict=True):
        np.testing.assert_allclose(mine, wanted[:, side], rtol=1e-12)
    assert wanted.sum(-1).min() < 1  # repeated pieces: the fixture holds them
    kl = 0
    for side, name in enumerate(("scores1", "scores2")):
        log_p = log_softmax(REF[name].astype(np.float64))
        for row in range(4):
            q = wanted[row, side]
            kl += sum(q[v] * (np.log(q[v]) - log_p[row, v]) for v in range(V) if q[v] > 0) / 4
    mine = sum(
        cl.batch_kl(wanted[:, side], REF[name].astype(np.float64))
        for side, name in enumerate(("scores1", "scores2"))
    )
    np.testing.assert_allclose(mine, kl, rtol=1e-9)


def test_the_losses_do_not_depend_on_which_language_is_first():
    swapped = masking.Masked(BATCH.y, BATCH.x, BATCH.word, ~BATCH.in_x)
    for mine, other in zip(
        masking.unified_targets(BATCH, V), masking.unified_targets(swapped, V)[::-1], strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_similarity_structure_sees_structure_only():
    s = jax.random.normal(jax.random.key(0), (5, 3)) / 2
    t = jax.random.normal(jax.random.key(1), (5, 3)) / 2
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (3, 3)))[0]
    for form in cl.SIMILARITIES:
        assert obj.similarity_structure(s, s @ turn, form) < 1e-6
        value = obj.similarity_structure(s, t, form)
        order = jnp.array([3, 1, 0, 4, 2])
        np.testing.assert_allclose(obj.similarity_structure(s[order], t[order], form), value, 1e-5)
        assert value > 1e-4
    np.testing.assert_allclose(obj.alignment(s * 0, s * 0), 2 * np.log(5), rtol=1e-6)
    np.testing.assert_allclose(obj.alignment(s * 0, t, "cosine"), np.log(5), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda v: obj.similarity_structure(v * 30, t, "ems"))(s)).all()


def test_padding_changes_nothing_and_gets_no_gradient():
    params = to_flax("p")
    ids = BATCH.x[:, :5]
    longer = jnp.pad(ids, ((0, 0), (0, 4)))
    bag = models.BagEncoder(V, 8, buckets=11)
    longer = longer.at[3].set(0)  # an empty sentence
    for model, weights in ((MODEL, params), (bag, bag.init(jax.random.key(0), ids))):
        forward = jax.jit(lambda w, x, model=model: model.apply(w, x)[0])
        a, b = forward(weights, ids), forward(weights, longer)
        np.testing.assert_allclose(a[:3], b[:3], atol=1e-5)
        assert np.isfinite(b).all()

    @jax.jit
    @jax.grad
    def slope(w, on_vectors, on_padding):
        vectors, logits = MODEL.apply(w, ids)
        return on_vectors * vectors.sum() + on_padding * logits[:, 0].sum()

    inner, tied = (slope(params, *which)["params"] for which in ((1.0, 0.0), (0.0, 1.0)))
    assert not inner["embedding"][0].any() and not inner["position"][0].any()
    assert tied["embedding"][0].any()  # padding is a class of the output all the same


def test_the_bag_is_a_mean_of_pieces_and_pairs():
    bag = models.BagEncoder(V, 8, buckets=11)
    params = bag.init(jax.random.key(0), BATCH.x)
    w, g = params["params"]["embedding"], params["params"]["pairs"]
    got = bag.apply(params, BATCH.x)[0]
    for row, ids in enumerate(REF["ids1"]):
        ids = [int(v) for v in ids if v]
        rows = [
            int(models.sentences.hashed_pairs(jnp.array([[a, b]]), 11)[0, 0])
            for a, b in itertools.pairwise(ids)
        ]
        expected = (sum(w[v] for v in ids) + sum(g[r] for r in rows)) / len(ids)
        np.testing.assert_allclose(got[row], expected, atol=1e-6)


def test_one_piece_of_one_side_is_masked():
    may = jnp.arange(V) > 5
    x, y = (
        jnp.array([[7, 3, 0], [3, 4, 0], [3, 0, 0]]),
        jnp.array([[9, 8, 4], [9, 3, 0], [4, 5, 0]]),
    )
    keys = jax.random.split(jax.random.key(0), 300)
    got = jax.jit(jax.vmap(lambda k: masking.mask_one(k, cl.PairBatch(x, y), may)))(keys)
    changed = jnp.stack([got.x != x, got.y != y])
    assert (changed.sum((0, 3)) == 1).all()
    assert (changed[0].any(2) == got.in_x).all()
    assert 0.4 < got.in_x[:, 0].mean() < 0.6
    assert set(got.word[:, 0].tolist()) == {7, 8, 9}  # never punctuation where there are words
    assert set(got.word[:, 1].tolist()) == {9}  # the side without a word is left alone
    assert set(got.word[:, 2].tolist()) == {3, 4, 5}  # neither side has one: any piece
    assert ((got.x == 2).any(2) == got.in_x).all() and ((got.y == 2).any(2) == ~got.in_x).all()


@pytest.mark.parametrize("task", ["smlm", "xtr", "ugt"])
def test_what_is_predicted_from_what(task):
    """Logits that know the answer make the loss minimal."""
    batch = cl.PairBatch(jnp.array([[5, 6]]), jnp.array([[7, 8]]))
    loss = obj.crosslingual(lambda p, ids, train, rngs: (p["s"], p["z"]), 10, (task,))
    key = jax.random.key(3)
    params = {"s": jnp.zeros((2, 2)), "z": jnp.zeros((2, 10))}  # both sides, one batch
    value, terms = loss(params, batch, key)
    x, y, q_x, q_y = masking.task_of(
        [task], jax.random.split(key, 3)[0], batch, jnp.arange(10) > 2, 10
    )
    entropy = -sum((q * jnp.log(jnp.where(q > 0, q, 1))).sum() for q in (q_x, q_y))
    np.testing.assert_allclose(value, 2 * np.log(10) - entropy, rtol=1e-5)
    np.testing.assert_allclose(terms[task], value)
    assert q_x.sum() == 1 and q_y.sum() == 1
    if task == "xtr":
        assert q_x[0, 7] == q_x[0, 8] == q_y[0, 5] == 0.5
    if task == "smlm":
        assert (x == 2).sum() == (y == 2).sum() == 1 and q_x.max() == q_y.max() == 1


def test_pieces_are_dropped_by_chance_and_no_sentence_is_lost():
    ids = jnp.tile(jnp.array([[5, 6, 7, 0], [9, 0, 0, 0]]), (1000, 1))
    kept = np.asarray(cl.drop_pieces(jax.random.key(0), ids, 0.25))
    assert ((kept == ids) | (kept == 0)).all() and (kept.any(1)).all()
    long = kept[::2, :3] > 0  # of three pieces, all are left out with chance 1 / 64 and then kept
    expected = 0.75 + 0.25**3
    assert abs(long.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / long.size)
    np.testing.assert_array_equal(kept[1::2], ids[1::2])
    seen = []

    def apply(params, ids, train, rngs):
        seen.append(np.asarray(ids))
        return jnp.ones((4000, 2)), jnp.zeros((4000, 10))

    obj.crosslingual(apply, 10, "contrastive", drop=0.25)(
        {}, cl.PairBatch(ids, ids), jax.random.key(1)
    )
    shares = [(half[::2, :3] > 0).mean() for half in np.split(seen[0], 2)]
    np.testing.assert_allclose(shares, expected, atol=0.05)


def test_unknown_pieces_are_not_masked_unless_asked_for():
    batch = cl.PairBatch(jnp.array([[1, 5]] * 8), jnp.array([[1, 7]] * 8))
    seen = []

    def apply(params, ids, train, rngs):
        seen.append(np.asarray(ids))
        return jnp.zeros((16, 2)), jnp.zeros((16, 10))

    obj.crosslingual(apply, 10, "smlm")({}, batch, jax.random.key(0))
    obj.crosslingual(apply, 10, "smlm", maskable=np.arange(10) == 1)({}, batch, jax.random.key(0))
    np.testing.assert_array_equal(seen[0], [[1, 2]] * 16)
    np.testing.assert_array_equal(seen[1], [[2, 5]] * 8 + [[2, 7]] * 8)


def test_sides_of_different_lengths_are_padded():
    x, y = jnp.array([[5, 6, 7], [8, 9, 0]]), jnp.array([[4, 0], [7, 8]])
    params = jax.jit(MODEL.init)(jax.random.key(0), x)
    loss = jax.jit(obj.crosslingual(MODEL.apply, V, ("xtr", "align", "sim")))
    padded = cl.PairBatch(x, jnp.pad(y, ((0, 0), (0, 1))))
    got, expected = (loss(params, b, jax.random.key(1))[0] for b in (cl.PairBatch(x, y), padded))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_pairs_that_share_a_sentence_are_no_negatives():
    s, t = jax.random.normal(jax.random.key(0), (2, 3, 4))
    same = jnp.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    with_two = obj.contrastive(s[jnp.array([0, 2])], t[jnp.array([0, 2])])
    rows = -jax.nn.log_softmax(jnp.where(same & ~jnp.eye(3, dtype=bool), -1e9, 0.0))
    assert rows[0, 0] == pytest.approx(np.log(2), 1e-5)
    masked = obj.contrastive(s.at[1].set(s[0]), t.at[1].set(t[0]), same=same)
    assert np.isfinite(with_two) and np.isfinite(masked)
    assert masked < obj.contrastive(s.at[1].set(s[0]), t.at[1].set(t[0]))


def test_a_margin_is_taken_off_the_cosines_of_translations():
    s, t = np.asarray(jax.random.normal(jax.random.key(1), (2, 4, 3)), float)
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    scores = (unit(s) @ unit(t).T - 0.3 * np.eye(4)) / 0.1
    rows, columns = (np.log(np.exp(m).sum(1)) - np.diag(m) for m in (scores, scores.T))
    value = obj.contrastive(jnp.asarray(s), jnp.asarray(t), 0.1, margin=0.3)
    assert value == pytest.approx((rows.mean() + columns.mean()) / 2, 1e-5)
    with pytest.raises(ValueError, match="margin must be at least 0, got -1"):
        obj.contrastive(jnp.asarray(s), jnp.asarray(t), margin=-1)


def test_bad_input_is_named():
    apply = MODEL.apply
    with pytest.raises(ValueError, match=r"tasks must be among smlm.*got \('mlm',\)"):
        obj.crosslingual(apply, V, ("mlm",))
    with pytest.raises(ValueError, match="tasks must have at most one of smlm, xtr, ugt"):
        obj.crosslingual(apply, V, ("xtr", "ugt"))
    with pytest.raises(ValueError, match="tasks must be among"):
        obj.crosslingual(apply, V, ())
    with pytest.raises(ValueError, match=r"maskable must be bool \[V=40\]"):
        obj.crosslingual(apply, V, maskable=np.ones(3, bool))
    with pytest.raises(ValueError, match="align must be one of dot, cosine, got 'l2'"):
        obj.crosslingual(apply, V, align="l2")
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        obj.contrastive(jnp.ones((2, 2)), jnp.ones((2, 2)), 0)
    ids = jnp.ones((1, 3), jnp.int32)
    for bad, message in (
        (models.SharedEncoder(3), "vocab_size must be at least 4"),
        (models.SharedEncoder(V, 10), "width must be a positive multiple of num_heads=8, got 10"),
        (models.SharedEncoder(V, 8, max_len=2), "ids must have shape .b, L. with L <= max_len=2"),
        (models.SharedEncoder(V, 8, pooling="last"), "pooling must be one of mean, max, sum"),
        (models.BagEncoder(V, 0), "width must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(bad.init, jax.random.key(0), ids)


def test_a_tenth_is_dropped_in_training_as_in_the_paper():
    model = models.SharedEncoder(V, D, num_heads=HEADS, hidden=32, max_len=12)
    assert model.dropout == 0.1
    forward = jax.jit(model.apply, static_argnums=2)
    rngs = {"dropout": jax.random.key(1)}
    vectors, logits = forward(to_flax("p"), BATCH.x, True, rngs=rngs)
    assert np.isfinite(vectors).all() and np.isfinite(logits).all()
    assert (vectors != forward(to_flax("p"), BATCH.x, False)[0]).any()


def test_variants_of_the_encoder():
    """A projection is for contrast alone, and bags are added to the Transformer."""
    ids = BATCH.x[:, :5]
    model = MODEL.clone(projection=3, buckets=7)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ids)
    assert shapes["params"]["head"]["kernel"].shape == (D, 3)
    params = jax.tree.map(lambda leaf: 0.1 + jnp.arange(leaf.size).reshape(leaf.shape) % 3, shapes)
    params["params"] |= {k: v for k, v in to_flax("p")["params"].items() if k != "bag"}
    both, plain = (
        jax.jit(functools.partial(m.apply, method="sentence"))(w, ids)
        for m, w in ((model, params), (MODEL, to_flax("p")))
    )
    bag = models.BagEncoder(V, D, 7).apply({"params": params["params"]["bag"]}, ids)[0]
    np.testing.assert_allclose(both, plain + bag, atol=1e-5)
    assert model.apply(params, both, method="project").shape == (4, 3)
