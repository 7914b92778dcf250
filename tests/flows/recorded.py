import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import flows
from jcollab.flows.torch_weights import to_dtype
from tests import REFERENCE

HERE = REFERENCE / "flows"
KEY = jax.random.key(0)
TAG = "mnistlike_L1K2"


def recorded(name):
    return dict(np.load(HERE / f"{name}.npz"))


def last(x, dtype=None):
    return jnp.asarray(np.moveaxis(x, 1, -1), dtype)


def first(x):
    return np.moveaxis(np.asarray(x), -1, 1)


@functools.cache
def recorded_problem(dtype=jnp.float32):
    """The recorded flow and classifier (convolution, ReLU, linear on channels first)."""
    flow = flows.glow(levels=1, steps=2, width=8)
    flow_params = to_dtype(flows.glow_from_torch(recorded(f"{TAG}_weights")), dtype)
    own = {name: jnp.asarray(value, dtype) for name, value in recorded(f"{TAG}_clf").items()}

    def predict(params, x):
        kernel = params["0.weight"].transpose(2, 3, 1, 0)
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.nn.relu(y + params["0.bias"])
        flat = jnp.moveaxis(y, -1, 1).reshape(len(x), -1)
        return flat @ params["3.weight"].T + params["3.bias"]

    io = recorded(f"{TAG}_io")
    return flow, flow_params, predict, own, last(io["x"], dtype), last(io["dequant_u"], dtype)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def predict(params, x):
    return x.reshape(len(x), -1) @ params
