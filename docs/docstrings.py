"""Docstrings as the reference shows them: cross-references and examples in the forms it knows."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr):`~?([\w.]+)`")
# loaded at first use, and so no members of the package that its source would tell
LAZY = {
    "jcollab.fit": "jcollab.training.fit",
    "jcollab.sweep": "jcollab.sweeps.sweep",
    "jcollab.dual_encoder": "jcollab.pair_training.dual_encoder",
    "jcollab.run_offloaded": "jcollab.host_memory.run_offloaded",
    "jcollab.offload": "jcollab.host_memory.offload",
}


class References(griffe.Extension):
    """Makes links of roles, and sections of examples."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrites the docstring of every object of the package."""
        if obj.docstring is None:
            return
        place = obj.path if obj.is_class or obj.is_module else obj.parent.path

        def link(match: re.Match[str]) -> str:
            name = match[1]
            full = LAZY.get(name, name) if "." in name else f"{place}.{name}"
            return f'<autoref identifier="{full}" optional><code>{name}</code></autoref>'

        text = ROLE.sub(link, obj.docstring.value)
        obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
