"""What one release of GR00T has of its own in training and inference. Nothing here imports gr00t."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from millrace.engine.dataset.releases import Release
from millrace.train.groot.model_parts import ModelParts
from millrace.train.installed import require_groot

# Steps of one embodiment to samples, in their order.
BatchSteps = Callable[[Sequence[Any]], list[dict[str, Any]]]


class Adapter(Protocol):
    """One release's own part; methods that import gr00t do so when they are called.

    Args:
        parts: Its model, by the names of its weights.
        loader_modules: Modules that its loader processes need.
    """

    parts: ModelParts
    loader_modules: tuple[str, ...]

    def launcher_values(self, base: Any) -> Mapping[str, Any]:
        """Values that its launcher sets in the model's config whatever the flags are; base: the base model's config."""

    def batch_steps(self, processor: Any) -> BatchSteps | None:
        """A processor's work on many steps at once; None for processors of the user, which may do other things."""

    def batch_image_bytes(self, side: int) -> int:
        """Bytes of one image of a batch as the model takes it, of an image of `side` x `side` pixels."""

    def wrap_collator(self, collator: Any) -> Any:
        """Our collator around the release's; one of the user as it is."""


def load_adapter(release: Release) -> Adapter:
    """The adapter of a release."""
    adapter: Adapter = import_module(f"{__package__}.{release.package}.adapter").ADAPTER
    return adapter


def installed_adapter() -> Adapter:
    """The adapter of the GR00T that is installed."""
    return load_adapter(require_groot())
