"""The `__init__.py` of a generated package: where each op lives, and nothing loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from fusec.codegen.package import MARK

_TEXT = '''\
# {mark} {version}. Do not edit: change the specs and run `fusec build`.
"""Fused ops, one module per spec; an op is loaded when it is first asked for."""

from typing import TYPE_CHECKING

from fusec.runtime.package import serve

if TYPE_CHECKING:
{imports}

__all__ = [
{names}
]

serve(
    __name__,
    {{
{homes}
    }},
)
'''


def index(modules: Mapping[str, tuple[str, ...]], version: str) -> str:
    """The text of `__init__.py` for modules and the names that each exports; no name twice."""
    homes = {name: module for module in sorted(modules) for name in sorted(modules[module])}
    imports = [f"    from .{module} import {name} as {name}" for name, module in homes.items()]
    return _TEXT.format(
        mark=MARK,
        version=version,
        imports="\n".join(imports) or "    pass",
        names="\n".join(f'    "{name}",' for name in sorted(homes)),
        homes="\n".join(f'        "{name}": "{homes[name]}",' for name in sorted(homes)),
    )
