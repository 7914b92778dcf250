import itertools

import pytest

from jcollab.models import VGG11
from tests.models.loops import count, shapes


def test_vgg11_has_the_layers_of_the_paper():
    params = shapes(VGG11(), 1, 32, 32, 3)["params"]
    channels = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    pairs = list(itertools.pairwise(channels))
    for i, (incoming, outgoing) in enumerate(pairs):
        assert params[f"Conv_{i}"]["kernel"].shape == (3, 3, incoming, outgoing)
    convolutions = sum(9 * a * b + b for a, b in pairs)
    linear = 2 * (512 * 512 + 512) + 512 * 10 + 10
    assert count(params) == convolutions + linear == 9_750_922
    # the traffic the paper logged for all-reduce: one model a step, 97 steps of 198 epochs, in MiB
    assert count(params) * 4 * 97 * 198 / 2**20 == pytest.approx(7.144e5, rel=1e-4)


def test_a_network_without_the_last_pooling_sees_images_of_half_the_size():
    """The parameters are those of the whole network on images of 32 x 32 pixels."""
    large, small = (
        shapes(VGG11(width=2), 1, 32, 32, 3),
        shapes(VGG11(width=2, poolings=4), 1, 16, 16, 3),
    )
    assert large == small
    wide = shapes(VGG11(width=2, poolings=4), 1, 32, 32, 3)["params"]
    assert wide["Dense_0"]["kernel"].shape == (4 * 16, 16)
