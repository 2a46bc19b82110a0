"""The arguments of a module's constructor: sizes, and parameters of the op that are set once."""

from __future__ import annotations

from typing import assert_never

from fusec.diagnostics import Note, Span
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, Param, ScalarParam, TensorParam
from fusec.ir.module import Setting
from fusec.ir.reserved import MODULE
from fusec.ir.types import DTYPES, Dim, Lead, Named
from fusec.lang import syntax
from fusec.passes.graph.elaborate.defaults import check_order, choice_default, scalar_default
from fusec.passes.graph.elaborate.dims import DimFault, to_dim
from fusec.passes.graph.elaborate.identifiers import check_name
from fusec.passes.graph.elaborate.report import Report, did_you_mean, listing


def read_settings(module: syntax.Module, graph: Graph, report: Report) -> tuple[Setting, ...]:
    """The constructor's arguments in order; every mistake in them is reported, and what is wrong is left out."""
    reader = _Reader(module, graph, report)
    found = [(setting, reader.setting(setting)) for setting in module.settings]
    check_order(((written.name, made.default is not None) for written, made in found if made), report)
    return tuple(made for _, made in found if made)


def check_attribute(what: str, name: str, span: Span, module: syntax.Module, report: Report) -> None:
    """Reports a name that an object of the class `module` cannot have for something of ours."""
    note = Note("the module is here", module.name.span)
    if name in MODULE:
        report.add(f"{what} `{name}` is called as something that every module has", span, note, help="rename it")
    elif name.startswith("_"):
        report.add(f"{what} `{name}` would be private to its module", span, note, help="rename it")


class _Reader:
    def __init__(self, module: syntax.Module, graph: Graph, report: Report) -> None:
        self._module = module
        self._graph = graph
        self._report = report
        self._params = {param.name: param for param in graph.params}
        self._seen: dict[str, Span] = {}

    def setting(self, setting: syntax.Setting) -> Setting | None:
        """One argument, or None when it is wrong."""
        count, name = len(self._report), setting.name
        first = self._seen.setdefault(name.text, name.span)
        if first is not name.span:
            self._report.add(f"`{name.text}` is given twice", name.span, Note("it is here", first), help="drop one")
            return None
        made = self._param(setting) if setting.dim is None else self._size(setting, setting.dim)
        check_attribute("argument", name.text, name.span, self._module, self._report)
        return made if len(self._report) == count else None

    # --- Sizes ---------------------------------------------------------------------------------------------------

    def _size(self, setting: syntax.Setting, expr: syntax.Expr) -> Setting | None:
        name = setting.name
        check_name(name, self._report)
        try:
            dim = to_dim(expr, self._axis)
        except DimFault as fault:
            self._report.add(fault.message, fault.span, help=fault.help)
            return None
        if Lead() in dim:
            help = "a constructor takes the sizes of weights, which every call shares"
            self._report.add("`...` differs from call to call", expr.span, help=help)
        param = self._params.get(name.text)
        if param and not (isinstance(param, DimParam) and dim == (param.axis,)):
            help = f"write `{name.text}` alone, or give the size another name"
            message = f"`{name.text}` is a parameter of `{self._graph.name}` and cannot name another size"
            self._report.add(message, name.span, self._defined(param), help=help)
        return self._sized(setting, dim)

    def _sized(self, setting: syntax.Setting, dim: Dim) -> Setting:
        default: int | None = None
        match setting.default:
            case syntax.Number(value=int(value)) if value > 0:
                default = value
            case None:
                pass
            case other:
                self._report.add("the default of a size is a whole number of at least 1", other.span)
        return Setting(setting.name.text, dim, default, setting.span)

    def _axis(self, name: syntax.Name) -> Dim:
        axes = [solve.name for solve in self._graph.solves]
        param = self._params.get(name.text)
        if isinstance(param, DimParam):
            return (param.axis,)
        if name.text not in axes:
            help = did_you_mean(name.text, axes) or f"its axes are {listing(axes)}"
            raise DimFault(f"`{self._graph.name}` has no axis `{name.text}`", name.span, help)
        return (Named(name.text),)

    # --- Parameters ----------------------------------------------------------------------------------------------

    def _param(self, setting: syntax.Setting) -> Setting | None:
        name, expr = setting.name.text, setting.default
        param = self._params.get(name)
        default: float | int | bool | str | None
        match param:
            case None:
                self._unknown(setting.name)
                return None
            case DimParam():
                return self._sized(setting, (param.axis,))
            case TensorParam(static=True, optional=True):
                default = False if expr is None else scalar_default(expr, DTYPES["bool"], self._report)
            case TensorParam() | DTypeParam():
                self._no_setting(setting.name, param)
                return None
            case ScalarParam(dtype=dtype):
                default = param.default if expr is None else scalar_default(expr, dtype, self._report)
            case ChoiceParam(options=options):
                default = param.default if expr is None else choice_default(expr, options, self._report)
            case _:
                assert_never(param)
        return Setting(name, None, default, setting.span)

    def _unknown(self, name: syntax.Name) -> None:
        message = f"`{self._graph.name}` has no parameter `{name.text}`"
        settable = [param.name for param in self._graph.params if not _is_given(param)]
        axes = {solve.name for solve in self._graph.solves}
        help = f"name the size too: `size: {name.text}`" if name.text in axes else did_you_mean(name.text, settable)
        self._report.add(message, name.span, help=help or f"a size is written `{name.text}: N`, with an axis of the op")

    def _no_setting(self, name: syntax.Name, param: TensorParam | DTypeParam) -> None:
        if isinstance(param, TensorParam) and param.static:
            message = f"the module makes `{name.text}` itself, so its constructor does not take it"
            help = "the constructor takes sizes of weights, and which of the optional ones there are"
        else:
            message = f"`{name.text}` is given to each call, not to the constructor"
            help = f"drop it: `forward` takes it; or make it a `weight` of `{self._graph.name}`"
        self._report.add(message, name.span, self._defined(param), help=help)

    def _defined(self, param: Param) -> Note:
        assert param.span
        return Note("it is defined here", param.span)


def _is_given(param: Param) -> bool:
    """Whether a constructor has no say in a parameter."""
    return isinstance(param, DTypeParam) or (isinstance(param, TensorParam) and not (param.static and param.optional))
