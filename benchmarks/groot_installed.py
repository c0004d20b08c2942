"""What the benchmarks of training need."""

import os
import sys

from millrace.engine.dataset.releases import Release
from millrace.train import installed
from millrace.train.errors import GrootMissing


def require_groot(benchmark: str) -> Release:
    """End with exit code 2 where no GR00T can be imported; else keep torch from starting compilers that are measured.

    Args:
        benchmark: Its file, which the message names.

    Returns:
        The release that is installed.
    """
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    try:
        return installed.require_groot()
    except GrootMissing as error:
        print(f"{benchmark}: {error}", file=sys.stderr)
        sys.exit(2)
