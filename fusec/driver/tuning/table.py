"""Tables of choices as text, with new entries in place of old ones; and what is to be said of those of a package."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fusec.driver.store import write_whole
from fusec.runtime.select.tables import FOLDER, TILE, Choice, Entry, OpTable, Table, bucket, path_of, read, toolchain

_HEAD = """# The choices that `fusec tune` found best on {device}. An entry is for so many rows, or for more than half
# as many; where there is none, the rules choose. It counts for one text of a spec.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The best choice for a call of `rows` rows in a case; None where that is what the rules choose."""

    rows: int
    case: Mapping[str, int | bool | str]
    choice: Choice | None


def update(package: Path, device: str, family: str, op: str, spec: str, found: tuple[Found, ...]) -> None:
    """Put what was found for an op into the table of a kind of device beside a package.

    Entries for other calls stay, unless they are stale. Raises `ValueError` where the file is no table, and `OSError`.
    """
    path = path_of(package / FOLDER, device)
    table = read(path) if path.exists() else Table(device, family, {})
    had = table.ops.get(op)
    entries = {_key(entry.rows, entry.case): entry for entry in had.entries} if had and not had.stale(spec) else {}
    for each in found:
        rows = bucket(each.rows)
        entries.pop(_key(rows, each.case), None)
        if each.choice is not None:
            entries[_key(rows, each.case)] = Entry(rows, each.case, each.choice, toolchain())
    ordered = tuple(entries[key] for key in sorted(entries))
    ops = {**table.ops, op: OpTable(spec, ordered)}
    write_whole(path, render(Table(device, family, {name: ops[name] for name in sorted(ops) if ops[name].entries})))


def render(table: Table) -> str:
    """A table as text, ordered, with a line for each entry."""
    lines = [_HEAD.format(device=table.device), f"device = {_value(table.device)}", f"family = {_value(table.family)}"]
    for name, op in table.ops.items():
        lines += ["", f"[op.{_name(name)}]"]
        newest = max(entry.toolchain for entry in op.entries)
        lines += [f"spec = {_value(op.spec)}", f"torch = {_value(newest[0])}", f"triton = {_value(newest[1])}"]
        lines += ["choices = [", *(f"    {_entry(entry, newest)}," for entry in op.entries), "]"]
    return "\n".join(lines) + "\n"


def remarks(package: Path, specs: Mapping[str, tuple[str, Collection[str]]]) -> Iterator[str]:
    """What in the tables of a package is stale, and what is older than this toolchain, and used all the same.

    `specs` has for every op the hash of its spec and the names of its plans, none where they are not known.
    """
    for path in sorted((package / FOLDER).glob("*.toml")):
        try:
            table = read(path)
        except ValueError as error:
            yield str(error)
            continue
        found: dict[str, list[str]] = {}
        for name, op in table.ops.items():
            for remark in dict.fromkeys(_remarks(op, *specs[name]) if name in specs else [_NO_OP]):
                found.setdefault(remark, []).append(name)
        for remark, names in found.items():
            yield f"{path}: {remark.format(', '.join(names))}"


_NO_OP = "stale, and not used here: {}: the package has no such op"


def _remarks(op: OpTable, spec: str, plans: Collection[str]) -> Iterator[str]:
    """What is to be said of the entries of an op."""
    if reason := op.stale(spec):
        yield f"stale, and not used here: {{}}: {reason}"
        return
    have = toolchain()
    for entry in op.entries:
        if plans and entry.choice.plan not in plans:
            yield f"stale, and not used here: {{}}: there is no plan {entry.choice.plan}"
        elif not entry.is_known:
            yield f"stale, and not used here: {{}}: tiles have no {_unknown(entry)}"
        elif entry.toolchain != have:
            had = entry.toolchain
            yield f"older: {{}}: tuned with torch {had[0]} and triton {had[1]}, and used with {have[0]} and {have[1]}"


def _unknown(entry: Entry) -> str:
    return next(name for name, _ in entry.choice.tile if name not in TILE)


def _key(rows: int, case: Mapping[str, int | bool | str]) -> tuple[tuple[str, str, int | bool | str], ...]:
    """Cases of one op in order, and the rows of each: numbers by size."""
    entries = sorted((*case.items(), ("~rows", rows)))
    return tuple((name, type(value).__name__, value) for name, value in entries)


def _entry(entry: Entry, newest: tuple[str, str]) -> str:
    parts: dict[str, object] = {"rows": entry.rows, "case": entry.case, "plan": entry.choice.plan}
    if entry.choice.tile:
        parts["tile"] = dict(entry.choice.tile)
    if entry.toolchain != newest:
        parts |= dict(zip(("torch", "triton"), entry.toolchain, strict=True))
    return _value(parts)


def _value(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_name(key)} = {_value(held)}' for key, held in value.items())} }}"
    # Strings, numbers and truth values are spelled as in JSON.
    return json.dumps(value)


def _name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
