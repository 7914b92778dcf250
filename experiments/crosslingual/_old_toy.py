"""Sentences of a small grammar in three languages, for trials without any data."""

from __future__ import annotations

import itertools

import numpy as np

LANGUAGES = ("en", "de", "fr")
# topic: subjects, verbs and objects, each in English, German and French
WORDS = {
    "animals": (
        "the cat/die Katze/le chat, the dog/der Hund/le chien, a bird/ein Vogel/un oiseau",
        "sees/sieht/voit, follows/verfolgt/poursuit, likes/mag/aime",
        "a mouse/eine Maus/une souris, the horse/das Pferd/le cheval, fish/Fische/des poissons",
    ),
    "kitchen": (
        "my mother/meine Mutter/ma mère, the cook/der Koch/le cuisinier, she/sie/elle",
        "cooks/kocht/prépare, eats/isst/mange, buys/kauft/achète",
        "the soup/die Suppe/la soupe, bread/Brot/du pain, an apple/einen Apfel/une pomme",
    ),
    "travel": (
        "the traveller/der Reisende/le voyageur, we/wir/nous, they/sie alle/ils",
        "visit/besuchen/visitent, leave/verlassen/quittent, reach/erreichen/atteignent",
        "the town/die Stadt/la ville, Paris/Paris/Paris, an island/eine Insel/une île",
    ),
}
TIMES = "today/heute/aujourd'hui, in summer/im Sommer/en été, every day/jeden Tag/chaque jour"


def sentences(seed: int = 0) -> dict[str, list[str]]:
    """243 sentences by language, in the same order, with their topics as ``"topic"``."""
    rows = []
    for topic, parts in WORDS.items():
        options = [[w.split("/") for w in part.split(", ")] for part in (*parts, TIMES)]
        for chosen in itertools.product(*options):
            texts = [" ".join(words) + "." for words in zip(*chosen, strict=True)]
            rows.append((*texts, topic))
    order = np.random.default_rng(seed).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    return dict(zip((*LANGUAGES, "topic"), map(list, columns), strict=True))
