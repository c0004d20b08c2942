"""What every loader process imports, imported once a rank: its server of processes imports this module first.

`-c`, by which that server starts, puts the current folder first on the path: a file there that happens to be named like
a library must not take its place. What fails here fails again in the loader that needs it, which then says so.
"""

import sys
from contextlib import suppress

sys.path[:] = [folder for folder in sys.path if folder]
with suppress(Exception):
    import millrace.train.groot.loader
    import millrace.train.groot.processor  # noqa: F401
