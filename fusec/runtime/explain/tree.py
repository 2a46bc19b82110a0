"""A report as a tree of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fusec.runtime.explain.report import LaunchReport, Report, Rival, StepReport

_MOST_RIVALS = 5

_LIMITS = {"cache": "what SMs load and store", "latency": "waits"}

_TILE = ("BLOCK_", "ROWS", "SPLIT", "FULL_STEPS", "TAIL_STEPS")
"""What names of compile-time sizes begin with that are of a tile, and not of the op."""


def tree(report: Report) -> str:
    """The plan of a call: its steps, their launches, what these move, and what else could take the call."""
    given = ", ".join(f"{name} {about}" for name, about in report.arguments.items())
    parts = [_branch(_step_title(step), [_launch(launch, report) for launch in step.launches]) for step in report.steps]
    parts += [[line] for line in _totals(report)]
    if report.rivals:
        others = [[_rival(rival)] for rival in report.rivals[:_MOST_RIVALS]]
        parts.append(_branch("other plans that can take the call:", others))
    return "\n".join([f"{report.op} on {report.chip}: {given}", *_joined(parts)])


def _step_title(step: StepReport) -> str:
    return f"{step.writes}: {step.schedule}, {step.reason}"


def _launch(launch: LaunchReport, report: Report) -> list[str]:
    about = launch.about
    if about.warps == 0:
        sizes = " ".join(f"{name}={size}" for name, size in about.blocks.items())
        return [f"library, {sizes}", *_details(launch, report)]
    tile = " ".join(f"{name}={about.blocks[name]}" for name in about.blocks if name.startswith(_TILE))
    shape = f"{_counted(about.programs, 'program')} of {_counted(about.warps, 'warp')}"
    shape += f", {about.stages} stages" if about.stages > 1 else ""
    return [f"{about.kernel}: {shape}{f', {tile}' if tile else ''}", *_details(launch, report)]


def _details(launch: LaunchReport, report: Report) -> Iterator[str]:
    moved = launch.traffic
    about = "" if moved.is_exact else "at most, for what is read depends on indices: "
    if launch.occupancy is None:
        about = "at least, for the library does not tell what it reads again: "
    yield f"  {about}reads {_moved(moved.read, report)}; writes {_moved(moved.written, report)}"
    if moved.flops:
        yield f"  multiplies {count(moved.flops)}FLOP"
    if launch.occupancy is not None and launch.waves is not None:
        held, at_most = launch.occupancy, "" if launch.resources else "at most "
        text = f"{at_most}{_counted(held.programs, 'program')} on an SM ({held.share:.0%} of its warps), "
        yield f"  occupancy: {text}limited by {held.limit}; {launch.waves:.2g} waves"
    told = launch.predicted
    limit = _LIMITS.get(told.bound, told.bound)
    yield f"  predicted {told.us:.1f} us, limited by {limit}; roofline {told.least_us:.1f} us"
    if launch.resources is not None:
        spilled = f", {launch.resources.spills} bytes spilled" if launch.resources.spills else ""
        yield f"  {launch.resources.registers} registers, {size(launch.resources.shared)} of shared memory{spilled}"


def _totals(report: Report) -> Iterator[str]:
    if report.prepared:
        yield f"prepared once from weights: {', '.join(report.prepared)}"
    if report.workspace:
        yield f"workspace: {', '.join(f'{name} {size(held)}' for name, held in report.workspace.items())}"
    least = sum(report.least.values())
    if report.is_least:
        yield f"moves {size(report.bytes)}, the least possible: every argument and result once"
    else:
        times = f", {report.bytes / least:.2f} times as much as" if least else "; there are"
        at_least = "at least " if any(launch.occupancy is None for launch in report.launches) else ""
        yield f"moves {at_least}{size(report.bytes)} into and out of SMs{times} arguments and results, {size(least)}"
    if len(report.launches) > 1:
        yield f"predicted {report.us:.1f} us; roofline {report.least_us:.1f} us"


def _moved(moved: Mapping[str, int], report: Report) -> str:
    """`weight 134 MB (16 times)`: what is moved of each buffer, and how often that is all of it."""
    whole = {**report.whole, **report.workspace}
    parts = []
    for name, held in moved.items():
        times = held / whole[name] if whole.get(name) else 1.0
        parts.append(f"{name} {size(held)}{'' if times == 1 else f' ({_often(times)} times)'}")
    return ", ".join(parts) or "nothing"


def _rival(rival: Rival) -> str:
    return f"{rival.plan}: predicted {rival.us:.1f} us, {_counted(rival.launches, 'launch')}, moves {size(rival.bytes)}"


def _often(times: float) -> str:
    return f"{times:.0f}" if times >= 100 else f"{times:.3g}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 'es' if word.endswith('ch') else 's'}"


def size(amount: int) -> str:
    """Bytes in the largest unit that leaves a number above one."""
    return f"{count(amount)}B"


def count(amount: float) -> str:
    """A number with a prefix: `8.39 M`."""
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if amount >= unit:
            return f"{amount / unit:.3g} {prefix}"
    return f"{amount:g} "


def _branch(title: str, below: Sequence[list[str]]) -> list[str]:
    return [title, *_joined(below)]


def _joined(parts: Sequence[list[str]]) -> list[str]:
    """Parts of several lines as branches."""
    lines = []
    for place, (first, *rest) in enumerate(parts):
        last = place == len(parts) - 1
        lines.append(f"{'└─ ' if last else '├─ '}{first}")
        lines += [f"{'   ' if last else '│  '}{line}" for line in rest]
    return lines
