"""A generated package: its ops are its attributes, and each is loaded when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class Package(ModuleType):
    """A package whose public names live in modules that are not imported yet.

    A spec `rmsnorm.fuse` becomes the module `rmsnorm` with an op `rmsnorm`. `package.rmsnorm` is always the op, also
    once somebody has imported the module; `from package.rmsnorm import reference` reaches into the module.
    """

    def __getattr__(self, name: str) -> object:
        modules: Mapping[str, str] = vars(self).get("_modules", {})
        if name not in modules:
            raise AttributeError(_unknown(self.__name__, name, modules), name=name, obj=self)
        value = getattr(import_module(f"{self.__name__}.{modules[name]}"), name)
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds a module to its package under the module's name, which is often an op's name too.
        if isinstance(value, ModuleType) and vars(self)["_modules"].get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *vars(self)["_modules"]})


def serve(package: str, modules: Mapping[str, str]) -> None:
    """Let the imported package of that name load its public names on demand; `modules` says where each one lives."""
    module = sys.modules[package]
    vars(module)["_modules"] = dict(modules)
    for name in modules:
        vars(module).pop(name, None)  # an import of the package itself, `serve` say, would hide an op of that name
    module.__class__ = Package


def _unknown(package: str, name: str, modules: Mapping[str, str]) -> str:
    close = get_close_matches(name, modules, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(modules)) or 'no ops'}"
    return f"module {package!r} has no op {name!r}; {advice}"
