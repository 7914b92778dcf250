"""Two latent groups of clients that disagree about some labels: how much should they share?

Optimal model averaging, arXiv 2110.12946, a question of this repository.

    python -m experiments optimal_averaging models

Two latent groups of clients that disagree about labels: digits, 13 methods.
Cost: 1 minute on 2 cores; --dataset mnist in 3.
Expected: the right level of collaboration beats both extremes for both groups.
"""

import itertools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, above, at_least, below, columns
from experiments.fields import EMPTY, Bound, Count, Natural, NonNegative, Plural, Positive, Settings
from experiments.training import replicated, train_replicas
from jcollab import plots
from jcollab.theory import averaging

Dataset = jc.data.Dataset
# methods that average models trained alone, and methods that train together
AVERAGED = ("local", "global", "oracle", "oracle groups", "plug-in", "plug-in shared", "pre-test")
TRAINED = ("FedAvg", "FedAvg + tuning", "Ditto", "APFL", "APFL adaptive", "plug-in updates")
SCATTERED = ("global", "plug-in", "oracle", "FedAvg + tuning")
SUMMARY = ("accuracy", "majority", "minority", "worst_client", "losers", "weight", "spread")
GROUPS = {"majority": plots.COLORS[0], "minority": plots.COLORS[1]}


class Config(Settings):
    """Two groups of clients; all methods train with the same SGD."""

    dataset: str = "digits"  # or "mnist" or another TFDS image set
    n: Annotated[int, Bound(at_least=3)] = 20
    minority: Annotated[int, Bound(at_least=1, below="n")] = 6  # clients of the second group
    # numbers of classes whose labels the second group permutes
    shifted: tuple[Annotated[int, Bound(at_least=0, at_most=10)], ...] = (0, 3, 6)
    examples: Count = 1400  # of all clients together
    # examples of the largest client over those of the smallest
    imbalance: Annotated[float, Bound(at_least=1)] = 8.0
    hidden: Natural = 0  # width of the MLP; 0 for a linear model
    # methods in addition to the averages of trained models
    trained: Annotated[tuple[Annotated[str, Bound(among=TRAINED)], ...], EMPTY] = TRAINED
    learning_rate: Positive = 0.2
    weight_decay: NonNegative = 1e-3
    rounds: Count = 400  # local steps
    period: Count = 10  # local steps between two averages of FedAvg, Ditto and APFL
    tuning: Count = 40  # local steps of fine-tuning after FedAvg
    attraction: NonNegative = 0.3  # lambda of Ditto
    weight_rate: NonNegative = 0.01  # eta of adaptive APFL's weights, which start at 0.5
    batch_size: Count = 32  # examples per client and step
    num_weights: Plural = 21  # points of the grid of weights in [0, 1]
    num_seeds: Count = 3
    seed: int = 0

    def _check(self) -> None:
        if 1 in self.shifted:
            raise ValueError(f"shifted must not be 1, since labels are traded, got {self.shifted}")


PRESETS = {"models": Config()}
SMALL = {"n": 5, "minority": 2, "shifted": (3,), "examples": 200, "rounds": 6, "period": 2}
SMOKE = {"models": SMALL | {"tuning": 2, "num_weights": 3, "trained": ("APFL",), "num_seeds": 1}}


class Groups(NamedTuple):
    """The data of all clients."""

    train: Dataset  # labels of the client's group
    parts: list[np.ndarray]  # examples of each client
    minority: np.ndarray  # bool ``[n]``
    labels: np.ndarray  # test labels of each group, int ``[2, N]``

    @property
    def sizes(self) -> np.ndarray:
        """Numbers of examples ``[n]``."""
        return np.array([len(part) for part in self.parts])


class Outcome(NamedTuple):
    """Results of the methods on some groups."""

    groups: Groups
    accuracy: dict[str, np.ndarray]  # of each client by method
    weight: dict[str, np.ndarray]  # weight of the others, by method
    levels: list[np.ndarray]  # accuracies for each common weight


