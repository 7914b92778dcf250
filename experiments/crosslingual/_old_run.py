"""Which module runs a preset of the cross-lingual paper."""

from __future__ import annotations

from types import ModuleType

from experiments.crosslingual import federated, kinds, losses, messages, tatoeba, zero_shot

MODULES: dict[type, ModuleType] = {
    kinds.Losses: losses,
    kinds.Tatoeba: tatoeba,
    kinds.Topics: zero_shot,
    kinds.Gettext: messages,
    kinds.Federated: federated,
}
