"""What an install adds to `fusec`: a wheel has the ops as `fusec.ops` and their specs, an editable one `generated`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from editables import EditableProject
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OPS = "generated"


class Ops(BuildHookInterface[Any]):
    """Hatch calls `initialize` before it builds a wheel, `standard` or `editable`, and `finalize` behind it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files that stand elsewhere in the wheel than here."""
        if version == "editable":
            build_data["force_include_editable"] = self._mapped()
        else:
            build_data["force_include"] = {OPS: "fusec/ops", "specs": "fusec/specs"}

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Drop what was written for an editable wheel."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()

    def _mapped(self) -> dict[str, str]:
        """Files that let `import generated` find the folder of the checkout, and nothing beside it."""
        self._folder = tempfile.TemporaryDirectory()
        project = EditableProject(f"fusec_{OPS}", self.root)
        project.map(OPS, str(Path(self.root, OPS)))
        files = {}
        for name, text in project.files():
            path = Path(self._folder.name, name)
            path.write_text(text, encoding="utf-8")
            files[str(path)] = f"_{name}" if name.endswith(".pth") else name
        return files
