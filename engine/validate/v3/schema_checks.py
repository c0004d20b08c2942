"""The columns of a parquet file of rows against info.json."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from millrace.engine.dataset.metadata import INFO
from millrace.engine.dataset.problems import Problem
from millrace.engine.text import join_names
from millrace.engine.validate.row_checks import arrow_type, type_family
from millrace.engine.validate.v3.v3_dataset import V3Feature, V3Info, make_v3_problem


def schema_problems(schema: pa.Schema, info: V3Info, path: Path) -> Iterator[Problem]:
    """Columns that are missing, that are there twice, or that hold values of another kind or width."""
    names = list(schema.names)
    wanted = {name: feature for name, feature in info.features.items() if not feature.is_video}
    for name, feature in wanted.items():
        if names.count(name) != 1:
            what = f"has the column {name!r} twice" if name in names else f"has no column {name!r}"
            yield make_v3_problem("columns-missing", path, f"{what}. Known: {join_names(names, 12)}")
        elif not feature.is_camera:
            yield from _type_problems(schema.field(name).type, name, feature, path)


def _type_problems(kind: pa.DataType, name: str, feature: V3Feature, path: Path) -> Iterator[Problem]:
    said = arrow_type(feature.dtype)
    value, width = value_type(kind), fixed_width(kind)
    if said is None and not feature.is_float:
        return  # of LeRobot's own, such as language
    if said is None or type_family(value) != type_family(said):
        message = f"column {name!r} holds {kind}, but {INFO} says {feature.dtype}"
        yield make_v3_problem("columns-dtype", path, message)
    elif width is not None and width != feature.width:
        message = f"column {name!r} has {width} values a row, but {INFO} says {list(feature.shape)}"
        yield make_v3_problem("columns-shape", path, message)
    elif value != said and type_family(said) in ("float", "int"):
        message = f"column {name!r} holds {value}, but {INFO} says {feature.dtype}"
        yield make_v3_problem("columns-precision", path, message)


def value_type(kind: pa.DataType) -> pa.DataType:
    """What lists within lists hold in the end; an extension type is what it is stored as."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        else:
            return kind


def fixed_width(kind: pa.DataType) -> int | None:
    """Values in a row as the type says; None where each row has as many as it likes."""
    width = 1
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_fixed_size_list(kind):
            width, kind = width * kind.list_size, kind.value_type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return None
        else:
            return width
