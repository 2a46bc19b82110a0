"""The tables of the texts that fusec grew from, measured anew: their shapes, PyTorch, our ops, and their own code."""
