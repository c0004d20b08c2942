"""What a GPU does for a conversion: probed, checked and timed in one go, against all cores of this machine.

    python -m benchmarks.gpu                                       # examples/, AV1 and the same in H.264
    python -m benchmarks.gpu --seconds 5 --json out/gpu.json

Rates are output frames a second of one process, and of several at once: on the CPU one for each core. CPU ms: of all
processes, for each frame. MB/s: between host and card. NVDEC %, NVENC %, SM %: busy meanwhile, by nvidia-smi. Then
whole conversions through Ray: cores alone, and beside a GPU. What fails, crashes or exceeds its time limit is named in
its line, and the next starts; the JSON is complete after each. Needs Millrace's extra `gpu`, and Linux.
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
    """Seconds of each rate."""
    limit_seconds: float = 180.0
    """Time limit of a measurement, the start of its processes included."""
    image_size: int = 256
    """Side of the output's frames."""
    json: Path = Path("gpu.json")
    """File of the figures; must not exist."""


def main() -> None:
    """Measure everything once."""
    options = tyro.cli(Options, description=__doc__)
    if options.json.exists():
        print(f"benchmarks/gpu.py: {options.json} is there already; pass --json ANOTHER", file=sys.stderr)
        sys.exit(2)
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's, in each process: as Ray has it for a worker of one core
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile all that it imports
    # Not above: each process of a measurement imports this file, too.
    from benchmarks.gpu_benchmark import Benchmark
    from benchmarks.gpu_rates import Limits

    limits = Limits(options.seconds, options.limit_seconds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its processes end with it
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            Benchmark(limits, options.image_size, options.json, Path(folder)).run()
    except KeyboardInterrupt:
        print(f"stopped; {options.json} has what was found until then", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
