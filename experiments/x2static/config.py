"""Presets of the X2Static experiments."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.x2static.kinds import Ablations, Comparison, Federated

# synthetic text: every word is frequent, so that t is large
TINY = {
    "corpus": "synthetic",
    "tokens": 400,
    "min_count": 1,
    "threshold": 1.0,
    "bag_threshold": 1.0,
    "epochs": 1,
    "bag_epochs": 1,
    "batch_size": 64,
    "negatives": 2,
    "buckets": 20,
    "window": 2,
}
PRESETS = {
    "smoke": Preset(
        config=Comparison(
            corpus="synthetic",
            tokens=10_000,
            threshold=1e-2,
            bag_threshold=1e-2,
            epochs=5,
            bag_epochs=5,
            batch_size=256,
            negatives=5,
            shares=(0.5,),
            learning_rate=1e-2,
            bag_rate=1e-2,
            buckets=500,
        ),
        about="synthetic text about topics, a tiny teacher that knows them; all methods",
        cost="1 minute on 2 cores, no download",
        expected="X2Static tells topics apart",
        smoke=TINY
        | {"shares": (), "methods": ("X2Static paragraph", "sent2vec", "decontextualised")},
    ),
    "imdb": Preset(
        config=Comparison(),
        about="IMDB reviews, MiniLM as teacher: X2Static against CBOW, skip-gram, sent2vec and ASE",
        cost="15 minutes on 2 cores, --data DIR with corpus_en and wordsim",
        expected="X2Static above CBOW by .15 (SimLex-999) and .3 (MEN); ASE above both",
        smoke=TINY | {"shares": (), "methods": ("X2Static", "CBOW", "ASE")},
    ),
    "ablations": Preset(
        config=Ablations(),
        about="X2Static with another clip, N, t, rate, and kind of context",
        cost="5 minutes on 2 cores, --data DIR with corpus_en and wordsim",
        expected="reported as they are",
        smoke=TINY | {"clips": (), "negative_counts": (), "thresholds": (), "rates": ()},
    ),
    "federated": Preset(
        config=Federated(),
        about="4 clients with reviews of their own share word tables every 20 steps",
        cost="4 minutes on 2 cores, --data DIR with corpus_en and wordsim",
        expected="those who share are above those alone",
        smoke=TINY | {"clients": 2, "period": 2},
    ),
}
