"""Places of joint groups in a column whose values a dataset does not name."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace.embodiments.errors import WrongField, check_name
from millrace.embodiments.yaml_file import FileModel, Key

Place = Annotated[int, Field(ge=0, strict=True)]


class ColumnSlices(FileModel):
    """Groups in a column; what no group holds is not read.

    Args:
        width: Values of the column; a dataset with another number is of another robot.
        groups: [start, end) of each group that the column holds, half-open.
    """

    width: Annotated[int, Field(gt=0, strict=True)]
    groups: dict[str, tuple[Place, Place]]

    def gather(self, groups: Iterable[str]) -> NDArray[np.int64]:
        """The place of each joint of these groups, one group after the other."""
        return np.concatenate([np.arange(*self.groups[name], dtype=np.int64) for name in groups])

    def check(self, widths: Mapping[str, int], *, key: Key) -> None:
        """Check that these are the slices of a column's groups.

        Args:
            widths: Joints of each group that the column holds.
            key: Of the slices in the robot file.

        Raises:
            WrongField: a group is missing or unknown, or its slice is not as wide, lies outside the column, or
                overlaps another's.
        """
        for name in (*widths, *self.groups):
            check_name(name, "group of this column", widths, key=(*key, "groups"))
            if name not in self.groups:
                raise WrongField((*key, "groups"), f"group {name!r} of this column has no slice.")
            start, end = self.groups[name]
            if end - start != widths[name] or end > self.width:
                raise WrongField(
                    (*key, "groups", name),
                    f"[{start}, {end}) does not hold the {widths[name]} joints of {name!r} in {self.width} values.",
                    got=end - start,
                    expected=widths[name],
                )
        self._check_overlaps(key)

    def _check_overlaps(self, key: Key) -> None:
        spans = sorted((start, end, name) for name, (start, end) in self.groups.items())
        for (before, end, first), (start, after, second) in pairwise(spans):
            if start < end:
                told = f"[{start}, {after}) overlaps [{before}, {end}) of {first!r}: two groups, one value."
                raise WrongField((*key, "groups", second), told)
