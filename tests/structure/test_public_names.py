"""What a package offers once it is asked for is no module of it: importing that would put the module in its place."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import fusec


def test_no_module_has_the_name_of_what_its_package_offers_later() -> None:
    packages = [fusec, *(import_module(each.name) for each in walk_packages(fusec.__path__, "fusec.") if each.ispkg)]
    later = [package for package in packages if "__getattr__" in vars(package)]
    offered = {f"{package.__name__}.{name}" for package in later for name in getattr(package, "__all__", ())}
    modules = {each.name for each in walk_packages(fusec.__path__, "fusec.")}
    assert "fusec.testing.check" in offered
    assert offered & modules == set()
