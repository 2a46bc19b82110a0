"""The named numbers of the language."""

from __future__ import annotations

import math

CONSTANTS: dict[str, float | bool] = {
    "pi": math.pi,
    "inf": math.inf,
    "tiny": 2.0**-96,
    "true": True,
    "false": False,
}
"""`tiny` is small beside any data, yet far enough from zero that `tiny / max_of(dtype)` is a normal f32."""
