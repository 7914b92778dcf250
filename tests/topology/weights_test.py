import pytest

from jcollab import topology as tp


def test_spectral_gap_of_a_large_graph_needs_no_dense_matrix():
    n = 2000 + 6
    gap = tp.spectral_gap(tp.hypercube(4096))
    assert gap == pytest.approx(1 - (12 + 1 - 2) / 13, abs=1e-9)  # eigenvalues (13 - 2k) / 13
    assert 0 < tp.spectral_gap(tp.exponential(n)) < 1
