"""Three row ops in CUDA C++, as good as we can write them, for comparison: no part of what fusec ships."""
