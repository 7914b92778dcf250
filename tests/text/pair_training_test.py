"""Encoders in use: training on pairs, vectors of text, retrieval and transfer."""

import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from experiments.crosslingual import _common
from jcollab.text import pair_training, retrieval
from jcollab.training import Checkpoint, JsonLines

Pairs = jc.text.Pairs


@pytest.fixture(scope="module")
def trained():
    texts = _common.sentences()
    pairs = Pairs(texts["en"], texts["de"])
    words = jc.text.train_subwords(pairs.source + pairs.target, 200)
    encoder = jc.text.dual_encoder(
        pairs.take(range(60, 243)),
        words,
        jc.models.BagEncoder(words.size, 16),
        num_epochs=12,
        batch_size=32,
        max_len=12,
        group=8,
        listeners=(),
    )
    return encoder, pairs.take(range(60))


def test_translations_are_found(trained):
    encoder, test = trained
    there, back = retrieval.retrieval(encoder, *test[:2])
    assert min(there, back) > 0.7
    many, keys = retrieval.among_many(encoder, *test[:2], ["Das ist neu.", "Das ist neu.", "Gut."])
    assert keys == 62 and many > 0.7
    best = encoder.nearest(test.source[:3], test.target, k=2)
    cosines = encoder.similarity(test.source[:3], test.target)
    assert [row[0] for row in best] == [test.target[i] for i in cosines.argmax(1)]


def test_vectors_depend_on_the_sentence_alone(trained, tmp_path):
    encoder, test = trained
    texts = [*test.source[:20], "", "the cat " * 30, "日本"]
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32 and np.isfinite(vectors).all()
    np.testing.assert_allclose(encoder.encode(texts[::-1], batch_size=4)[::-1], vectors, atol=1e-5)
    encoder.save(tmp_path / "model")
    again = jc.text.sentences.SentenceEncoder.load(tmp_path / "model")
    np.testing.assert_array_equal(again.encode(texts), vectors)
    table = encoder.params["params"]["embedding"]
    ids = encoder.vocabulary.ids(texts[:1])[0]
    np.testing.assert_allclose(vectors[0], table[ids].mean(0), atol=1e-5)


def test_amsgrad_is_that_of_the_released_training(x64):
    """Step by step, as PyTorch writes it: Adam(lr, amsgrad=True, weight_decay) with a warm-up."""
    optimizer = pair_training.released_optimizer(
        1e-2, epoch_rounds=3, decay_from=2, warmup=4, weight_decay=0.1
    )
    rng = np.random.default_rng(0)
    x, m, v, largest = rng.normal(size=3), 0.0, 0.0, 0.0
    params = jnp.asarray(x)
    state = optimizer.init(params)
    for t in range(1, 9):
        gradient = rng.normal(size=3) / t**2
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        g = gradient + 0.1 * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        largest = np.maximum(largest, v)
        rate = 1e-2 * min(1, t / 4) * (0.1 if t > 6 else 1)
        denominator = np.sqrt(largest) / np.sqrt(1 - 0.999**t) + 1e-8
        x = x - rate / (1 - 0.9**t) * m / denominator
        np.testing.assert_allclose(params, x, rtol=1e-9)


def test_one_step_of_the_bag_equals_numpy(x64):
    """Gradient of the contrast of two pairs by differences."""
    x, y = np.array([[3, 4, 0], [5, 6, 7]]), np.array([[8, 0, 0], [9, 3, 0]])
    model = jc.models.BagEncoder(10, 3)
    table = np.random.default_rng(0).normal(size=(10, 3))

    def by_hand(w):
        s, t = (np.stack([w[[v for v in row if v]].mean(0) for row in side]) for side in (x, y))
        s, t = (u / np.linalg.norm(u, axis=1, keepdims=True) for u in (s, t))
        a = s @ t.T / 0.05
        both = [z - np.log(np.exp(z).sum(1, keepdims=True)) for z in (a, a.T)]
        return -sum(np.diag(z).mean() for z in both) / 2

    loss = jc.objectives.crosslingual(model.apply, 10, "contrastive")
    batch = jc.objectives.PairBatch(jnp.asarray(x, jnp.int32), jnp.asarray(y, jnp.int32))
    params = {"params": {"embedding": jnp.asarray(table), "bias": jnp.zeros(10)}}
    (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch, jax.random.key(0))
    np.testing.assert_allclose(value, by_hand(table), rtol=1e-9)
    for place in ((3, 0), (7, 2), (1, 1)):
        step = np.zeros_like(table)
        step[place] = 1e-6
        slope = (by_hand(table + step) - by_hand(table - step)) / 2e-6
        np.testing.assert_allclose(gradient["params"]["embedding"][place], slope, atol=1e-6)


