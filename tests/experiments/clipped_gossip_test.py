"""The ClippedGossip experiments against the numbers of the original."""

import csv
import json

import numpy as np
import pytest

from experiments import contract
from experiments.__main__ import main
from experiments.clipped_gossip import _training, consensus
from experiments.clipped_gossip.dumbbell import split_by_clique
from tests import REFERENCE

FOLDER = REFERENCE / "clipped_gossip"


def test_consensus_table_of_the_original(tmp_path):
    """All stored cases; an error below 1e-8 is a difference of numbers near 100, to 1e-12."""
    assert main(["clipped_gossip", "consensus", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["results"]
    assert len(rows) == 265
    measured = {(row["defense"], row["delta_max"], row["beta"]): row for row in rows}
    with (FOLDER / "consensus_dissensus_scclip.csv").open() as file:
        stored = list(csv.DictReader(file))
    for case in stored:
        row = measured[case["defense"], float(case["delta_max"]), float(case["beta"])]
        for name in ("x2", "x3", "x4", "x5", "error_T1", "spectral_gap"):
            assert row[name] == pytest.approx(float(case[name]), rel=1e-12)
        for name in ("error_T10", "error_T100", "consensus_T10", "consensus_T100"):
            assert row[name] == pytest.approx(float(case[name]), rel=1e-9, abs=1e-16)
    # recorded for weighted rules: trimmed mean by beta = .12, and the median's largest error
    for delta, error in ((0.05, 0.0075), (0.1, 124.8), (0.2, 1e4), (0.4, 1e4)):
        assert measured["TM*", delta, 0.12]["error"] == pytest.approx(error, rel=1e-2)
    assert measured["Median*", 0.5, 0.12]["error"] == pytest.approx(6.2e7, rel=1e-2)


def test_labels_of_the_dumbbell():
    labels = np.random.default_rng(0).integers(0, 10, 400)
    parts = split_by_clique(labels, 6, seed=0)
    assert len(parts) == 6 and len(set(np.concatenate(parts))) == sum(map(len, parts))
    assert all((labels[part] < 5).all() for part in parts[:3])
    assert all((labels[part] >= 5).all() for part in parts[3:])
    assert sum(map(len, parts[:3])) == sum(map(len, parts[3:]))


def test_unknown_names_are_errors(tmp_path):
    with pytest.raises(ValueError, match="rule must be one of Gossip, SCClip"):
        _training.build_rule("Nonsense 3")
    with pytest.raises(ValueError, match="attack must be one of Dissensus"):
        _training.build_attack("Nonsense", "GM")
    for arguments in (["consensus", "--defenses", "X"], ["attacks", "--graph", "X", "--smoke"]):
        with pytest.raises(SystemExit) as status:  # the parser itself refuses values
            main(["clipped_gossip", *arguments, "--out", str(tmp_path)])
        assert status.value.code == 2
    assert contract.configure("clipped_gossip", "malicious_ring").rounds == 900
    assert consensus.chain_matrix(0.58, 0.3) is None
