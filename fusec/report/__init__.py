"""Reports of benchmarks: results as data, the pictures of them, and one page that holds both."""
