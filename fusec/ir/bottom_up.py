"""What follows from operands: found for each node once, however often it is shared, and without recursion."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class BottomUp(Generic[K, T]):
    """A function of nodes that needs what it is of others: `needs(n)` names these, `rule(n)` may then ask for them.

    A graph may be as deep as it has nodes, and has exponentially many ways through it. Nodes are visited in the order
    in which a recursion over `needs` would come back from them.
    """

    def __init__(self, needs: Callable[[K], Sequence[K]], rule: Callable[[K], T]) -> None:
        self._needs = needs
        self._rule = rule
        self._known: dict[K, T] = {}

    def __call__(self, key: K) -> T:
        stack = [key]
        while stack:
            if stack[-1] in self._known:
                stack.pop()
            elif missing := [need for need in self._needs(stack[-1]) if need not in self._known]:
                stack += reversed(missing)
            else:
                self._known[stack[-1]] = self._rule(stack[-1])
                stack.pop()
        return self._known[key]
