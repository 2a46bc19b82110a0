"""From the kernels of an op to the table by which its calls are planned."""