def make_groups(config: Config, train: Dataset, test: Dataset, shifted: int, seed: int) -> Groups:
    """Deals examples in unequal parts and permutes the second group's labels."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(train.y))[: config.examples]
    x, y = np.asarray(train.x)[chosen], np.array(train.y)[chosen]
    fractions = rng.permutation(np.geomspace(1, config.imbalance, config.n))
    parts = jc.data.by_size(len(y), fractions, seed=seed)
    if (smallest := min(map(len, parts))) < 2:
        raise ValueError(
            f"examples must give each client at least 2, got {smallest} from {config.examples}; "
            "increase examples or reduce imbalance"
        )
    minority = np.zeros(config.n, bool)
    minority[rng.permutation(config.n)[: config.minority]] = True
    names = np.arange(10)
    classes = rng.permutation(10)[:shifted]
    names[classes] = np.roll(classes, 1)
    for part in itertools.compress(parts, minority):
        y[part] = names[y[part]]
    return Groups(Dataset(x, y), parts, minority, np.stack([test.y, names[test.y]]))


def run(config: Config, context: Context) -> Rows:
    """Rows of kind ``method`` (means over seeds), ``level`` (a weight for all) and ``client``."""
    train, test = jc.data.load(config.dataset), jc.data.load(config.dataset, "test")
    seeds = config.seeds
    cases = list(itertools.product(config.shifted, seeds))
    groups = [make_groups(config, train, test, *case) for case in cases]
    model, x = jc.models.MLP(10, (config.hidden,) if config.hidden else ()), jnp.asarray(test.x)
    states = _train(config, context, groups, model, seeds)
    if context.stop.is_set():
        return

    def measure(params: Any, y: Any) -> tuple[Any, Any]:
        """Accuracy and loss of a model."""
        logits = model.apply(params, x)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return jnp.mean(jnp.argmax(logits, -1) == y), loss

    measure_all = jax.jit(jc.layout.per_client(measure))
    outcomes: dict[int, list[Outcome]] = {}
    for r, (shifted, _) in enumerate(cases):
        own = jax.tree.map(lambda leaf, r=r: leaf[r], states)
        outcomes.setdefault(shifted, []).append(_average(config, groups[r], own, measure_all))
    for shifted, own in outcomes.items():
        yield from ({"shifted": shifted} | row for row in _rows(config, own))


def _train(
    config: Config, context: Context, groups: list[Groups], model: Any, seeds: np.ndarray
) -> dict[str, jc.State]:
    """Trains all methods, with all groups side by side; last states, leaves ``[R, n, ...]``.

    "halves" contains two models of each client, trained alone on halves of its data.
    """
    loss = jc.objectives.classification(model.apply)
    decay = optax.add_decayed_weights(config.weight_decay)
    sgd = optax.chain(decay, optax.sgd(config.learning_rate))
    alone = jc.decentralized(loss, sgd, jc.identity())
    mean = jc.mix_every(config.period, jc.all_reduce())
    fedavg = jc.decentralized(loss, sgd, mean)
    updates = jc.personal_average(averaging.positive_part)
    algorithms: dict[str, jc.Algorithm] = {
        "halves": alone,
        "alone": alone,
        "FedAvg": fedavg,
        "FedAvg + tuning": jc.algorithms.fine_tuning(loss, sgd),
        "Ditto": jc.algorithms.ditto(fedavg, loss, sgd, attraction=config.attraction),
        "APFL": jc.algorithms.apfl(loss, sgd, mean),
        "APFL adaptive": jc.algorithms.apfl(loss, sgd, mean, weight_rate=config.weight_rate),
        "plug-in updates": jc.decentralized(loss, sgd, updates, mixing_weight=0.0),
    }
    examples = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(g.train for g in groups))

    def data(halves: int) -> jc.data.ClientData:
        """Concatenates the data of all runs; each run indexes its own examples."""
        parts = [
            half + r * len(group.train.y)
            for r, group in enumerate(groups)
            for part in group.parts
            for half in np.array_split(part, halves)
        ]
        flat = jc.data.by_client(examples, parts)
        indices, mask = (
            leaf.reshape(len(groups), -1, leaf.shape[1]) for leaf in (flat.indices, flat.mask)
        )
        return jc.data.ClientData(flat.examples, indices, mask)

    states: dict[str, jc.State] = {}
    first = ("FedAvg",) if "FedAvg + tuning" in config.trained else ()
    for name in context.cases(dict.fromkeys(("halves", "alone", *first, *config.trained))):
        algorithm, rounds, halves = algorithms[name], config.rounds, 1 + (name == "halves")

        begin: Any = replicated(model, halves * config.n, examples.x[:1])
        if name == "FedAvg + tuning":
            begin, rounds = jax.vmap(algorithm.init)(states["FedAvg"]), config.tuning
        done = train_replicas(
            context,
            lambda setting, algorithm=algorithm: algorithm,
            begin,
            jc.data.minibatches(data(halves), config.batch_size),
            rounds=rounds,
            settings={"shifted": config.shifted},
            tags={"algorithm": name},
        )
        states[name] = done.result.state
    return states


def _average(config: Config, groups: Groups, states: dict[str, jc.State], measure: Any) -> Outcome:
    """Averages models by each method, and measures accuracies; the oracle uses test losses."""
    sizes, models = groups.sizes, {name: jc.params_of(state) for name, state in states.items()}
    labels = jnp.asarray(groups.labels[groups.minority.astype(int)])

    def share(mixer: jc.Mixer) -> tuple[np.ndarray, np.ndarray, Any]:
        own, key = models["alone"], jax.random.key(0)
        mixed, state = mixer.update(own, mixer.init(own), jc.core.Round(key, jnp.int32(0)))
        return *jax.device_get(measure(mixed, labels)), state

    def personal(rule: Any, **options: Any) -> jc.Mixer:
        return jc.personal_average(rule, counts=sizes, **options)

    grid = np.linspace(0, 1, config.num_weights)
    levels, losses, _ = zip(*(share(personal(a)) for a in grid), strict=True)
    # the variance of a model: a quarter of the squared distance of models of two halves
    halves = (jax.tree.map(lambda leaf, i=i: leaf[i::2], models["halves"]) for i in (0, 1))
    variance = np.asarray(jax.vmap(averaging.squared_distance)(*halves)) / 4
    same = groups.minority[:, None] == groups.minority
    mixers = {
        "local": jc.identity(),
        "global": personal(averaging.pooled_weight(sizes, sizes.sum() - sizes)),
        "oracle": personal(grid[np.argmin(losses, 0)]),
        "oracle groups": jc.mixing.collaboration(
            same * sizes / (same * sizes).sum(1, keepdims=True)
        ),
        "plug-in": personal(averaging.positive_part, variance=variance),
        "plug-in shared": personal(
            averaging.shared_weight(averaging.positive_part), variance=variance
        ),
        "pre-test": personal(averaging.pre_test, variance=variance),
    }
    accuracy, weight = {}, {}
    for name, mixer in mixers.items():
        accuracy[name], _, state = share(mixer)
        if hasattr(state, "weight"):
            weight[name] = np.asarray(state.weight)
    for name in config.trained:
        accuracy[name], clients = np.asarray(measure(models[name], labels)[0]), states[name].clients
        if name.startswith("APFL"):
            weight[name] = np.asarray(clients.weight)
        if name == "plug-in updates":
            weight[name] = np.asarray(clients.mixer.weight)
    return Outcome(groups, accuracy, weight, levels)


def _by_group(values: np.ndarray, groups: Groups, ending: str = "") -> dict[str, float]:
    """Averages over the clients of each group."""
    return {
        f"{part}{ending}": float(values[groups.minority == (part == "minority")].mean())
        for part in GROUPS
    }


def _rows(config: Config, outcomes: list[Outcome]) -> Rows:
    def means(rows: list[Row]) -> Row:
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    for name in (*AVERAGED, *config.trained):
        seeds = []
        for groups, accuracies, weights, _ in outcomes:
            accuracy = accuracies[name]
            row = {"accuracy": accuracy.mean(), **_by_group(accuracy, groups)}
            losers = (accuracy < accuracies["local"]).sum()
            row |= {"worst_client": accuracy.min(), "losers": losers}
            if name in weights:
                row |= {"weight": weights[name].mean()}
                row |= _by_group(weights[name], groups, "_weight")
            seeds.append(row)
        spread = float(np.ptp([row["accuracy"] for row in seeds]))
        yield {"kind": "method", "method": name} | means(seeds) | {"spread": spread}
    for i, weight in enumerate(np.linspace(0, 1, config.num_weights)):
        level = means([_by_group(own.levels[i], own.groups) for own in outcomes])
        yield {"kind": "level", "weight": float(weight)} | level
    for (seed, own), i in itertools.product(enumerate(outcomes, config.seed), range(config.n)):
        client: Row = {"kind": "client", "seed": seed, "client": i}
        client |= {"minority": bool(own.groups.minority[i]), "examples": int(own.groups.sizes[i])}
        yield client | {name: float(values[i]) for name, values in own.accuracy.items()}


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns the rows of methods; the figures show clients and levels."""
    names = ("shifted", "method", *SUMMARY)
    return [{key: row.get(key) for key in names} for row in rows if row["kind"] == "method"]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The value of an individual level of collaboration."""
    by = {(row["shifted"], row["method"]): row for row in rows if row["kind"] == "method"}

    def margin(method: str, *others: str) -> float:
        best = {s: max(by[s, other]["accuracy"] for other in others) for s in config.shifted}
        return min(by[s, method]["accuracy"] - best[s] for s in config.shifted)

    claim = "the oracle's weights beat learning alone and the common mean (accuracy, least margin)"
    yield above(claim, margin("oracle", "local", "global"), 0)
    for rule in ("plug-in", "plug-in shared"):
        claim = f"the {rule} weights beat learning alone at every level (accuracy, least margin)"
        yield above(claim, margin(rule, "local"), 0)
    if most := max(config.shifted):
        minority = {name: by[most, name]["minority"] for name in AVERAGED}
        ending = f"the minority, {most} classes shifted (accuracy)"
        lost = minority["global"] - minority["local"]
        yield below(f"the common mean harms {ending}", lost, 0)
        gain = minority["plug-in"] - minority["local"]
        yield at_least(f"plug-in weights do not harm {ending}", gain, 0)
        for method, name in (("oracle", "oracle"), ("plug-in", "plug-in rule")):
            weights = [by[s, method]["weight"] for s in sorted(config.shifted)]
            falls = all(a > b for a, b in itertools.pairwise(weights))
            claim = f"the more classes are shifted, the less the {name} takes of others"
            yield Claim(claim, "falling", ", ".join(f"{w:.2f}" for w in weights), falls)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws accuracy of both groups against the weight, and of each client in one task."""
    by: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        by.setdefault((row["shifted"], row["kind"]), []).append(row)
    context.save(_levels(config, by), "levels")
    middle = config.shifted[len(config.shifted) // 2]
    context.save(_scatter(by[middle, "client"]), "clients")


def _levels(config: Config, by: dict[tuple[int, str], list[Row]]) -> Any:
    fig, panels = plots.row(len(config.shifted), 3.9, 4.2, 1.5)
    for ax, shifted in zip(panels, config.shifted, strict=True):
        levels = by[shifted, "level"]
        methods = {row["method"]: row for row in by[shifted, "method"]}
        for part, color in GROUPS.items():
            ax.plot(*columns(levels, f"weight {part}"), color=color, label=part)
            for method, marker, size in (("plug-in", "o", 9), ("oracle", "*", 14)):
                row = methods[method]
                style = {"ms": size, "color": color, "mec": "white", "zorder": 3}
                style["label"] = f"{part}, {method}"
                ax.plot(row[f"{part}_weight"], row[part], marker, **style)
        ax.set(title=f"{shifted} of 10 labels differ", xlim=(-0.02, 1.02))
        ax.set_xlabel("weight of the others $a$, same for all")
    panels[0].set_ylabel("mean test accuracy")
    panels[0].legend(fontsize=9)
    return fig


def _scatter(clients: list[Row]) -> Any:
    names = [name for name in SCATTERED if name in clients[0]]
    fig, panels = plots.row(len(names), 3.2, 3.9, 1)
    values = np.array([[row[name] for name in ("local", *names)] for row in clients])
    low, high = values.min() - 0.02, min(1.0, values.max() + 0.02)
    minority, sizes = columns(clients, "minority examples")
    for ax, name, after in zip(panels, names, values.T[1:], strict=True):
        ax.plot([low, high], [low, high], color="black", lw=1, ls=":")
        for part, color in GROUPS.items():
            own = minority == (part == "minority")
            style = {"color": color, "alpha": 0.7, "lw": 0, "label": part}
            ax.scatter(values[own, 0], after[own], 8 + 0.5 * sizes[own], **style)
        title = {"global": "common mean"}.get(name, name)
        ax.set(title=title, xlabel="accuracy alone", xlim=(low, high), ylim=(low, high))
        text = f"{np.mean(after > values[:, 0]):.0%} of clients gain"
        ax.text(0.97, 0.03, text, transform=ax.transAxes, ha="right", fontsize=9)
    panels[0].set_ylabel("accuracy after")
    style = {"fontsize": 9, "title": "size: examples", "title_fontsize": 8, "loc": (0.5, 0.13)}
    panels[names.index("oracle")].legend(**style)
    return fig
