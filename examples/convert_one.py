"""Convert one dataset to GR1 at 20 Hz, then check the result.

python examples/convert_one.py [OUT]
"""

import sys
from pathlib import Path

import millrace

ALOHA = Path(__file__).parent / "aloha"


def main(out: Path) -> None:
    """Convert the two ALOHA episodes beside this file into a dataset at `out`."""
    inspection = millrace.inspect_dataset(ALOHA)
    print(f"source: {inspection.num_episodes} episodes, {inspection.num_frames} frames at {inspection.fps:g} Hz")

    recipe = millrace.Recipe.single(ALOHA, map="aloha_to_gr1_rescaled", fps=20, image_size=256)
    # Without Ray, in this process. Remove `workers` to use every core.
    summary = millrace.convert(recipe, out, workers=millrace.Workers(local=True))
    print(f"output: {summary.num_episodes} episodes, {summary.num_frames} frames at 20 Hz")

    report = millrace.validate(out)
    print(report.verdict)
    if not report.is_valid:
        sys.exit("\n".join(report.lines()))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/convert_one"))
