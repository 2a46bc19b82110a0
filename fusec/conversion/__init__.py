"""Converting a model: its linear layers become modules of an op, in place."""

from fusec.conversion.convert import convert as convert
from fusec.conversion.report import Conversion as Conversion
from fusec.conversion.report import Layer as Layer
