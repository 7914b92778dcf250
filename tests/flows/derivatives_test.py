"""Every flow has forward-mode derivatives and Hessian-vector products on a CPU."""

import jax.numpy as jnp
import pytest

from tests.derivatives import check_derivatives
from tests.flows.small import FLOWS, KEY, make


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FLOWS, "coupling"])
def test_forward_mode_equals_reverse_mode(name, x64):
    flow, params, x, condition = make(name, shape=(2, 4, 4, 1), dtype=jnp.float64)
    noise = None if flow.noise is None else flow.noise(KEY, x)

    def there_and_back(params, x, z):
        return (
            flow.encode(params, x, noise, condition),
            flow.decode(params, z, noise, condition),
        )

    check_derivatives(there_and_back, params, x, 0.5 - x, rtol=1e-7)
