"""The `__init__.py` of a generated package: where each op lives, and nothing loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fusec.codegen.package import MARK
from fusec.codegen.signature import literal
from fusec.codegen.wrap import filled, wrapped

_TEXT = '''\
# {mark} {version}. Do not edit: change the specs and run `fusec build`.
"""Fused ops, one module per spec; an op is loaded when it is first asked for."""

from typing import TYPE_CHECKING

from fusec.runtime.package import serve

if TYPE_CHECKING:
{imports}

{names}

serve(__name__, {{
{homes}
}})
'''


def index(modules: Mapping[str, tuple[str, ...]], version: str) -> str:
    """The text of `__init__.py` for modules and the names that each exports; no name twice."""
    homes = {module: sorted(modules[module]) for module in sorted(modules) if modules[module]}
    every = sorted(name for names in homes.values() for name in names)
    where = (f"{literal(name)}: {literal(module)}" for module, names in homes.items() for name in names)
    return _TEXT.format(
        mark=MARK,
        version=version,
        imports="\n".join(line for home in homes.items() for line in _imports(*home)) or "    pass",
        names="\n".join(wrapped(f"__all__ = [{', '.join(map(literal, every))}]")),
        homes="\n".join(f"    {row}" for row in filled(where)),
    )


def _imports(module: str, names: list[str]) -> Iterator[str]:
    """What a type checker reads."""
    before = f"from .{module} import "
    yield from (f"    {before}{row.removesuffix(',')}" for row in filled(names, 1 + (len(before) + 3) // 4))
