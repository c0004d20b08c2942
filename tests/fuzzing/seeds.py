"""The datasets that are damaged, each with the commands that must bear it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, convert_here
from millrace.engine.layout import WORK
from support.synthetic import SyntheticVideo, write_dataset

LENGTHS = (12, 12)
SIDE = 64
H264 = SyntheticVideo(codec="libx264", height=SIDE, width=SIDE, gop=4)
AV1 = SyntheticVideo(height=SIDE, width=SIDE)
# Stands for the dataset's folder and the one to write to.
SOURCE, OUT = "{source}", "{out}"

SETTINGS = ("--local", "--robot", "aloha", "--image-size", str(SIDE), "--horizon", "4", "--task", "Pick.", "--task-all")
REPORTED = ("convert", SOURCE, OUT, *SETTINGS)
CONVERT = (*REPORTED, "--no-report")  # a report takes as long as such a conversion
RECORDED = tuple("g1_arms" if word == "aloha" else word for word in (*CONVERT, "--cut-off", "keep"))
INSPECT = ("inspect", SOURCE)
VALIDATE = ("validate", SOURCE, "--deep")
RECIPE = ("convert", "--recipe", f"{SOURCE}/recipe.yaml", OUT, "--local", "--no-report")

RECIPE_TEXT = """\
sources:
  - path: data
    map: ./my_map.yaml
    episodes: "0:2"
    task: {Pick up the cube.: Pick.}
fps: 20
horizon: 4
image_size: 64
holdout: 0.5
"""


@dataclass(frozen=True)
class Seed:
    """An undamaged dataset. commands: what to type, the likely ones several times."""

    write: Callable[[Path], object]
    commands: tuple[tuple[str, ...], ...]


def _dataset(**options: Any) -> Callable[[Path], object]:
    return lambda root: write_dataset(root, **{"lengths": LENGTHS, "cameras": ("top",), "video": H264, **options})


def _write_groot(root: Path) -> None:
    source = root.with_name(f"{root.name}_source")
    write_dataset(source, lengths=LENGTHS, video=H264, fps=20)
    convert_here(source, root, robot="aloha", image_size=SIDE, horizon=4)
    shutil.rmtree(root / WORK)


def _write_recipe(root: Path) -> None:
    """A recipe beside its dataset, map and robot."""
    write_dataset(root / "data", lengths=LENGTHS, video=H264, tasks="Pick up the cube.")
    (root / "recipe.yaml").write_text(RECIPE_TEXT)
    shipped = REPOSITORY / "embodiments"
    (root / "my_robot.yaml").write_text((shipped / "robots/aloha.yaml").read_text())
    own_map = (shipped / "maps/aloha_to_gr1.yaml").read_text().replace("source: aloha", "source: ./my_robot.yaml")
    (root / "my_map.yaml").write_text(own_map)


MOSTLY_CONVERT = (*[CONVERT] * 4, REPORTED, INSPECT)
SEEDS = {
    "v1.6": Seed(_dataset(version="v1.6"), MOSTLY_CONVERT),
    "hybrid": Seed(_dataset(version="hybrid", video=AV1), MOSTLY_CONVERT),
    "v2.1": Seed(_dataset(version="v2.1"), MOSTLY_CONVERT),
    "v3.0": Seed(_dataset(version="v3.0", video=AV1), (CONVERT, CONVERT, VALIDATE, VALIDATE, INSPECT)),
    "pictures": Seed(_dataset(version="v2.0", images_as="image"), MOSTLY_CONVERT),
    "frames": Seed(_dataset(version="frames"), MOSTLY_CONVERT),
    "recordings": Seed(_dataset(version="xr_teleoperate", cameras=("color_0",)), (*[RECORDED] * 4, INSPECT)),
    "HDF5": Seed(_dataset(version="act"), MOSTLY_CONVERT),
    "GR00T": Seed(_write_groot, (VALIDATE, VALIDATE, CONVERT)),
    "recipe": Seed(_write_recipe, (RECIPE,)),
}
