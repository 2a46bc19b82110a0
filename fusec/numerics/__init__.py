"""How far a right kernel may be from what an op means."""
