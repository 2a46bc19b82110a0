"""`python -m fusec`."""

from __future__ import annotations

from fusec.cli import main

if __name__ == "__main__":
    main()
