"""The files of a checkpoint, in a folder or on the Hub, and the sizes of its statistics and of its weights."""

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from millrace.embodiments import FrozenModel
from millrace.train.errors import ConfigError

STATISTICS = "statistics.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
# huggingface_hub's own rule for names of models.
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# The format's own limit (safetensors, MAX_HEADER_SIZE).
MAX_HEADER_BYTES = 100_000_000
# What is read of each file of weights to tell it from others: evenly spread parts.
NUM_SAMPLES, SAMPLE_BYTES = 256, 4096

# How many values by embodiment tag, by "state", "action" or "relative_action", by joint group.
Widths = Mapping[str, Mapping[str, Mapping[str, int]]]
FileModel = TypeVar("FileModel", bound=BaseModel)


@dataclass(frozen=True)
class Weight:
    """One tensor of a checkpoint."""

    name: str
    num_values: int


class _Tensor(FrozenModel):
    """One entry of a safetensors header."""

    shape: tuple[int, ...]


class _Index(FrozenModel):
    """model.safetensors.index.json."""

    weight_map: dict[str, str]


class _StatisticsFile(RootModel[dict[str, dict[str, dict[str, dict[str, list[object]]]]]]):
    """A list of D values, or for relative actions of H such lists, by statistic; by group, by part, by tag."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class LocalCheckpoint:
    """A checkpoint's folder."""

    folder: Path

    def path(self, filename: str) -> Path | None:
        """The path of a file; None where there is none of that name."""
        return self.folder / filename if (self.folder / filename).is_file() else None

    def weights(self) -> tuple[Weight, ...]:
        """Every tensor, by the headers of its safetensors files.

        Raises:
            ConfigError: they cannot be read.
        """
        return tuple(weight for file in self.weight_files() for weight in read_header(file))

    def weight_files(self) -> list[Path]:
        """The safetensors files.

        Raises:
            ConfigError: there are none.
        """
        single, index = self.path(WEIGHTS), self.path(WEIGHTS_INDEX)
        if single is not None:
            return [single]
        if index is None:
            raise ConfigError(f"{self.folder} has neither {WEIGHTS} nor {WEIGHTS_INDEX}")
        try:
            names = _Index.model_validate_json(index.read_bytes()).weight_map.values()
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{index} is no index of weights ({type(error).__name__})") from error
        return [self.folder / name for name in dict.fromkeys(names)]


@dataclass(frozen=True)
class HubCheckpoint:
    """A model on the Hugging Face Hub: files from its cache, others over the network."""

    name: str

    def path(self, filename: str) -> Path | None:
        """The path of a file, fetched if need be; None where the model has none of that name.

        Raises:
            ConfigError: it is out of reach.
        """
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        cached = try_to_load_from_cache(self.name, filename)
        if isinstance(cached, str):
            return Path(cached)
        try:
            return Path(hf_hub_download(self.name, filename))
        except LocalEntryNotFoundError as error:
            raise ConfigError(
                f"{self.name}: {filename} is not in the Hub's cache, and the Hub is not reached"
            ) from error
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.name}: the Hub does not give {filename} ({_first_line(error)})") from error

    def weights(self) -> tuple[Weight, ...]:
        """As of a folder; of the safetensors files nothing but the headers is downloaded."""
        from huggingface_hub import constants, get_safetensors_metadata
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        if cached := self._cached():
            return cached.weights()
        if constants.HF_HUB_OFFLINE:
            raise ConfigError(f"{self.name}: its weights are not in the Hub's cache, and HF_HUB_OFFLINE is set")
        try:
            files = get_safetensors_metadata(self.name).files_metadata.values()
        except (NotASafetensorsRepoError, SafetensorsParsingError, OSError, ValueError) as error:
            raise ConfigError(f"{self.name}: the Hub does not tell its weights ({_first_line(error)})") from error
        return tuple(Weight(name, math.prod(tensor.shape)) for file in files for name, tensor in file.tensors.items())

    def weight_files(self) -> list[Path]:
        """As of a folder; none where the cache lacks them."""
        cached = self._cached()
        return [] if cached is None else cached.weight_files()

    def _cached(self) -> LocalCheckpoint | None:
        """The folder of its weights in the Hub's cache."""
        from huggingface_hub import try_to_load_from_cache

        cached = [try_to_load_from_cache(self.name, filename) for filename in (WEIGHTS, WEIGHTS_INDEX)]
        found = [Path(path) for path in cached if isinstance(path, str)]
        return LocalCheckpoint(found[0].parent) if found else None


def open_checkpoint_files(name: str) -> LocalCheckpoint | HubCheckpoint:
    """Open a base model: in a folder if there is one of that name, else on the Hub, as GR00T decides it.

    Raises:
        ConfigError: it can be neither.
    """
    if Path(name).is_dir():
        return LocalCheckpoint(Path(name))
    if not HUB_NAME.fullmatch(name):
        raise ConfigError(f"there is no folder {name}, and no model on the Hub can have that name")
    return HubCheckpoint(name)


def weights_digest(name: str) -> str | None:
    """Identifies a checkpoint's weights, wherever they lie, by parts of their files; None where they are not here."""
    digest = hashlib.sha256()
    try:
        files = open_checkpoint_files(name).weight_files()
        for file in files:
            num_bytes = file.stat().st_size
            digest.update(f"{num_bytes}\n".encode())
            with file.open("rb") as stream:
                for number in range(NUM_SAMPLES):
                    stream.seek(number * num_bytes // NUM_SAMPLES)
                    digest.update(stream.read(SAMPLE_BYTES))
    except (ConfigError, OSError):
        return None
    return digest.hexdigest() if files else None


def read_checkpoint_file(name: str, filename: str, model: type[FileModel]) -> FileModel:
    """Read one of a checkpoint's JSON files.

    Raises:
        ConfigError: it is missing or unreadable, or not what the model demands.
    """
    path = open_checkpoint_files(name).path(filename)
    if path is None:
        raise ConfigError(f"{name} has no {filename}")
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{name}: {filename} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{name}: {filename}: {where + ': ' if where else ''}{first['msg']}") from error


def read_widths(checkpoint: str) -> Widths:
    """How many values, or steps, each joint group of a checkpoint's statistics has.

    Raises:
        ConfigError: they are missing or malformed.
    """
    return {
        tag: {
            part: {group: len(next(iter(values.values()), ())) for group, values in groups.items()}
            for part, groups in parts.items()
        }
        for tag, parts in read_checkpoint_file(checkpoint, STATISTICS, _StatisticsFile).root.items()
    }


def read_limits(checkpoint: str, tag: str, part: str) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Smallest and largest value of each joint, two arrays (D,) by joint group, in a checkpoint's statistics.

    Args:
        part: "state" or "action".

    Raises:
        ConfigError: they are missing or malformed.
    """
    groups = read_checkpoint_file(checkpoint, STATISTICS, _StatisticsFile).root.get(tag, {}).get(part, {})
    try:
        return {
            group: (np.asarray(values["min"], dtype=np.float64), np.asarray(values["max"], dtype=np.float64))
            for group, values in groups.items()
        }
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{checkpoint}: {STATISTICS}: {tag}.{part} has no min and max that are numbers") from error


def read_header(file: Path) -> Iterator[Weight]:
    """The tensors of a safetensors file: eight bytes of length, that much JSON, and data, which is left alone.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        tensors = {name: _Tensor.model_validate(entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, struct.error, ValueError, AttributeError) as error:
        raise ConfigError(f"{file} is no safetensors file ({_first_line(error)})") from error
    yield from (Weight(name, math.prod(tensor.shape)) for name, tensor in tensors.items())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
