"""What is known of a schedule, by its class: the one place to look at, or to add to, for a schedule of calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusec.runtime.launch import Launch


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether a schedule can take a call at all, whether it should when nobody says so, and its launches."""

    is_legal: Callable[[Any, Any], bool]
    is_preferred: Callable[[Any, Any], bool]
    launches: Callable[[Any, Any], list[Launch]]
