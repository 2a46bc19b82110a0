"""What an op means: evaluated in f64, and emitted as readable PyTorch."""
