"""What the benchmarks of training need."""

import os
import sys
from importlib.util import find_spec


def require_groot(benchmark: str) -> None:
    """End with exit code 2 where GR00T cannot be imported; else keep torch from starting compilers that are measured.

    Args:
        benchmark: Its file, which the message names.
    """
    if find_spec("gr00t") is None:
        print(
            f"{benchmark}: gr00t cannot be imported. Put the source of NVIDIA Isaac-GR00T, tag "
            "n1.6-release, on PYTHONPATH, in an environment with what it pins",
            file=sys.stderr,
        )
        sys.exit(2)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
