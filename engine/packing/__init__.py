"""LeRobot v3.0 from a finished dataset: clips and rows joined into files of many episodes, nothing encoded again."""

from millrace.engine.packing.layouts import Layouts
from millrace.engine.packing.pack import PackSummary, pack_dataset
from millrace.engine.packing.shared_files import FileSizes

__all__ = ["FileSizes", "Layouts", "PackSummary", "pack_dataset"]
