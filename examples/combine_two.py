"""Combine two datasets into one, by a recipe written in Python.

Both sources are the same folder here, one episode of it each. Put your own in their place: they may differ in layout,
robot, rate, resolution, cameras and tasks.

    python examples/combine_two.py [OUT]
"""

import sys
from pathlib import Path

import millrace

ALOHA = Path(__file__).parent / "aloha"

# The same keys as in a recipe file: docs/recipes.md.
RECIPE = {
    "robot": "gr1",
    "fps": 20,
    "image_size": 256,
    "sources": [
        {"path": ALOHA, "map": "aloha_to_gr1_rescaled", "episodes": "0"},
        {
            "path": ALOHA,
            "map": "aloha_to_gr1_rescaled",
            "episodes": "1",
            "task": "Hand the cube over.",
            "task_all": True,
        },
    ],
}


def main(out: Path) -> None:
    """Convert both sources into one dataset at `out`."""
    recipe = millrace.Recipe.model_validate(RECIPE)
    summary = millrace.convert(recipe, out, workers=millrace.Workers(local=True))
    print(f"{summary.num_episodes} episodes of {len(recipe.sources)} sources, {summary.num_frames} frames")
    for note in summary.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/combine_two"))
