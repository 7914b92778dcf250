"""Docstrings as the reference shows them: cross-references and examples in the forms it knows."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr):`~?([\w.]+)`")
# loaded at first use, and so no members of the package that its source shows
LAZY = {
    "jcollab.fit": "jcollab.training.fit",
    "jcollab.sweep": "jcollab.training.sweeps.sweep",
    "jcollab.text.dual_encoder": "jcollab.text.pair_training.dual_encoder",
}


class References(griffe.Extension):
    """Makes links of roles, sections of examples, and names what they are at run time."""

    def on_package(self, *, pkg: Any, **kwargs: Any) -> None:
        """Changes the package once all of it has been read."""
        if pkg.path != "jcollab":
            return
        rewrite(pkg)
        uncover(pkg, {})


def rewrite(obj: Any) -> None:
    """Turns roles into links, and the title of an example into what the parser knows."""
    if obj.docstring is not None:
        text = ROLE.sub(lambda match: link(match[1], obj), obj.docstring.value)
        obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
    for member in obj.members.values():
        if not member.is_alias:
            rewrite(member)


def link(name: str, obj: Any) -> str:
    """A link to what a docstring calls by this name, plain code where no page shows it."""
    full, scope = LAZY.get(name, name), obj
    while "." not in full and scope is not None:
        if name in scope.members and not scope.is_function:
            full = f"{scope.path}.{name}"
        scope = scope.parent
    return f'<autoref identifier="{full}" optional><code>{name}</code></autoref>'


def uncover(module: Any, meant: dict[str, Any]) -> None:
    """Where a package imports what is named like its file, the name is not that of the file."""
    for inner in list(module.modules.values()):
        if inner.is_alias:  # an imported module, which may import this one
            continue
        uncover(inner, meant)
        name = inner.name
        if module.imports.get(name) == f"{inner.path}.{name}":
            meant[inner.path] = inner.members[name]
            module.members[name] = griffe.Alias(name, meant[inner.path], parent=module)
    for name, path in module.imports.items():
        if path in meant:
            module.members[name] = griffe.Alias(name, meant[path], parent=module)
