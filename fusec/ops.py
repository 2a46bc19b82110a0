"""The ops of `specs/`, which come with fusec: `from fusec.ops import rmsnorm`.

A wheel holds the package `generated` in this place. In a checkout this module stands for it, so that ops are those that
were built last.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import generated

if TYPE_CHECKING:
    from generated import *  # noqa: F403

sys.modules[__name__] = generated
