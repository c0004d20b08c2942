"""How a global batch is divided among workers and passes."""

from dataclasses import dataclass

from millrace.embodiments import Remedy
from millrace.train.errors import BatchError
from millrace.train.settings import FinetuneSettings


@dataclass(frozen=True)
class BatchPlan:
    """global_size = per_device x accumulation x num_workers, exactly.

    N1.6 divides by the workers alone, so that accumulation multiplies what its flag calls the global batch.
    """

    per_device: int
    accumulation: int
    num_workers: int

    @property
    def global_size(self) -> int:
        """Samples in an optimizer step."""
        return self.per_device * self.accumulation * self.num_workers

    @classmethod
    def of(cls, settings: FinetuneSettings) -> "BatchPlan":
        """The plan that gives exactly --global-batch-size.

        Raises:
            BatchError: there is none.
        """
        size, accumulation, num_workers = (
            settings.global_batch_size,
            settings.gradient_accumulation_steps,
            settings.num_workers,
        )
        divisor = accumulation * num_workers
        if size % divisor:
            below = size - size % divisor
            near = f"{below} or {below + divisor}" if below else f"{divisor}"
            raise BatchError(
                f"--global-batch-size {size} is not a multiple of {num_workers} workers x {accumulation} "
                f"accumulation steps = {divisor}. ",
                Remedy(f"Try {near}"),
                got=size,
            )
        return cls(size // divisor, accumulation, num_workers)
