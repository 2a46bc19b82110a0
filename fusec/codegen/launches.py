"""One launch of a kernel, as lines that add it to the launches of a plan."""

from __future__ import annotations

from fusec.codegen.signature import chooses_real
from fusec.codegen.sizes import SizeWriter
from fusec.ir.graph import ChoiceParam, Graph
from fusec.ir.kernel import Kernel
from fusec.passes.kernel.blocks import BEGIN, END, OVERLAP, PREFETCH, VEC

_APART = "contract=False,  # a declared cast stands between a product and a sum"


class LaunchWriter:
    """Writes the launches of an op; where its tensors have leading axes, one for each walk over two of them."""

    def __init__(self, graph: Graph, sizes: SizeWriter) -> None:
        self._choices = {param.name.upper(): param.name for param in graph.params if isinstance(param, ChoiceParam)}
        self._led = {name: place for place, name in enumerate(sizes.led)}
        self._given = {*graph.stored, *sizes.kept}
        self._arguments = {tensor.name for tensor in graph.tensors}
        self.wide = chooses_real(graph)
        self.walks = sizes.walks
        self._steady = sizes.steady

    def is_argument(self, name: str) -> bool:
        """Whether a caller passes a tensor."""
        return name in self._arguments

    def lines(self, kernel: Kernel, grid: str, blocks: dict[str, str], options: str) -> list[str]:
        """The launch of `kernel` by `grid` programs; of `blocks` it gets the compile-time arguments that it has."""
        scratch = [name for name in kernel.pointers if name not in self._given]
        launch = [
            "Launch(",
            f"    {kernel.name},",
            f"    grid=({grid},),",
            f"    arguments=tiles.arguments({kernel.name}, sizes, {self._fixed(kernel, grid, blocks)}),",
            f"    options={options},",
            *([f"    {_APART}"] if kernel.rounded else []),
            *self._offsets(kernel, scratch),
            ")",
        ]
        inner = [f"    {line}" for line in launch]
        if not self.walks or kernel.name in self._steady:
            return ["launches.append(", *inner, ")"]
        walk = "walk, at in enumerate(rows.offsets)" if scratch else "at in rows.offsets"
        return ["launches += [", *inner, f"    for {walk}", "]"]

    def runs(
        self, kernel: Kernel, runs: str, blocks: dict[str, str], boxes: list[str], flips: dict[str, str]
    ) -> list[str]:
        """The launches of a kernel that takes `boxes`, one for each of `runs`."""
        given = {BEGIN: "run.begin", END: "run.end"} | dict.fromkeys(flips, "0") | blocks
        turned = ", ".join(f'"{name}": "{box}"' for name, box in flips.items())
        return [
            "launches += [",
            "    Launch(",
            f"        {kernel.name},",
            "        grid=(run.programs,),",
            f"        arguments=tiles.arguments({kernel.name}, sizes, {self._fixed(kernel, 'run.programs', given)}),",
            "        options=run.options,",
            *(
                ["        contract=False,  # a declared cast stands between a product and a sum"]
                if kernel.rounded
                else []
            ),
            f"        boxes={{{', '.join(boxes)}}},",
            *([f"        flips={{{turned}}},"] if turned else []),
            "    )",
            f"    for run in {runs}",
            "]",
        ]

    def _fixed(self, kernel: Kernel, grid: str, blocks: dict[str, str]) -> str:
        """The compile-time arguments by name."""
        named = {name: text for name, text in blocks.items() if name in (*kernel.varying, *kernel.blocks)}
        if PREFETCH in kernel.blocks:
            named[PREFETCH] = f"tiles.is_few({grid})"
        if VEC in kernel.blocks:
            named[VEC] = "width"
        if OVERLAP in kernel.blocks:
            named[OVERLAP] = "overlap"
        named["INDEX"] = "index"
        if self.wide:
            named["REAL"] = "real"
        named |= {flag: self._choices[flag] for flag in kernel.flags}
        return ", ".join(f"{name}={text}" for name, text in named.items())

    def _offsets(self, kernel: Kernel, scratch: list[str]) -> list[str]:
        """How far a walk moves each pointer; every walk has partial results of its own."""
        led = [f'"{name}": at[{place}]' for name, place in self._led.items() if name in kernel.pointers]
        pairs = [*led, *(f'"{name}": walk * {name}' for name in scratch)]
        return [f"    offsets={{{', '.join(pairs)}}},"] if led else []
