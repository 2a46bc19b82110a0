"""Forms in which a vendored package travels: a folder, a wheel, or the layout of Hugging Face's `kernels`."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

VARIANTS = {"torch-cuda": "cuda", "torch-cpu": "cpu"}
"""Builds of a Python-only kernel in the layout of `kernels`, and their backends: on a CPU it is interpreted."""

REQUIRES = ("torch>=2.11", "triton>=3.6", "numpy>=1.26")

_DATE = (1980, 1, 1, 0, 0, 0)


def write_folder(name: str, contents: Mapping[str, str], out: Path) -> Path:
    """`out/name/`, a package to import from `out`."""
    return _written(out / name, contents)


def write_kernels(name: str, contents: Mapping[str, str], out: Path, version: int) -> Path:
    """`out/name/build/VARIANT/`, to load by `kernels.get_local_kernel(Path("out/name"))`."""
    for variant, backend in VARIANTS.items():
        own = sha256(json.dumps([backend, *sorted(contents.items())]).encode()).hexdigest()[:8]
        metadata = {
            "name": name.replace("_", "-"),
            "id": f"_{name}_{backend}_{own}",
            "version": version,
            "license": "Apache-2.0",
            "python-depends": [],
            "backend": {"type": backend},
        }
        _written(out / name / "build" / variant, {**contents, "metadata.json": json.dumps(metadata, indent=2) + "\n"})
    return out / name


def write_wheel(name: str, contents: Mapping[str, str], out: Path, version: str) -> Path:
    """`out/name-version-py3-none-any.whl`; equal contents give equal bytes."""
    about = f"{name}-{version}.dist-info"
    files = {f"{name}/{place}": text for place, text in sorted(contents.items())}
    requires = "".join(f"Requires-Dist: {each}\n" for each in REQUIRES)
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: Fused Triton ops, built by fusec\n"
        f"License-Expression: Apache-2.0\nRequires-Python: >=3.11\n{requires}"
    )
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: fusec\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{place},sha256={_digest(text)},{len(text.encode())}" for place, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,"]) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, text in files.items():
            entry = zipfile.ZipInfo(place, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return path


def _written(folder: Path, contents: Mapping[str, str]) -> Path:
    for place, text in contents.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return folder


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