def test_bad_input_is_named(trained, tmp_path):
    encoder, test = trained
    with pytest.raises(TypeError, match="texts must be a list of strings, got the string"):
        encoder.encode("hello")
    with pytest.raises(ValueError, match="texts must have at least one sentence, got none"):
        encoder.encode([])
    with pytest.raises(FileNotFoundError, match="folder must contain a saved encoder"):
        jc.text.sentences.SentenceEncoder.load(tmp_path)
    with pytest.raises(ValueError, match=r"k must be in 1..2, got 3"):
        retrieval.nearest(np.eye(2), np.eye(2), 3)
    with pytest.raises(ValueError, match="one d, got 2 and 3"):
        retrieval.nearest(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="vectors must be finite"):
        retrieval.unit([[np.nan]])
    with pytest.raises(ValueError, match="wanted and names must be as long as queries and keys"):
        retrieval.precision_at_1(np.eye(2), np.eye(2), "a", "ab")
    with pytest.raises(ValueError, match="labels must have at least two classes"):
        retrieval.zero_shot(np.eye(2), ["a", "a"], {})
    fit = {"vocabulary": encoder.vocabulary, "model": encoder.model, "listeners": ()}
    with pytest.raises(ValueError, match=r"batch_size must be in 1\.\.60, got 512"):
        jc.text.dual_encoder(test, **fit)
    with pytest.raises(ValueError, match="num_epochs must be at least 1, got 0"):
        jc.text.dual_encoder(test, **fit, num_epochs=0)
    with pytest.raises(ValueError, match=r"group must be in 1..N=3, got 4"):
        jc.text.neighbor_epoch(np.random.default_rng(0), np.eye(3), 2, 4)
    with pytest.raises(ValueError, match="parts must contain an example of each client"):
        jc.text.epochs(np.random.default_rng(0), [np.arange(0)], 1, 1)
    with pytest.raises(ValueError, match=r"b1 must be in \[0, 1\)"):
        jc.local.scale_by_raw_amsgrad(1.0)


def test_a_training_that_was_stopped_goes_on_to_the_same_encoder(trained, tmp_path):
    whole, test = trained
    options = {"num_epochs": 3, "batch_size": 16, "max_len": 12, "group": 8}

    def train(log, folder=None, **others):
        model = jc.models.BagEncoder(whole.vocabulary.size, 4)
        checkpoint = folder and Checkpoint(folder, 0)
        listeners = [JsonLines(tmp_path / log)]
        return jc.text.dual_encoder(
            test, whole.vocabulary, model, checkpoint=checkpoint, listeners=listeners,
            **options | others,
        )  # fmt: skip

    def leave(encoder):
        if len((tmp_path / "part").read_text().splitlines()) == 1:  # after the first pass
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    expected = train("whole", evaluate=lambda encoder: {})
    train("part", tmp_path / "run", evaluate=leave)
    rounds = [json.loads(line)["round"] for line in (tmp_path / "part").open()]
    assert rounds == [0, 3]
    result = train("part", tmp_path / "run")
    chex.assert_trees_all_equal(result.params, expected.params)
    assert (tmp_path / "part").read_text() == (tmp_path / "whole").read_text()
    with pytest.raises(ValueError, match="of another run: seed was 0, now it is 1"):
        train("part", tmp_path / "run", seed=1)
    assert (tmp_path / "part").read_text() == (tmp_path / "whole").read_text()  # nothing is lost
