"""All methods for several numbers of clients, beside the paper's Table 1."""

from __future__ import annotations

from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.rep_sharing import methods
from experiments.rep_sharing.kinds import Comparison
from experiments.rep_sharing.training import Trained, count_bytes, load, make_model, train
from jcollab import plots

# MNIST, LeNet5, 100 rounds; one run each
PAPER = {
    ("CL", 1): 0.94,
    **{("FL", n): a for n, a in ((2, 0.9264), (5, 0.8679), (10, 0.7006))},
    **{("IL", n): a for n, a in ((2, 0.9146), (5, 0.8526), (10, 0.7286))},
    **{("FD", n): a for n, a in ((2, 0.9445), (5, 0.9055), (10, 0.7790))},
    **{("ours", n): a for n, a in ((2, 0.9419), (5, 0.9063), (10, 0.8207))},
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
        if config.dataset == "mnist":
            row["paper"] = PAPER.get((name, n))
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
        table = config.dataset == "mnist" and config.model == "lenet5"
        if table and n in LEAST:
            least, value = LEAST[n], ours["accuracy"]
            found.append(
                Claim(
                    f"N={n}: ours reaches the paper's accuracy but for noise",
                    f">= {least:g} (paper {PAPER['ours', n]:g})",
                    value,
                    bool(value >= least),
                )
            )
        if "IL" in by_name:
            least = GAINS.get(n, 0.0) if table else 0.0
            gain = ours["accuracy"] - by_name["IL"]["accuracy"]
            said = f">= {least:g}"
            if table:
                said += f" (paper {PAPER['ours', n] - PAPER['IL', n]:.3f})"
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
