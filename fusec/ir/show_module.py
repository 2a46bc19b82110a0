"""A module class as text: what its constructor takes, and what follows from that."""

from __future__ import annotations

from fusec.ir.module import Module, Setting, Spread, Start
from fusec.ir.sizes import size_text
from fusec.ir.types import product_text


def show_module(module: Module) -> list[str]:
    """A line for the class, then one for every weight it owns, extent it passes to the op, and rule of its sizes."""
    return [
        f"module {module.name}({', '.join(map(_setting, module.settings))})",
        *(
            f"  owns {weight.name}[{', '.join(map(size_text, weight.shape))}] = {_start(weight.start)}"
            for weight in module.weights
        ),
        *(f"  passes {name} = {size_text(size)}" for name, size in module.extents),
        *(f"  checks {size_text(rule.left)} {rule.relation} {size_text(rule.right)}" for rule in module.rules),
    ]


def _setting(setting: Setting) -> str:
    dim = f": {product_text(setting.dim)}" if setting.dim else ""
    default = "" if setting.default is None else f" = {setting.default}"
    return f"{setting.name}{dim}{default}"


def _start(start: Start) -> str:
    match start:
        case Spread(inputs):
            return f"uniform within 1 / sqrt({size_text(inputs)})"
        case number:
            return f"{number:g}"
