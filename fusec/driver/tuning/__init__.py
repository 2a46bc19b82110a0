"""`fusec tune` without its command line: what to try, how to compare it, and the table of what was found."""
