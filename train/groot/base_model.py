"""What a base model's small files say of it: its type, what it takes, and the sizes of its weights. None is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, RootModel

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.releases import CURRENT, ModelLimits
from millrace.train.checkpoint_files import Weight, open_checkpoint_files, read_checkpoint_file
from millrace.train.errors import ConfigError

CONFIG, PROCESSOR, EMBODIMENTS = "config.json", "processor_config.json", "embodiment_id.json"
# For tags that embodiment_id.json lacks.
PROJECTOR_OF_TAG = {tag.value: tag.projector for tag in CURRENT.tags}


class ModelConfig(BaseModel):
    """config.json; defaults are those of N1.6's Gr00tN1d6Config."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: str
    max_state_dim: int = 29
    max_action_dim: int = 29
    max_num_embodiments: int = 32
    tune_top_llm_layers: int = 4


class ProcessorKwargs(FrozenModel):
    """What processor_config.json holds under processor_kwargs; defaults are those of N1.6's Gr00tN1d6Processor."""

    max_state_dim: int = 29
    max_action_dim: int = 29
    max_action_horizon: int = 40
    apply_sincos_state_encoding: bool = False
    shortest_image_edge: int | None = 512
    image_target_size: tuple[int, int] | None = None


class _ProcessorFile(FrozenModel):
    """processor_config.json."""

    processor_kwargs: ProcessorKwargs = Field(default_factory=ProcessorKwargs)


class _EmbodimentFile(RootModel[dict[str, int]]):
    """embodiment_id.json."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class BaseCheckpoint:
    """A base model.

    Args:
        name: Its folder, or its name on the Hub.
        config: Of the model.
        processor: Of its processor.
        projectors: Index of each embodiment tag's projectors.
        weights: Its tensors; None where even their sizes are out of reach, for why_no_weights.
        why_no_weights: The reason, then.
    """

    name: str
    config: ModelConfig
    processor: ProcessorKwargs
    projectors: Mapping[str, int]
    weights: tuple[Weight, ...] | None
    why_no_weights: str | None = None

    @property
    def is_eagle(self) -> bool:
        """Whether it is NVIDIA's own model, whose backbone needs flash-attn and a GPU."""
        return self.config.model_type == CURRENT.model_type

    @property
    def limits(self) -> ModelLimits:
        """What both model and processor take; the horizon is the processor's, as the model takes any."""
        dims = {
            "state": min(self.config.max_state_dim, self.processor.max_state_dim),
            "action": min(self.config.max_action_dim, self.processor.max_action_dim),
        }
        sin_cos = self.processor.apply_sincos_state_encoding
        return ModelLimits(self.name, dims, self.processor.max_action_horizon, encodes_sin_cos=sin_cos)

    @property
    def image_side(self) -> int:
        """Side of the square pictures that the processor makes."""
        size = self.processor.image_target_size
        return self.processor.shortest_image_edge or (size[0] if size else 0)


def read_base(name: str) -> BaseCheckpoint:
    """A base model's small files.

    Args:
        name: Its folder, or its name on the Hub: what the Hub's cache lacks is fetched, but no weights.

    Raises:
        ConfigError: the name leads to no checkpoint of GR00T, or the Hub is out of reach.
    """
    files = open_checkpoint_files(name)
    config = read_checkpoint_file(name, CONFIG, ModelConfig)
    processor = read_checkpoint_file(name, PROCESSOR, _ProcessorFile).processor_kwargs
    projectors = PROJECTOR_OF_TAG
    if files.path(EMBODIMENTS) is not None:
        projectors = PROJECTOR_OF_TAG | read_checkpoint_file(name, EMBODIMENTS, _EmbodimentFile).root
    try:
        return BaseCheckpoint(name, config, processor, projectors, files.weights())
    except ConfigError as error:
        return BaseCheckpoint(name, config, processor, projectors, None, str(error))
