import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc


def test_an_mlp_takes_its_activation():
    x = jnp.array([[0.3, -2.0]])
    model = jc.models.MLP(2, (3,), jnp.tanh)
    params = model.init(jax.random.key(0), x)
    first, last = params["params"]["Dense_0"], params["params"]["Dense_1"]
    hidden = jnp.tanh(x @ first["kernel"] + first["bias"])
    expected = hidden @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=1e-6)
