"""Live models of Hugging Face, made faster in place: `fusec.patch(model)`, and `fusec.unpatch`."""

from fusec.models.patching import patch, unpatch
from fusec.models.report import Report

__all__ = ["Report", "patch", "unpatch"]
