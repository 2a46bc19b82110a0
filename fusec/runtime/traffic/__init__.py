"""Traffic: what a launch loads, stores and multiplies, counted by running the text of its kernel on symbolic tiles."""
