import jax

from jcollab import layout


def test_client_keys_belong_to_the_client():
    few, many = (layout.client_keys(jax.random.key(0), n) for n in (3, 9))
    assert (jax.random.key_data(few) == jax.random.key_data(many)[:3]).all()
