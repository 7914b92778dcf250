import numpy as np
import pytest

import jcollab as jc


def test_values_of_clients():
    fig = jc.plots.by_client({"a": [0.1, 0.9, 0.5], "b": np.ones(4)}, name="accuracy")
    ordered, counts, fair = fig.axes
    assert ordered.lines[0].get_ydata().tolist() == [0.1, 0.5, 0.9]
    assert [text.get_text() for text in ordered.get_legend().get_texts()] == ["a", "b"]
    np.testing.assert_allclose(fair.collections[0].get_offsets(), [[0.5, 0.18]])
    assert len(counts.patches) == 2
    assert jc.plots.by_client({"one client": [0.5]}).axes[0].lines[0].get_xdata().tolist() == [0.5]


@pytest.mark.parametrize(
    "values, error, message",
    [
        ([0.5], TypeError, "values must be a mapping from methods, got list"),
        ({}, ValueError, "values must have at least one method, got none"),
        ({"a": [[0.5]]}, ValueError, r"values\['a'\] must be finite numbers \[n\]"),
        ({"a": [np.nan]}, ValueError, r"values\['a'\] must be finite numbers \[n\]"),
    ],
)
def test_wrong_values(values, error, message):
    with pytest.raises(error, match=message):
        jc.plots.by_client(values)
