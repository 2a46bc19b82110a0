"""Which extents the axes of an op may have together, found by solving what its signature asks of them."""
