"""What a GPU does for a conversion: everything probed, checked and timed in one go, against all cores of this machine.

    python -m benchmarks.gpu                                       # examples/, AV1 and the same in H.264
    python -m benchmarks.gpu --seconds 5 --json out/gpu.json

Rates are output frames a second, of one process alone and of as many at once as do most; for the CPU that is a process
a core. CPU ms: of all processes, for each frame. MB/s: what crosses between host and card at that rate. published: the
card's engines times what NVIDIA says of one, in output frames of this size (see gpu_limits.py for what is assumed);
busy: what nvidia-smi says of them meanwhile. Then whole conversions through Ray: cores alone, and beside a GPU.

Every measurement has a time limit and processes of its own: what fails, dies or hangs is told in its row, and the next
one begins. The JSON is written again after each of them. Without a GPU it says so and times the CPU.

Needs Millrace with its extra `gpu`, and Linux.
"""

import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    """Benchmark the GPU path."""

    seconds: float = 3.0
    """Each rate is measured for so long."""
    limit_seconds: float = 180.0
    """After so long a measurement is given up, the start of its processes included."""
    image_size: int = 256
    """Side of the output's pictures."""
    json: Path = Path("gpu.json")
    """The figures, from the first one on; must not exist."""


def main() -> None:
    """Everything, once."""
    options = tyro.cli(Options, description=__doc__)
    if options.json.exists():
        print(f"benchmarks/gpu.py: {options.json} is there already; pass --json ANOTHER", file=sys.stderr)
        sys.exit(2)
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's, in each process: as Ray has it for a worker of one core
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile all that it imports
    # Each process of a measurement imports this file, too; the rest would cost it seconds.
    from benchmarks.gpu_benchmark import Benchmark, Wish
    from benchmarks.gpu_rates import Patience

    wish = Wish(Patience(options.seconds, options.limit_seconds), options.image_size)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended, too, it ends its processes
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            Benchmark(wish, options.json, Path(folder)).run()
    except KeyboardInterrupt:
        print(f"stopped; {options.json} has what was found until then", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
