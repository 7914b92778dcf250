"""Every number of the public interface that is no shape can be traced, and with that swept."""

import inspect
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from tests.traced.table import CASES, name_of
from tests.traced.uses import RING, SGD, loss, trained

# parameters of these names are data, parts or settings of other kinds
NO_NUMBERS = {
    "algorithm", "arguments", "arrivals", "ax", "batch", "byzantine", "cache", "client", "clients",
    "color",
    "compiled", "condition", "curve", "data_dir", "dtype", "edges", "encoder", "figsize", "flow",
    "frame", "grid", "honest", "hosts", "in_axes", "inside", "keys", "kwargs", "learners",
    "logits", "mask",
    "maskable", "model", "names", "nodes", "options", "outside", "owners", "p", "params", "parts",
    "positions", "progress", "q", "queries", "receivers", "result", "samples", "schedule", "share",
    "shared", "source",
    "sizes", "state", "tests", "tokenizer", "train", "values", "vectors", "x", "y",
}  # fmt: skip
# integers that say how large, how many or how long, or which graph or random numbers are meant
SHAPES = {
    "allocated", "batch_size", "blocks", "buckets", "byzantine", "bytes_each", "chosen", "chunk",
    "clique", "columns", "count", "d", "degree", "dimension", "epoch_rounds", "epochs",
    "eval_every",
    "gray_levels", "group", "group_size", "height", "hidden", "honest", "inner", "iterations", "k",
    "large", "latents", "layer", "levels", "local_steps", "lowest", "m", "max_bytes", "max_len",
    "max_length", "max_size", "max_steps", "max_tokens", "max_words", "maximum", "min_count",
    "min_frequency",
    "min_inputs", "most_sentences", "n", "negatives", "neighbors", "num", "num_arrivals",
    "num_classes", "num_clients", "num_devices", "num_epochs", "num_examples", "num_features",
    "num_heads", "num_layers", "num_nodes", "num_observations", "num_processes", "num_rounds",
    "num_rows", "num_sampled", "num_samples", "num_steps",
    "num_threads", "padding", "personal_steps", "power",
    "probes",
    "process_id",
    "random_edges", "releases_per_round", "repeats", "root", "rounds", "rows", "rows_per_client",
    "samples_per_class", "seed", "seeds", "shards_per_client", "size", "slots", "small", "steps",
    "timeout", "trim", "vocab_size", "width", "window",
}  # fmt: skip
# what is computed on the host: by NumPy in float64, networkx or scikit-learn
HOST = (
    "data.partitions.",
    "data.splits.",
    "data.synthetic.quadratics.random_quadratics",
    "plots.",
    "privacy.class_means.epsilon",
    "text.batches.client_texts",
    "text.evaluation.classify_sentences",
    "text.vocabulary.",
    "theory.averaging.stein.james_stein_benefit",
    "theory.noise_scale.constants.fit",
    "theory.noise_scale.suggestions.suggest_batch_size",
    "theory.second_moments.",
    "theory.wall_clock.",
    "topology.byzantine.byzantine_weight",
    "topology.byzantine.delta_max",
    "topology.byzantine.honest_matrix",
    "topology.families.small_world",
    "topology.graph.as_topology",
    "topology.weights.check_mixing_matrix",
)


def public():
    """The functions of all public namespaces, by name."""
    builders, spaces = {}, [jc]
    while spaces:
        space = spaces.pop()
        names = getattr(space, "__all__", None)
        if names is None:
            own = vars(space).items()
            names = [k for k, v in own if getattr(v, "__module__", 0) == space.__name__]
        for name in names:
            value = getattr(space, name)
            if isinstance(value, types.ModuleType) and value.__name__.startswith("jcollab"):
                spaces.append(value)
            elif inspect.isfunction(value) and not name.startswith("_"):
                builders[name_of(value)] = value
    return builders


def numbers(function):
    """Names of the parameters that may be numbers, integers apart."""
    floats, integers = [], []
    for parameter in inspect.signature(function).parameters.values():
        kind = str(parameter.annotation).replace(" | None", "")
        words = kind.replace("|", " ").replace("[", " ").replace(",", " ").replace("]", " ").split()
        if {"float", "Any", "Number", "Rate", "Chance"} & set(words) and "Callable" not in kind:
            floats.append(parameter.name)
        elif kind.startswith("int"):
            integers.append(parameter.name)
    return floats, integers


def test_every_number_of_a_public_function_has_a_case():
    """A new function with a number needs a line in tests/traced/table.py."""
    functions, missing = public(), []
    for name, function in functions.items():
        if name.startswith(HOST):
            continue
        floats, integers = numbers(function)
        for parameter in {*floats} - NO_NUMBERS | {*integers} - SHAPES:
            if f"{name} {parameter}" not in CASES:
                missing.append(f"{name} {parameter}")
    assert not missing
    known = {
        f"{name} {p}" for name, f in functions.items() for p in inspect.signature(f).parameters
    }
    assert len(functions) > 250 and CASES.keys() <= known


def stacked(values):
    return jax.tree.map(lambda *each: jnp.stack(each), *values)


def test_every_number_can_be_traced():
    failed = {}
    for name, (call, values) in CASES.items():
        try:
            jax.eval_shape(jax.vmap(call), stacked(values))
        except Exception as error:
            failed[name] = str(error)
    assert not failed


# functions of arrays, of which every element may have a number of its own
ELEMENTWISE = (
    "flows.ascent.",
    "flows.conditional_coupling.",
    "objectives.prototypes.",
    "objectives.word_vectors.",
    "theory.averaging.",
    "theory.noise_scale.",
    "data.synthetic.regression.regression_samples",
)


def test_an_array_in_place_of_a_number_is_named():
    """It would broadcast against parameters or clients, and train something else in silence."""
    accepted = {}
    for name, (call, values) in CASES.items():
        if np.ndim(values[0]) == 0 and not name.startswith(ELEMENTWISE):
            try:
                jax.eval_shape(call, np.array([values[0], values[-1]]))
                accepted[name] = "accepted"
            except (TypeError, ValueError) as error:
                if f"{name.split()[1]} must be" not in str(error):
                    accepted[name] = str(error)
    assert not accepted


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_sweep_equals_the_calls_one_by_one(name):
    call, values = CASES[name]
    swept = jax.jit(jax.vmap(call))(stacked(values))
    for i, value in enumerate(values):
        alone = jax.jit(lambda value=value: call(value))()
        own = jax.tree.map(lambda leaf, i=i: leaf[i], swept)
        chex.assert_trees_all_close(own, alone, rtol=2e-5, atol=2e-6)


def test_jc_sweep_of_a_number_that_used_to_decide_a_branch():
    def final(settings, key):
        params, log = trained(
            jc.decentralized(loss, SGD, jc.gossip(RING), mixing_weight=settings["weight"])
        )
        return {"loss": log["loss"], "first": params[0, 0]}

    table = jc.sweep(final, {"weight": [0.0, 0.4, 1.0]}, 1)
    for row in table.itertuples():
        alone = final({"weight": row.weight}, None)
        np.testing.assert_allclose([row.loss, row.first], list(alone.values()), rtol=1e-5)
