"""All methods for several numbers of clients, beside the paper's Table 1."""

from __future__ import annotations

from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.rep_sharing import methods
from experiments.rep_sharing.kinds import Comparison
from experiments.rep_sharing.training import Trained, count_bytes, load, make_model, train
from jcollab import plots

SIZES = (2, 5, 10)
# Table 1, one run each: accuracy for N = 2, 5, 10, and of centralised learning
PAPER = {
    ("mnist", "lenet5"): {
        "CL": (0.9400,),
        "FL": (0.9264, 0.8679, 0.7006),
        "IL": (0.9146, 0.8526, 0.7286),
        "FD": (0.9445, 0.9055, 0.7790),
        "ours": (0.9419, 0.9063, 0.8207),
    },
    ("fashion_mnist", "resnet9"): {
        "CL": (0.8777,),
        "FL": (0.8979, 0.8928, 0.8821),
        "IL": (0.8604, 0.8361, 0.8052),
        "FD": (0.8717, 0.8332, 0.7944),
        "ours": (0.8791, 0.8444, 0.8077),
    },
    ("cifar10", "resnet18"): {
        "CL": (0.6615,),
        "FL": (0.6799, 0.5918, 0.5105),
        "IL": (0.5985, 0.4646, 0.3851),
        "FD": (0.5675, 0.4491, 0.3143),
        "ours": (0.6349, 0.4728, 0.3778),
    },
}
LEAST = {5: 0.89, 10: 0.79}  # of ours on MNIST
GAINS = {5: 0.03, 10: 0.05}


def run(config: Comparison, context: Context) -> list[Row]:
    """Trains every method for every number of clients."""
    data, model = load(config), make_model(config)
    size = count_bytes(model, data[0].x)
    rows: list[Row] = []
    curves: dict[int, dict[str, Trained]] = {n: {} for n in config.clients}
    for name, n in _runs(config):
        options = methods.parts(name, config, n)
        done = train(
            config,
            context,
            data,
            [(model, n)],
            lambda groups, own, options=options: methods.build(groups, config, options),
            name,
            same_start="model_mixer" in options,
        )
        up, down = methods.traffic(options, config, n, size)
        row: Row = {
            "method": name,
            "clients": n,
            "accuracy": done.accuracy.mean(),
            "std_of_seeds": done.accuracy.mean(1).std(),
            "std_of_clients": done.accuracy.std(1).mean(),
            "bytes_up": up,
            "bytes_down": down,
        }
        if (config.dataset, config.model) in PAPER:
            row["paper"] = published(config, name, n)
        rows.append(row)
        for count in curves if n == 1 else [n]:
            curves[count][name] = done
        if done.interrupted:
            context.stop.set()
            return rows
    context.save(_figure(config, curves), "accuracy")
    return rows


def claims(config: Comparison, rows: list[Row]) -> list[Claim]:
    """What the paper says of sharing, and its own numbers where they are for the same model."""
    found: list[Claim] = []
    for n in config.clients:
        by_name = {row["method"]: row for row in rows if row["clients"] == n}
        if "ours" not in by_name:
            continue
        ours = by_name["ours"]
        table = (config.dataset, config.model) == ("mnist", "lenet5")
        paper = published(config, "ours", n)
        if table and n in LEAST:
            least, value = LEAST[n], ours["accuracy"]
            found.append(
                Claim(
                    f"N={n}: ours reaches the paper's accuracy but for noise",
                    f">= {least:g} (paper {paper:g})",
                    value,
                    bool(value >= least),
                )
            )
        if "IL" in by_name:
            least = GAINS.get(n, 0.0) if table else 0.0
            gain = ours["accuracy"] - by_name["IL"]["accuracy"]
            said = f">= {least:g}"
            if paper is not None:
                said += f" (paper {paper - published(config, 'IL', n):.3f})"
            found.append(
                Claim(f"N={n}: gain over independent", said, gain, bool(gain >= max(least, 1e-9)))
            )
        if table and "IL" in by_name:
            spread, alone = ours["std_of_clients"], by_name["IL"]["std_of_clients"]
            found.append(
                Claim(
                    f"N={n}: clients differ less than independent ones",
                    f"< {alone:.4f}",
                    spread,
                    bool(spread < alone),
                )
            )
        if table and "FD" in by_name and n == 10:
            gain = ours["accuracy"] - by_name["FD"]["accuracy"]
            found.append(
                Claim(f"N={n}: not below federated distillation", ">= 0", gain, bool(gain >= 0))
            )
        if "FL" in by_name:
            ratio = by_name["FL"]["bytes_up"] / ours["bytes_up"]
            found.append(
                Claim(f"N={n}: sends less than FedAvg", "> 1 times", ratio, bool(ratio > 1))
            )
    return found


def published(config: Comparison, method: str, n: int) -> float | None:
    """The paper's accuracy, None where it has none for this method, model and number of clients."""
    row = PAPER.get((config.dataset, config.model), {}).get(method)
    if row is None or n not in (1, *SIZES):
        return None
    return row[0] if n == 1 else row[SIZES.index(n)]


def _runs(config: Comparison) -> list[tuple[str, int]]:
    """Centralised learning once, everything else for each number of clients."""
    alone = [("CL", 1)] if "CL" in config.methods else []
    return alone + [(m, n) for n in config.clients for m in config.methods if m != "CL"]


@plots.style()
def _figure(config: Comparison, curves: dict[int, dict[str, Trained]]) -> Any:
    fig = plots.figure(figsize=(4.6 * len(curves), 4.2))
    axes = fig.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, (n, by_name) in zip(axes, curves.items(), strict=True):
        for i, (name, done) in enumerate(by_name.items()):
            color = plots.COLORS[i % len(plots.COLORS)]
            dash = plots.DASHES[i // len(plots.COLORS)]
            values = 100 * done.clients.mean(-1).T
            plots.band(ax, done.rounds, values, color=color, label=name, linestyle=dash)
        ax.set(title=f"{config.dataset}, {n} clients", xlabel="rounds")
    axes[0].set_ylabel("test accuracy, mean over clients [%]")
    axes[-1].legend(fontsize=9, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return fig
