"""Millrace streams LeRobot datasets of any robot into what NVIDIA GR00T N1.6 and N1.7 train on.

import millrace
source = millrace.open_source("data/aloha")
millrace.convert(millrace.Recipe.single(source, map="aloha_to_gr1_rescaled"), "out/aloha_gr1")
millrace.validate("out/aloha_gr1")
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a checkout, where this folder is found before an installed Millrace, the packages are folders beside it.
if not (Path(__file__).parent / "engine").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from millrace.engine.about import VERSION

if TYPE_CHECKING:
    from millrace.embodiments import EmbodimentMap as EmbodimentMap
    from millrace.embodiments import Robot as Robot
    from millrace.embodiments import load_map as load_map
    from millrace.embodiments import load_robot as load_robot
    from millrace.embodiments import map_names as map_names
    from millrace.embodiments import robot_names as robot_names
    from millrace.embodiments.errors import MillraceError as MillraceError
    from millrace.engine.convert import convert as convert
    from millrace.engine.dataset.problems import Problem as Problem
    from millrace.engine.dataset.problems import Report as Report
    from millrace.engine.execution.workers import Workers as Workers
    from millrace.engine.inspection import Finding as Finding
    from millrace.engine.inspection import Inspection as Inspection
    from millrace.engine.inspection import inspect_dataset as inspect_dataset
    from millrace.engine.packing import FileSizes as FileSizes
    from millrace.engine.packing import Layouts as Layouts
    from millrace.engine.packing import PackSummary as PackSummary
    from millrace.engine.planning.recipe import Recipe as Recipe
    from millrace.engine.planning.recipe_file import read_recipe as read_recipe
    from millrace.engine.sources import SourceDataset as SourceDataset
    from millrace.engine.sources import open_source as open_source
    from millrace.engine.summary import Summary as Summary
    from millrace.engine.validate import validate as validate

__version__ = VERSION

# A module is imported when one of its names is asked for: a worker, or whoever only reads robots, needs few of them.
_MODULES = {
    "millrace.embodiments": ("EmbodimentMap", "Robot", "load_map", "load_robot", "map_names", "robot_names"),
    "millrace.embodiments.errors": ("MillraceError",),
    "millrace.engine.convert": ("convert",),
    "millrace.engine.dataset.problems": ("Problem", "Report"),
    "millrace.engine.execution.workers": ("Workers",),
    "millrace.engine.inspection": ("Finding", "Inspection", "inspect_dataset"),
    "millrace.engine.packing": ("FileSizes", "Layouts", "PackSummary"),
    "millrace.engine.planning.recipe": ("Recipe",),
    "millrace.engine.planning.recipe_file": ("read_recipe",),
    "millrace.engine.sources": ("SourceDataset", "open_source"),
    "millrace.engine.summary": ("Summary",),
    "millrace.engine.validate": ("validate",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
