"""Kernels run on the GPU where there is one, else in the Triton interpreter made exact."""

pytest_plugins = ["fusec.testing.plugin", "fusec.testing.golden"]
