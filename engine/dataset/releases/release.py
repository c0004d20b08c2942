"""What one release of GR00T takes and knows, where it differs from others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Of modality configs that name none, and for robots that GR00T does not know; in every release.
DEFAULT_TAG: Literal["NEW_EMBODIMENT"] = "NEW_EMBODIMENT"


@dataclass(frozen=True)
class Tag:
    """An embodiment tag.

    Args:
        name: As flags and Python say it: a member of EmbodimentTag.
        value: As a checkpoint's files say it.
        projector: Index of its projectors, where a checkpoint's embodiment_id.json does not say another.
        has_config: Whether GR00T has a modality config for it, so that none may be registered.
    """

    name: str
    value: str
    projector: int
    has_config: bool = False


@dataclass(frozen=True)
class ModelLimits:
    """What a model takes at most.

    Args:
        model: Its name, for messages.
        max_dims: Values of "state" and of "action".
        max_horizon: Steps of an action chunk.
        encodes_sin_cos: Whether states that a modality config names for it become a sine and a cosine each.
    """

    model: str
    max_dims: Mapping[str, int]
    max_horizon: int
    encodes_sin_cos: bool = True


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of GR00T: its tags, its released model, its launcher's defaults, and what it is installed with.

    Args:
        backbone: The model's vision-language part, for messages.
        checkpoint_bytes: A checkpoint with its optimizer.
        image_side: Side of the square images that its processor makes, pixels.
        default_horizon: Steps of an action chunk, where nothing tells.
        unread_codecs: By video decoder, the default one first: codecs that it cannot read.
        pins: What pip installs, by package.
    """

    name: str
    tags: tuple[Tag, ...]
    limits: ModelLimits
    base_model: str
    model_type: str
    backbone: str
    checkpoint_bytes: float
    image_side: int
    default_horizon: int
    learning_rate: float
    state_dropout: float
    shard_size: int
    sampling_rate: float
    wandb_project: str
    unread_codecs: Mapping[str, frozenset[str]]
    pins: Mapping[str, str]

    def tag_value(self, name: str) -> str:
        """The value of a tag, by its name; an unknown name in lower case."""
        return next((tag.value for tag in self.tags if tag.name == name.upper()), name.lower())

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Names of all tags."""
        return tuple(tag.name for tag in self.tags)

    def has_config(self, tag: str) -> bool:
        """Whether the release has a modality config of its own for a tag, by its name."""
        return any(known.name == tag and known.has_config for known in self.tags)
