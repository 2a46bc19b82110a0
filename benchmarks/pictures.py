"""The pictures of README and documentation, from the committed raw results of an H200; no GPU is needed.

python -m benchmarks.pictures [--to docs/pictures]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks import raw_results
from fusec.report import page
from fusec.report.copy_share import copy_share
from fusec.report.picture import Picture

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"

README = (
    ("rmsnorm_rope", "4x4096x8192 D=128"),
    ("rmsnorm_quantize", "16384x8192"),
    ("quantize_fp8_rows", "16384x8192"),
    ("rmsnorm", "16384x8192"),
    ("add_rmsnorm", "16384x8192"),
    ("layernorm", "16384x8192"),
    ("softmax", "16384x8192"),
    ("gated_activation", "16384x14336"),
    ("rope_qk", "1x8192x32x128"),
    ("rmsnorm_gradient", "16384x4096"),
    ("layernorm_gradient", "16384x4096"),
)
"""What the picture of the README shows."""


def pictures() -> Iterator[Picture]:
    """Every picture that is committed."""
    run = raw_results.run()
    front = copy_share(run, "readme", "Row ops on an H200, beside a plain copy", README)
    assert front is not None
    yield front
    yield from page.pictures(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES)
    to = parser.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    for picture in pictures():
        (to / f"{picture.name}.svg").write_text(picture.svg(), encoding="utf-8")
        print(to / f"{picture.name}.svg")


if __name__ == "__main__":
    main()
