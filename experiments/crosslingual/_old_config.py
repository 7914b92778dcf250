"""Presets of the cross-lingual experiments."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.crosslingual.kinds import Federated, Gettext, Losses, Tatoeba, Topics

TOY = {
    "corpus": "toy",
    "pieces": 120,
    "width": 8,
    "batch_size": 32,
    "epochs": 2,
    "max_len": 12,
    "num_seeds": 1,
}
SHARED = {"shared_width": 8, "heads": 2, "hidden": 8, "shared_batch": 32, "warmup": 4}
PRESETS = {
    "smoke": Preset(
        config=Losses(
            corpus="toy",
            pieces=200,
            width=32,
            batch_size=32,
            epochs=30,
            max_len=12,
            methods=("bag", "SMLM", "UGT", "UGT+ALIGN+SIM"),
            shared_width=32,
            heads=4,
            hidden=64,
            shared_batch=32,
            shared_epochs=30,
            warmup=20,
        ),
        about="243 sentences of a toy grammar: the losses of the shared encoder, and the bag",
        cost="1 minute on 2 cores, no download",
        expected="P@1 of held-out sentences well above chance with contrast",
        smoke=TOY | SHARED | {"shared_epochs": 1, "methods": ("bag", "UGT+ALIGN+SIM")},
    ),
    "multi30k": Preset(
        config=Losses(num_seeds=2, epochs=10, max_len=16, shared_batch=64, shared_epochs=2),
        about="Multi30k en-de: SMLM, XTR, UGT, +ALIGN, +SIM and the bag; P@1 on test_2016",
        cost="12 minutes on 2 cores (the bag alone: 10 s), Multi30k in DIR",
        expected="P@1: bag .97, XTR .11, UGT .07, UGT+ALIGN .90, UGT+SIM .01, all .89",
        smoke=TOY | SHARED | {"shared_epochs": 1, "methods": ("bag", "UGT+ALIGN+SIM")},
    ),
    "tatoeba": Preset(
        config=Tatoeba(max_len=20),
        about="Tatoeba en-de and en-fr at once, LASER's test sets, also among 150,000 keys",
        cost="7 minutes on 2 cores, Tatoeba's pairs and LASER's sets in DIR",
        expected="P@1 by cosine .97 (de) and .94 (fr), with hubs counted less .98 and .95",
        smoke=TOY | {"best_pieces": 150, "best_width": 8, "best_batch": 32, "best_epochs": 2},
    ),
    "topics": Preset(
        config=Topics(epochs=4, max_len=16),
        about="SIB-200: topics learnt in English, judged in German and French",
        cost="2 minutes on 2 cores, Tatoeba's pairs and SIB-200 in DIR",
        expected="accuracy .45 (de) and .46 (fr), largest class .25",
        smoke=TOY,
    ),
    "gettext": Preset(
        config=Gettext(epochs=6, max_len=20),
        about="message catalogs of this system as a corpus: P@1 of held-out messages",
        cost="2 minutes on 2 cores, no download; catalogs must be installed",
        expected="P@1 of 1,000 held-out messages .97",
        smoke=TOY | {"held_out": 40},
    ),
    "federated": Preset(
        config=Federated(batch_size=256, epochs=8, max_len=20),
        about="Multi30k: clients with en-de, en-fr, en-cs share one encoder; de-fr is never seen",
        cost="1 minute on 2 cores, Multi30k in DIR",
        expected="sharing finds translations between languages that no client pairs",
        smoke=TOY | {"languages": ("de", "fr")},
    ),
}
