"""What every loader process imports, imported once a rank: its server of processes imports this module first.

`-c`, by which that server starts, puts the current folder first on the path: a file there that happens to be named like
a library must not take its place. What fails here fails again in the loader that needs it, which then says so.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

# Else torch, as it is imported, starts compilers and a thread, which must not be there when loaders are forked.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
sys.path[:] = [folder for folder in sys.path if folder]
names = ["gr00t.data.dataset.sharded_mixture_dataset", "millrace.train.groot.loader"]
with suppress(Exception):
    names += import_module("millrace.train.groot.adapter").installed_adapter().loader_modules
for name in names:
    with suppress(Exception):
        import_module(name)
