"""A generated op as one object: it recognises a call, finds or makes its plan, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from fusec.ir.host.plans import Plans
from fusec.runtime import cast
from fusec.runtime.bytes import has_bytes, of_bytes, typed
from fusec.runtime.cache import BoundedCache
from fusec.runtime.checks import extent
from fusec.runtime.dispatch import plain, recorded, watched
from fusec.runtime.errors import ArgumentError, ScatteredRowsError, ShapeMismatchError, UnsupportedDtypeError
from fusec.runtime.explain.asked import Asked
from fusec.runtime.explain.report import Report, report
from fusec.runtime.explain.tree import tree
from fusec.runtime.invariant import is_invariant
from fusec.runtime.launch import Value
from fusec.runtime.layout import layout
from fusec.runtime.plan import Buffer, CopyingPlan, Plan, Results, row_major
from fusec.runtime.recent import Recent, Settings, Tensors
from fusec.runtime.register import empties, register
from fusec.runtime.select.call import call_of
from fusec.runtime.select.chip import Chip
from fusec.runtime.select.describe import Described, described
from fusec.runtime.select.names import plan_names, reaching_names
from fusec.runtime.select.present import chip_of
from fusec.runtime.select.run import Decision, decide
from fusec.runtime.select.tables import FOLDER, Choice

T = TypeVar("T")


class Op:
    """The way from the arguments of a call to its kernels.

    `schema` is PyTorch's, with the arguments in the order tensors, run-time scalars, settings (choices and dims);
    `tensors` and `scalars` count them. `extents(*tensors, *settings)` checks the arguments and solves the extents,
    `outputs(*extents)` says what comes out; both must do for fake tensors and symbolic sizes. `plans` are the table by
    which calls are planned, once for every layout of the tensors and every setting; or a function of the tensors and
    settings that returns the plan, for an op that no table fits. Tensors that do not fit go to the first of `overloads`
    that they fit: ops with arguments of the same names, asked for when they are needed. Where none fits, tensors of
    bytes are taken for the numbers of 8 bits that are declared (`runtime/bytes.py`). The `function` that users call
    gets an attribute `plan`: a function of the same arguments that returns the plan of a call.
    """

    def __init__(
        self,
        schema: str,
        *,
        tensors: int,
        scalars: int = 0,
        extents: Callable[..., tuple[Any, ...]],
        outputs: Callable[..., tuple[Buffer, ...]],
        plans: Plans | Callable[..., Plan],
        overloads: Callable[[], tuple[Op, ...]] = tuple,
        function: Any = None,
    ) -> None:
        self.name = schema.partition("(")[0]
        declared = [argument.split() for argument in _arguments(schema)]
        self._declared, self._declared_settings = declared[:tensors], declared[tensors + scalars :]
        self._tensors = slice(tensors)
        self._scalars = slice(tensors, tensors + scalars)
        self._settings = slice(tensors + scalars, None)
        self._extents = extents
        self._outputs = outputs
        self._overloads = overloads
        self._plans = plans
        self._folder = Path(extents.__code__.co_filename).parent / FOLDER
        self._forced: Choice | None = None
        self._chip: Chip | None = None
        self._known: BoundedCache[Recent] = BoundedCache()
        self._recent: tuple[Recent, ...] = ()
        self.operator = register(schema, self._run, self._fake, source=extents.__code__.co_filename)
        _BY_OPERATOR[self.operator] = self
        if function is not None:
            function.plan = partial(self._plan_of, function)

    def __call__(self, tensors: Tensors, scalars: tuple[Value, ...] = (), settings: Settings = ()) -> Results:
        """Run on these arguments: at once where only the kernels need to know, else through PyTorch's dispatcher."""
        if not watched():
            if not is_invariant():
                for recent in self._recent:
                    addresses = recent.addresses(tensors, settings)
                    if addresses is not None:
                        return recent.plan.run(tensors, scalars, addresses)
            self._require_tensors(tensors)
            self._require_settings(tensors, settings)
            if plain(tensors):
                return self._find(tensors, settings)(tensors, scalars)
        results: Results = self.operator(*tensors, *scalars, *settings)
        return results

    def _require_tensors(self, given: tuple[Any, ...]) -> None:
        """That every argument declared `Tensor NAME` is one, or None where it is `Tensor? NAME`, and has strides."""
        for (kind, name), value in zip(self._declared, given, strict=True):
            if not isinstance(value, torch.Tensor) and not (value is None and kind.endswith("?")):
                what = "None" if value is None else f"of type {type(value).__name__}"
                message = f"{self.name}: `{name}` should be a tensor, but is {what}"
                raise ArgumentError(message, name, torch.Tensor, value)
            if value is not None and (value.is_nested or value.layout is not torch.strided):
                what = "a nested one" if value.is_nested else f"of the layout {value.layout}"
                advice = f"pass its tensors one by one, or {name}.to_padded_tensor(0.0)"
                advice = advice if value.is_nested else f"pass {name}.to_dense()"
                message = f"{self.name}: `{name}` should be a dense tensor, but is {what}; {advice}"
                raise ArgumentError(message, name, torch.strided, value.layout)
            if value is not None and "!" in kind and value.is_neg():
                message = (
                    f"{self.name}: `{name}` is written in place, but it is a view whose numbers PyTorch negates when "
                    f"it reads them; pass {name}.resolve_neg()"
                )
                raise ArgumentError(message, name, "numbers as they lie", "negated ones")

    def _require_settings(self, tensors: Tensors, settings: Settings) -> None:
        """That every setting is of the kind that is declared: before it is looked up, and before PyTorch tells."""
        for (kind, name), value in zip(self._declared_settings, settings, strict=True):
            if kind in ("SymInt", "SymInt?"):
                if not recorded():
                    extent(self.name, name, value, optional=kind.endswith("?"))
            elif not isinstance(value, _KINDS[kind]):
                self._extents(*tensors, *settings)  # which knows what it may be

    def _solved(self, *arguments: Any) -> tuple[Any, ...]:
        """The extents of a call that fits. An op that this is an overload of may need fewer tensors."""
        extents = self._extents(*arguments)
        self._require_tensors(arguments[self._tensors])
        return extents

    def forget(self) -> None:
        """Drop every plan, so that the next call makes its own anew."""
        self._known = BoundedCache()
        self._recent = ()

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans made so far, one for every layout of arguments."""
        return tuple(known.plan for known in self._known.values())

    @property
    def table(self) -> Plans | None:
        """All plans of the op as data; None for one that is planned by a function of its own."""
        return None if callable(self._plans) else self._plans

    @property
    def plan_names(self) -> tuple[str, ...]:
        """The names by which a plan can be asked for."""
        return () if self.table is None else plan_names(self.table)

    @property
    def reaching_names(self) -> tuple[str, ...]:
        """What, asked for one after another, reaches every plan of every step."""
        return () if self.table is None else reaching_names(self.table)

    def decide(self, *arguments: Any, plan: str | Choice | None = None, chip: Chip | None = None) -> Decision:
        """How a call with these tensors and settings goes: its steps, tiles and launches.

        A `plan` is asked for by name, several names with blanks between; rules go by `chip`, that of the tensors unless
        one is given. Raises `PlanError`, and what the checks of the arguments do.
        """
        assert not callable(self._plans), f"{self.name} is planned by a function"
        tensors, settings = arguments[self._tensors], arguments[self._tensors.stop :]
        extents = self._solved(*arguments)
        device = next(tensor.device for tensor in tensors if tensor is not None)
        chip = chip or self._chip or chip_of(device)
        read = cast.likenesses(self._plans, tensors, extents)
        call = call_of(self.name, self._plans, read, settings, extents, self._outputs(*extents), chip)
        call.passed = cast.passed(self._plans, tensors, read)
        forced = Choice(plan) if isinstance(plan, str) else plan or self._forced
        return decide(call, self._folder, forced)

    def plan(self, *arguments: Any, plan: str | Choice | None = None, chip: Chip | None = None) -> Plan:
        """The plan of a call with these tensors and settings, which prints as a tree: see `decide`."""
        if callable(self._plans):
            return self._plans(*arguments)
        decision = self.decide(*arguments, plan=plan, chip=chip)
        made = decision.plan()
        made.explained_by(lambda: self._report(decision, arguments, made), tree)
        return cast.rounding(made, decision.call, arguments[self._tensors])

    def _report(self, decision: Decision, arguments: tuple[Any, ...], made: Plan) -> Report:
        def others(name: str) -> Decision:
            return self.decide(*arguments, plan=name, chip=decision.call.chip)

        return report(decision, others, self.plan_names, made.resources)

    def _plan_of(self, function: Callable[..., object], *arguments: Any, **named: Any) -> Plan:
        """The plan that a call of `function` takes, which prints as a tree."""
        asked = Asked(self.operator, self._planned_arguments)
        with torch.no_grad(), asked:
            function(*arguments, **named)
        return asked.plan

    def _planned_arguments(self, *args: Any) -> tuple[Plan, Results]:
        """The plan of a call of the operator, and results without data."""
        return self._decided(args[self._tensors], args[self._settings], told=True), self._fake(*args)

    def bare_plan(self, *arguments: Any) -> Plan:
        """The plan of a call, which remembers nothing of its tensors."""
        if callable(self._plans):
            return self._plans(*arguments)
        decision = self.decide(*arguments)
        return cast.rounding(decision.plan(), decision.call, arguments[self._tensors])

    def describe(self, *arguments: Any, plan: str | Choice | None = None, chip: Chip | None = None) -> Described:
        """The plan of such a call as data: schedules, kernels, tiles, grids, warps and stages."""
        return described(self.decide(*arguments, plan=plan, chip=chip))

    @contextmanager
    def forced(self, plan: str | Choice | None = None, chip: Chip | None = None) -> Iterator[None]:
        """Within, calls of the op take this plan and go by this chip, in every thread; None leaves it to the rules.

        Plans that the op has made before are not used, and none of those made here are used afterwards.
        """
        before = self._forced, self._chip
        self._forced, self._chip = Choice(plan) if isinstance(plan, str) else plan, chip
        self.forget()
        try:
            yield
        finally:
            self._forced, self._chip = before
            self.forget()

    def _find(self, tensors: Tensors, settings: Settings) -> Plan:
        invariant = is_invariant()
        key = (invariant, settings, *map(layout, tensors))
        known = self._known.get(key)
        if known is None:
            known = self._known.put(key, Recent(tensors, settings, self._decided(tensors, settings)))
        elif known in self._recent and not invariant:
            # It was not recognised although its key is: the check was made in another mode, say inference mode.
            self._recent = tuple(recent for recent in self._recent if recent is not known)
            known = self._known.put(key, Recent(tensors, settings, known.plan))
        if not invariant and not any(tensor is not None and tensor.data_ptr() & 15 for tensor in tensors):
            # Two of them: a layer of a model calls an op for one product and then for another.
            self._recent = (known, *self._recent[:1])
        return known.plan

    def _decided(self, tensors: Tensors, settings: Settings, told: bool = False) -> Plan:
        def plan_for(tensors: Tensors) -> Plan:
            def plan(op: Op, given: Tensors) -> Plan:
                made = op.plan(*given, *settings) if told else op.bare_plan(*given, *settings)
                return made.as_typed(typed(tensors, given)) if given is not tensors else made

            return self._first(plan, tensors)

        try:
            return plan_for(tensors)
        except ScatteredRowsError:
            if any("!" in kind for kind, _ in self._declared):
                raise
            return CopyingPlan(plan_for(row_major(tensors)))

    def _run(self, *args: Any) -> Results:
        tensors, settings = args[self._tensors], args[self._settings]
        return self._find(tensors, settings)(tensors, args[self._scalars])

    def _fake(self, *args: Any) -> Results:
        tensors = args[self._tensors]
        device = next(tensor.device for tensor in tensors if tensor is not None)
        settings = args[self._settings]

        def outputs(op: Op, given: Tensors) -> tuple[Buffer, ...]:
            return op._outputs(*op._solved(*given, *settings))

        return empties(self._first(outputs, tensors), device)

    def _first(self, result: Callable[[Op, Tensors], T], tensors: Tensors) -> T:
        """The result of this op, or of the first of its overloads that the tensors fit, as they are or as bytes."""
        try:
            return result(self, tensors)
        except (ShapeMismatchError, UnsupportedDtypeError):
            for other in self._overloads():
                with suppress(ShapeMismatchError, UnsupportedDtypeError):
                    return result(other, tensors)
            if not has_bytes(tensors):
                raise
            return self._first_of_bytes(result, tensors)

    def _first_of_bytes(self, result: Callable[[Op, Tensors], T], tensors: Tensors) -> T:
        """The same where tensors of bytes stand for others. What is wrong then with this op is raised."""

        def found(op: Op) -> T:
            return of_bytes(partial(result, op), tensors, [name for _, name in op._declared])

        try:
            return found(self)
        except (ShapeMismatchError, UnsupportedDtypeError):
            for other in self._overloads():
                with suppress(ShapeMismatchError, UnsupportedDtypeError):
                    return found(other)
            raise


_KINDS = {"str": str, "ScalarType": torch.dtype}
"""What a setting is in Python, by its kind in a schema; the size of an axis may be more than one."""

_BY_OPERATOR: dict[Any, Op] = {}


def launches_of(operator: Any, arguments: tuple[Any, ...]) -> int:
    """How many launches a call of a registered operator takes; 1 where the operator is none of ours."""
    op = _BY_OPERATOR.get(operator)
    return 1 if op is None else op._planned_arguments(*arguments)[0].launched


def _arguments(schema: str) -> list[str]:
    """`Tensor x` and so on, as PyTorch's schema of an operator declares them."""
    return schema[schema.index("(") + 1 : schema.rindex(") ->")].split(", ")
