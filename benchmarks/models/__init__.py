"""Whole models of random weights, patched by `fusec.patch`, beside what else makes them faster."""
