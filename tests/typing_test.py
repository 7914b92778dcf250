"""mypy refuses parts of a wrong form, and accepts those of the right one."""

import re
import subprocess
import sys

import pytest

from tests import ROOT

PROGRAM = """
import jax.numpy as jnp
import optax

import jcollab as jc
from jcollab.core import Array, Metrics, PyTree, Receiver, Round, State, Wire


def right_loss(params: PyTree, batch: PyTree, key: Array) -> Array:
    return jnp.zeros(())


def four(params: PyTree, model_state: PyTree, batch: PyTree, key: Array) -> Array:
    return jnp.zeros(())


def three(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree, Metrics]:
    return jnp.zeros(()), (), {}


jc.centralized(right_loss, optax.sgd(0.1))
jc.centralized(jc.stateful(four), optax.sgd(0.1))
jc.centralized(four, optax.sgd(0.1))  # wrong
jc.centralized(three, optax.sgd(0.1))  # wrong


def right_rule(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
    return own


def without_context(own: PyTree, messages: PyTree, weights: Array) -> PyTree:
    return own


def of_a_mixer(own: PyTree, messages: PyTree, weights: Array, context: Round) -> PyTree:
    return own


rule = jc.aggregators.rule(right_rule)
jc.neighborhood(jc.topology.ring(4), rule)
jc.neighborhood(jc.topology.ring(4), right_rule)  # wrong
jc.aggregators.rule(without_context)  # wrong
jc.aggregators.rule(of_a_mixer)  # wrong


def right_attack(
    own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
) -> PyTree:
    return own


def keywords(
    own: PyTree, messages: PyTree, weights: Array, byzantine: Array, *, key: Array
) -> PyTree:
    return own


jc.channels.byzantine(right_attack, [0])
jc.channels.byzantine(keywords, [0])  # wrong


def right_mix(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
    return x, s


def keyword_mix(x: PyTree, s: PyTree, *, key: Array) -> tuple[PyTree, PyTree]:
    return x, s


jc.Mixer(lambda x: (), right_mix, lambda x: 0)
jc.Mixer(lambda x: (), keyword_mix, lambda x: 0)  # wrong


def right_init(params: PyTree, model_state: PyTree = ()) -> State:
    return State((), (), jnp.int32(0))


def with_key(key: Array, params: PyTree) -> State:
    return State((), (), jnp.int32(0))


def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
    return state, {}


jc.Algorithm(right_init, update)
jc.Algorithm(with_key, update)  # wrong


def right_serve(update: PyTree, server: PyTree, moved: PyTree) -> tuple[PyTree, PyTree]:
    return update, server


def short_serve(update: PyTree, server: PyTree) -> tuple[PyTree, PyTree]:
    return update, server


jc.local.ClientMethod(serve=right_serve)
jc.local.ClientMethod(serve=short_serve)  # wrong


def of_inputs(x: Array, key: Array) -> Array:
    return x


predict = jc.models.MLP(2).apply
jc.objectives.classification(predict, augment=jc.objectives.on_inputs(of_inputs))
jc.objectives.classification(predict, augment=of_inputs)  # wrong
"""


@pytest.mark.slow
def test_wrong_parts_are_errors(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    lines_with_errors = {int(line) for line in re.findall(r"program\.py:(\d+): error", printed)}
    lines = PROGRAM.splitlines()
    assert lines_with_errors == {
        i + 1 for i, line in enumerate(lines) if line.endswith("# wrong")
    }, printed
