"""The ops that come with fusec, and their specs: beside the package in a checkout, inside of it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_specs() -> Path:
    """The folder of the shipped `.fuse` files."""
    inside = _PACKAGE / "specs"
    return inside if inside.is_dir() else _PACKAGE.parent / "specs"


def shipped_ops() -> Path:
    """The folder of the package of shipped ops."""
    inside = _PACKAGE / "ops"
    return inside if inside.is_dir() else _PACKAGE.parent / "generated"
