"""Folders of runs that tests of the report write, and pages of them."""

import base64
import json

import numpy as np

from experiments import report

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
SCORES = {"gossip": (0.6, 0.7), "relay": (0.8, 0.9)}  # mean accuracy for each learning rate
RATES, SEEDS, ROUNDS = (0.1, 0.3), (0, 1, 2), (0, 10, 20)
STRANGE = "</script><script>window.broken = 1</script><!-- & \"quoted\" 'x'"


def write_run(folder, *, chosen=True, graphs=True, seeds=SEEDS, claim="worst client", **config):
    """Writes the folder of a run with two trainings of two settings each."""
    folder.mkdir(parents=True)
    lines = []
    for name, scores in SCORES.items():
        tags = {"algorithm": name, "topology": "chain", "alpha": 0.1}
        replicas = [(rate, seed) for rate in RATES for seed in seeds]
        tags["learning_rate"] = [float(np.float32(rate)) for rate, _ in replicas]
        tags["seed"] = [seed for _, seed in replicas]
        for at in ROUNDS:
            values = [scores[RATES.index(rate)] * at / 20 + 0.01 * s for rate, s in replicas]
            clients = [[value, value / 2, value / 4] for value in values]
            metrics = {"test_mean_accuracy": values, "test_client_accuracy": clients}
            lines.append({**tags, "round": at, **metrics, "loss": [1 - v for v in values]})
        if chosen:
            lines.append({**tags, "chosen": {"learning_rate": 0.3}, "scores": list(scores)})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if graphs:
        graph = {"edges": [[0, 1], [1, 2]], "positions": [[0, 0], [1, 0], [2, 0.5]]}
        (folder / "graphs.json").write_text(json.dumps({"chain": graph}))
    rows = [
        {"algorithm": name, "mean_accuracy": scores[1], "steps": steps, "note": note}
        for (name, scores), steps, note in zip(
            SCORES.items(), (9, 100), (STRANGE, None), strict=True
        )
    ]
    summary = {
        "experiment": "toy",
        "preset": "quick",
        "config": {"n": 3, "rounds": 20, "rates": list(RATES), **config},
        "versions": {"jax": "0.7", "platform": "here"},
        "results": rows,
        "claims": [
            {"claim": claim, "expected": ">= 0.9", "measured": 0.8999999999, "holds": False},
            {"claim": "ahead", "expected": "> 0", "measured": 0.2, "holds": True},
        ],
        "interrupted": False,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "accuracy.png").write_bytes(PIXEL)
    return folder


def make_page(tmp_path, *arguments):
    return report.main([str(tmp_path), "--out", str(tmp_path / "pages/page.html"), *arguments])


def write_log(tmp_path, *lines):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path
