"""Ranges of joint values in files: one for all joints, or one each."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from millrace.embodiments.yaml_file import Number

Range = tuple[Number, Number]


def _as_ranges(ranges: object) -> object:
    one = isinstance(ranges, Sequence) and not any(isinstance(item, Sequence) for item in ranges)
    return (ranges,) if one else ranges


Ranges = Annotated[
    tuple[Range, ...], BeforeValidator(_as_ranges, json_schema_input_type=Range | list[Range]), Field(min_length=1)
]
