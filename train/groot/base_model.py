"""What a base model's small files say of it: its type, what it takes, and the sizes of its weights. None is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.releases import ModelLimits, Release
from millrace.train.checkpoint_files import FileModel, Weight, open_checkpoint_files, read_checkpoint_file
from millrace.train.errors import ConfigError

CONFIG, PROCESSOR, EMBODIMENTS = "config.json", "processor_config.json", "embodiment_id.json"


class ModelConfig(BaseModel):
    """config.json; what it leaves out is the release's default."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: str
    model_name: str | None = None
    max_state_dim: int
    max_action_dim: int
    action_horizon: int
    max_num_embodiments: int
    tune_top_llm_layers: int


class ProcessorKwargs(FrozenModel):
    """What processor_config.json holds under processor_kwargs; what it leaves out is the release's default."""

    max_state_dim: int
    max_action_dim: int
    max_action_horizon: int
    shortest_image_edge: int | None
    apply_sincos_state_encoding: bool = False
    image_target_size: tuple[int, int] | None = None
    letter_box_transform: bool = False


class _EmbodimentFile(RootModel[dict[str, int]]):
    """embodiment_id.json."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class BaseCheckpoint:
    """A base model.

    Args:
        name: Its folder, or its name on the Hub.
        release: That it is trained with.
        config: Of the model.
        processor: Of its processor.
        projectors: Index of each embodiment tag's projectors.
        weights: Its tensors; None where even their sizes are out of reach, for why_no_weights.
        why_no_weights: The reason, then.
    """

    name: str
    release: Release
    config: ModelConfig
    processor: ProcessorKwargs
    projectors: Mapping[str, int]
    weights: tuple[Weight, ...] | None
    why_no_weights: str | None = None

    @property
    def is_own_type(self) -> bool:
        """Whether it is NVIDIA's own model of the release, and no type of the user's."""
        return self.config.model_type == self.release.model_type

    @property
    def backbone(self) -> str | None:
        """The model that is loaded beside it, a folder or one on the Hub; None where there is none to be fetched."""
        gated = self.release.gated_backbone if self.is_own_type else None
        return gated and (self.config.model_name or gated)

    @property
    def limits(self) -> ModelLimits:
        """What both model and processor take; the horizon is that to which the processor pads chunks."""
        dims = {
            "state": min(self.config.max_state_dim, self.processor.max_state_dim),
            "action": min(self.config.max_action_dim, self.processor.max_action_dim),
        }
        sin_cos = self.processor.apply_sincos_state_encoding
        from_model = self.release.pads_to_model_horizon
        horizon = self.config.action_horizon if from_model else self.processor.max_action_horizon
        return ModelLimits(self.name, dims, horizon, encodes_sin_cos=sin_cos)

    @property
    def image_side(self) -> int:
        """Side of the square pictures that the processor makes."""
        size = self.processor.image_target_size
        return self.processor.shortest_image_edge or (size[0] if size else 0)


def read_base(name: str, release: Release) -> BaseCheckpoint:
    """A base model's small files.

    Args:
        name: Its folder, or its name on the Hub: what the Hub's cache lacks is fetched, but no weights.
        release: That trains it.

    Raises:
        ConfigError: the name leads to no checkpoint of GR00T, or the Hub is out of reach.
    """
    files = open_checkpoint_files(name)
    config = read_checkpoint_file(name, CONFIG, _with_defaults(ModelConfig, release.config_defaults))
    processor = _read_processor(name, release)
    # For tags that embodiment_id.json lacks.
    projectors: Mapping[str, int] = {tag.value: tag.projector for tag in release.tags}
    if files.path(EMBODIMENTS) is not None:
        projectors = {**projectors, **read_checkpoint_file(name, EMBODIMENTS, _EmbodimentFile).root}
    found = partial(BaseCheckpoint, name, release, config, processor, projectors)
    try:
        return found(files.weights())
    except ConfigError as error:
        return found(None, str(error))


def _read_processor(name: str, release: Release) -> ProcessorKwargs:
    kwargs = _with_defaults(ProcessorKwargs, release.processor_defaults)
    fields: Any = {"processor_kwargs": (kwargs, Field(default_factory=kwargs))}
    file = read_checkpoint_file(name, PROCESSOR, create_model("_ProcessorFile", __base__=FrozenModel, **fields))
    found: ProcessorKwargs = vars(file)["processor_kwargs"]
    return found


def _with_defaults(model: type[FileModel], defaults: Mapping[str, object]) -> type[FileModel]:
    """A model of a file with defaults for some of its fields."""
    fields: Any = {name: (model.model_fields[name].annotation, value) for name, value in defaults.items()}
    return create_model(model.__name__, __base__=model, **fields)
