"""The command `fusec`, also as `python -m fusec`; without the compiler's packages it says how to get them."""

from __future__ import annotations

import sys
from importlib import import_module

from fusec.extra import MissingCompilerError, compiler_needed

USAGE = 2


def main() -> None:
    """The entry point of the command `fusec`."""
    try:
        with compiler_needed():
            import_module("fusec.cli").main()
    except MissingCompilerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
