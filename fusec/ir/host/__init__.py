"""Host IR: the plans of an op as data. A generated file holds this table, and `runtime.select` plans calls by it.

An op is partitioned into steps, a step has schedules, and a schedule says what its launches depend on. Axes go by keys:
the name of an extent (`N`), one of the two axes that `...` is walked by (`lead1`, `lead0`), or what `Plans.sizes` makes
of extents (`D/2`). A string holds several of them with blanks between, and stands for their product where it is a size.
A `kernel` is a `Name` while compiling, and the Triton function in the generated file.
"""
