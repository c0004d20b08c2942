"""Where episodes are converted."""

from dataclasses import dataclass

from millrace.engine.errors import RecipeError
from millrace.engine.video.backends import GPU_SHARE


@dataclass(frozen=True)
class Workers:
    """Where episodes are converted: `num` actors of an embedded Ray or of the cluster at `address`, or in this process.

    num None: one for each core. gpu_share: of a GPU, what each of those takes that use one.
    """

    num: int | None = None
    address: str | None = None
    local: bool = False
    gpu_share: float = GPU_SHARE

    def __post_init__(self) -> None:
        if self.num is not None and self.num < 1:
            raise RecipeError(f"--workers takes at least 1 core, not {self.num}")
        if self.local and (self.num, self.address) != (None, None):
            raise RecipeError("--local works in this process alone: leave out --workers and --address")
        if not 0 < self.gpu_share <= 1:
            raise RecipeError(f"--gpu-share takes a part of a GPU, above 0 and at most 1, not {self.gpu_share:g}")
