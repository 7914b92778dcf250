"""The ClippedGossip experiments against the numbers of the original."""

import csv
import json

import numpy as np
import pytest

import jcollab as jc
from experiments import contract
from experiments.__main__ import main
from experiments.clipped_gossip import _training, attacks, consensus, theorem
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


def test_theorem_runs_the_algorithm_of_the_paper(x64):
    """Stationary errors on a ring against a direct loop over clients."""
    n, rate, delta, zeta, rounds = 5, 0.05, 0.1, 2.0, 40
    config = theorem.Config(families=("ring",), rings=(n,), learning_rate=rate, rounds=rounds)
    gap, (errors,) = theorem._errors(config, theorem.FAMILIES["ring"](n), [(delta, zeta)])
    matrix = (np.eye(n) + jc.topology.mixing_matrix(jc.topology.ring(n))) / 2
    np.testing.assert_allclose(gap, (1 - np.cos(2 * np.pi / n)) / 3, rtol=1e-12)
    values, vectors = np.linalg.eigh(matrix)
    targets = np.zeros((n, 2))
    targets[:, 0] = zeta * np.sqrt(n) * vectors[:, np.argsort(values)[-2]]

    def clip(v, radius):
        length = np.linalg.norm(v)
        return v * min(1, radius / length) if length > 0 else v

    def after(x, pull):
        own = x - rate * (x - targets)
        new = own.copy()
        for i in range(n):
            others = [j for j in range(n) if j != i and matrix[i, j] > 0]
            spread = sum(matrix[i, j] * np.sum((own[j] - own[i]) ** 2) for j in others)
            radius = np.sqrt(spread / delta)
            gossip = sum(matrix[i, j] * (own[j] - own[i]) for j in others)
            new[i] += sum(matrix[i, j] * clip(own[j] - own[i], radius) for j in others)
            new[i] += delta * clip(pull(gossip), radius)
        return new

    pulls = lambda gossip: np.array([0.0, theorem.FAR]), lambda gossip: -1.5 * gossip / delta
    for pull, error in zip(pulls, errors, strict=True):
        x, measured = np.zeros((n, 2)), []
        for _ in range(rounds):
            x = after(x, pull)
            measured.append(np.sum(x.mean(0) ** 2))
        expected = np.mean(measured[-rounds // 4 :])
        np.testing.assert_allclose(error, expected, rtol=1e-9, atol=1e-14)


def test_orders_of_a_power_law():
    rows = [
        {
            "family": "ring", "clients": n, "spectral_gap": gap, "delta": delta, "zeta": 1.0,
            "bound": delta / gap**2, "error": delta / gap,
        }
        for n, gap in ((4, 0.5), (6, 0.05), (8, 0.02))
        for delta in (0.001, 0.002)
    ]  # fmt: skip
    holds = [claim.holds for claim in theorem.claims(theorem.Config(), rows)]
    assert holds == [True, True, False, True]  # the order in 1 / gamma is 1 and not 2
    np.testing.assert_allclose(theorem.slope([1, 2, 4], [3, 12, 48]), 2, rtol=1e-12)


def test_claims_on_heterogeneous_data():
    config = attacks.Config(
        rules=("Gossip", "SCClip 0.1", "GM"), attacks=("none", "IPM"), alpha=0.1
    )
    accuracy = {"Gossip": (0.9, 0.1), "SCClip 0.1": (0.8, 0.8), "GM": (0.7, 0.9)}
    rows = [
        {"rule": rule, "attack": attack, "mean_accuracy": value}
        for rule, values in accuracy.items()
        for attack, value in zip(("none", "IPM"), values, strict=True)
    ]
    holds = [claim.holds for claim in attacks.claims(config, rows)]
    assert holds == [True, True, False, True, False]


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
