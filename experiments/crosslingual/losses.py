"""The losses of the shared encoder, separately and together, and a bag of embeddings.

Cross-lingual sentences, arXiv 2105.13856, the ablation of its losses on other data.

    python -m experiments crosslingual smoke

243 sentences of a toy grammar: the losses of the shared encoder, and the bag.
Cost: 1 minute on 2 cores, no download.
Expected: P@1 of held-out sentences well above chance with contrast.

    python -m experiments crosslingual multi30k

Multi30k en-de: SMLM, XTR, UGT, +ALIGN, +SIM and the bag; P@1 on test_2016.
Cost: 12 minutes on 2 cores (the bag alone: 10 s), Multi30k in --data DIR.
Expected: P@1: bag .97, XTR .11, UGT .07, UGT+ALIGN .90, UGT+SIM .01, all .89.
"""

import time
from typing import Annotated, Any

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above, at_least, averages
from experiments.crosslingual import _common as common
from experiments.fields import Bound, Count, Positive
from jcollab.text import pair_training

METHODS = ("bag", "SMLM", "XTR", "UGT", "UGT+ALIGN", "UGT+SIM", "UGT+ALIGN+SIM", "XTR+ALIGN (EMS)")
COMPARED = (
    ("UGT is better than SMLM alone", "UGT", "SMLM"),
    ("UGT is better than XTR alone", "UGT", "XTR"),
    ("ALIGN helps UGT", "UGT+ALIGN", "UGT"),
    ("SIM helps UGT", "UGT+SIM", "UGT"),
    ("all three losses are better than UGT alone", "UGT+ALIGN+SIM", "UGT"),
    ("SIM helps UGT and ALIGN", "UGT+ALIGN+SIM", "UGT+ALIGN"),
)


class Config(common.Config):
    """Losses, and the shared encoder."""

    languages: tuple[str, str] = ("en", "de")  # of the pairs
    methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = METHODS[:-1]
    # d of the shared encoder
    shared_width: Annotated[int, Bound(at_least=1, multiple_of="heads")] = 128
    heads: Count = 4  # of its attention
    hidden: Count = 256  # width of its feed-forward part
    shared_batch: Count = 128  # pairs in a batch of the shared encoder
    shared_epochs: Count = 4  # its passes
    shared_rate: Positive = 1e-3  # of its Adam (amsgrad); falls to a tenth after 3/4 of the passes
    warmup: Count = 200  # rounds of linear warm-up
    examples: int | None = None  # training pairs that are used, None for all


TOY = {"corpus": "toy", "pieces": 200, "width": 32, "batch_size": 32, "epochs": 30, "max_len": 12}
TOY |= {"shared_width": 32, "hidden": 64, "shared_batch": 32, "shared_epochs": 30, "warmup": 20}
PRESETS = {
    "smoke": Config(**TOY, methods=("bag", "SMLM", "UGT", "UGT+ALIGN+SIM")),
    "multi30k": Config(num_seeds=2, epochs=10, max_len=16, shared_batch=64, shared_epochs=2),
}
SMALL = common.SMALL | {"shared_width": 8, "heads": 2, "hidden": 8, "shared_batch": 32}
SMALL |= {"num_seeds": 1, "warmup": 4, "shared_epochs": 1, "methods": ("bag", "UGT+ALIGN+SIM")}
SMOKE = dict.fromkeys(PRESETS, SMALL)
# P@1 of every method
figures = common.bars("losses", "method", ("P@1", "P@1_back"))


def run(config: Config, context: Context) -> Rows:
    """Measures P@1 in both directions for every method and seed."""
    texts = common.captions(config, config.languages)
    train, test = (jc.text.Pairs(*map(part.get, config.languages)) for part in texts.values())
    words = jc.text.train_subwords([*train.source, *train.target], config.pieces)
    for method, seed in context.cases(config.methods, config.seeds):
        began, row = time.perf_counter(), {"method": method, "seed": seed}
        fit = common.bag if method == "bag" else shared
        there, back = jc.text.retrieval.retrieval(
            fit(context, row, config, train, seed, words), *test[:2]
        )
        row |= {"keys": len(test.target), "P@1": there, "P@1_back": back}
        row["seconds"] = time.perf_counter() - began
        yield row


def shared(context: Context, tags: Row, config: Config, pairs: Any, seed: int, words: Any) -> Any:
    """Trains the shared encoder with the losses of a method."""
    tasks, _, ems = tags["method"].lower().partition(" ")
    sizes = {"num_heads": config.heads, "hidden": config.hidden, "max_len": max(64, config.max_len)}
    # the later paper of the same authors (EMS): no masking, cosines after a projection
    sizes["projection"] = config.shared_width if ems else 0
    like = {"align": "cosine", "temperature": 0.1} if ems else {}
    model = jc.models.SharedEncoder(words.size, config.shared_width, **sizes)
    options = {"num_epochs": config.shared_epochs, "batch_size": config.shared_batch, "seed": seed}
    options["loss"] = pair_training.pair_loss(model, words, tuple(tasks.split("+")), **like)
    schedule = {"decay_from": 0.75 * config.shared_epochs, "warmup": config.warmup}
    schedule["epoch_rounds"] = max(len(pairs.source) // config.shared_batch, 1)
    options["optimizer"] = pair_training.released_optimizer(config.shared_rate, **schedule)
    return common.train(context, tags, pairs, words, model, max_len=config.max_len, **options)


def claims(config: Config, rows: list[Row]) -> Claims:
    """The paper's statements about its losses, and a bound for the bag."""
    means = {line["method"]: (line["P@1"], line["P@1_back"]) for line in averages(rows, "method")}
    if "bag" in means:
        claim = "the bag finds translations in both directions"
        yield at_least(claim, min(means["bag"]), 0.95, note="P@1")
    for claim, better, worse in COMPARED:
        if better in means and worse in means:
            gain = (sum(means[better]) - sum(means[worse])) / 2
            yield above(claim, gain, 0, note="difference of P@1")
