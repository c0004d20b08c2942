"""A recipe of many small sources of mixed layouts and rates."""

from pathlib import Path

from conftest import IMAGE_SIZE
from support.synthetic import write_dataset

LAYOUTS = ("v2.1", "v3.0", "v2.0", "v1.6")
RATES = (50, 30, 20)
LENGTHS = (12, 11, 13, 10)


def write_many(root: Path, num_sources: int) -> Path:
    """The recipe's file; each source has 2 to 4 episodes."""
    lines = ["robot: aloha", f"image_size: {IMAGE_SIZE}", "horizon: 4", "sources:"]
    for number in range(num_sources):
        version, fps = LAYOUTS[number % len(LAYOUTS)], RATES[number % len(RATES)]
        write_dataset(root / f"{number:03d}", version=version, lengths=LENGTHS[: num_episodes(number)], fps=fps)
        lines.append(f"  - {{path: '{number:03d}', task: Task {number % 7}., task_all: true}}")
    (root / "many.yaml").write_text("\n".join(lines))
    return root / "many.yaml"


def num_episodes(number: int) -> int:
    """Of a source."""
    return 2 + number % 3
