"""What one release of GR00T takes and knows, where it differs from others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Field:
    """A field of one of GR00T's config classes: file in its package, name of the class, name of the field."""

    file: str
    owner: str
    name: str


@dataclass(frozen=True)
class Build:
    """Python and packages that a release is installed with; pins: what pip installs, by package."""

    python: str
    pins: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of GR00T: its tags, its released model, its launcher's defaults, and what it is installed with.

    Args:
        name: For messages: "N1.6".
        choice: As the setting gr00t has it: "n1.6".
        package: Name of its adapter in millrace.train.groot.
        marker: A file in the package gr00t that this release alone has.
        missing_tags: Names of other releases' tags that this one lacks, with what to use instead.
        gated_backbone: A model on the Hub that is loaded beside the base model, and wants a licence accepted.
        needs_flash_attention: Whether the model can do nothing without flash-attn, and so without a GPU.
        backbone: The model's vision-language part, for messages.
        checkpoint_bytes: A checkpoint with its optimizer.
        config_defaults: Of its model's config, by name, where config.json leaves them out.
        processor_defaults: Of its processor's arguments, by name, where processor_config.json leaves them out.
        has_fingerprints: Whether its newest build looks for fingerprints in relative_stats.json, at which others stop.
        pads_to_model_horizon: Whether its processor pads action chunks to the model's horizon, not to one of its own.
        image_side: Side of the square images that its processor makes, pixels.
        default_horizon: Steps of an action chunk, where nothing tells.
        flags: Settings that not every release, or not every build of it, has: the config field that tells.
        branch: Branch or tag of NVIDIA's repository.
        builds: Pythons and packages that it is installed with, the newest build first.
        unread_codecs: By video decoder, the default one first: codecs that it cannot read.
    """

    name: str
    choice: Literal["n1.6", "n1.7"]
    package: str
    marker: str
    tags: tuple[Tag, ...]
    missing_tags: Mapping[str, str] = field(default_factory=dict)
    limits: ModelLimits
    base_model: str
    model_type: str
    gated_backbone: str | None = None
    needs_flash_attention: bool = False
    backbone: str
    checkpoint_bytes: float
    config_defaults: Mapping[str, int]
    processor_defaults: Mapping[str, int]
    has_fingerprints: bool = False
    pads_to_model_horizon: bool = False
    image_side: int
    state_dropout: float
    wandb_project: str
    flags: Mapping[str, Field] = field(default_factory=dict)
    branch: str
    builds: tuple[Build, ...]
    # The same in every release so far.
    default_horizon: int = 16  # the guides' and most of NVIDIA's configs'
    # gr00t/configs/finetune_config.py
    learning_rate: float = 1e-4
    shard_size: int = 2**10
    sampling_rate: float = 0.1
    # torchcodec 0.4 reads whatever its FFmpeg does, decord 0.6 no AV1.
    unread_codecs: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {"torchcodec": frozenset(), "decord": frozenset({"av1"})}
    )

    def find_tag(self, text: str) -> Tag | None:
        """The tag of a name or a value, in any case; None where the release has none. Names come first."""
        key = text.strip().lower()
        by_name = next((tag for tag in self.tags if tag.name.lower() == key), None)
        return by_name or next((tag for tag in self.tags if tag.value.lower() == key), None)

    def tag_name(self, text: str) -> str:
        """The name of a tag, by its name or its value; an unknown one in upper case."""
        found = self.find_tag(text)
        return text.strip().upper() if found is None else found.name

    def tag_value(self, text: str) -> str:
        """The value of a tag, by its name or its value; an unknown one in lower case."""
        found = self.find_tag(text)
        return text.strip().lower() if found is None else found.value

    def describe_unknown_tag(self, text: str) -> str:
        """Why a tag is none of the release's, and which there are."""
        name = text.strip().upper()
        instead = self.missing_tags.get(name)
        told = f"{name} is no tag of GR00T {self.name}"
        return f"{told}{'' if instead is None else f': {instead}'}. Known: {', '.join(self.tag_names)}"

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Names of all tags."""
        return tuple(tag.name for tag in self.tags)

    def has_config(self, tag: str) -> bool:
        """Whether the release has a modality config of its own for a tag, by its name or its value."""
        found = self.find_tag(tag)
        return found is not None and found.has_config

    @property
    def pins(self) -> Mapping[str, str]:
        """What pip installs with its newest build, by package."""
        return self.builds[0].pins

    @property
    def pythons(self) -> tuple[str, ...]:
        """Versions of Python that a build of it runs on."""
        return tuple(dict.fromkeys(build.python for build in self.builds))
