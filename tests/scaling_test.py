"""Points of the scaling curves are measured once, and an interrupted run continues."""

import json

import numpy as np
import pytest

from benchmarks import scaling


@pytest.mark.slow
def test_the_small_form_runs_and_continues(tmp_path, monkeypatch):
    out = tmp_path / "points.jsonl"
    rows = scaling.measure(out, scaling.SMOKE)
    points = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(point["curve"], point["value"]) for point in points] == [
        (curve, value) for curve, (_, values) in scaling.SMOKE.items() for value in values
    ]
    assert all(point["seconds"] > 0 and point["forecast"] > 0 for point in points)
    monkeypatch.setattr(scaling, "_point", None)  # nothing is measured again
    assert scaling.measure(out, scaling.SMOKE) == rows


def test_known_points_give_rows_and_pictures(tmp_path, monkeypatch):
    out = tmp_path / "points.jsonl"
    monkeypatch.setattr(
        scaling, "_point", lambda curve, x: {"seconds": x**2, "bytes": x + 1, "forecast": x}
    )
    rows = scaling.measure(out)
    known = scaling._known(out)
    assert len(known) == sum(len(values) for _, values in scaling.CURVES.values())
    np.testing.assert_allclose([row["slope of the last two"] for row in rows], 2)
    scaling.draw(known, tmp_path)
    assert len(list(tmp_path.glob("scaling_*.png"))) == 5
