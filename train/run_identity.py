"""What a run trains, on what, and how: a folder holds runs of one identity."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.layout import MANIFEST, META
from millrace.train.checkpoint_files import weights_digest
from millrace.train.errors import SettingsError
from millrace.train.settings import FinetuneSettings

# Of a dataset that Millrace did not make; statistics are left out, as GR00T writes those that it misses.
DESCRIBING_FILES = ("info.json", "episodes.jsonl", "tasks.jsonl", "modality.json")
# Fields that are compared in another way than by being equal.
COMPARED_ELSEWHERE = ("base_model", "base_digest", "datasets", "digests", "optimizer")
# Fields that are compared where both runs have them.
OPTIONAL = ("gr00t", "scaling", "images")


class RunIdentity(BaseModel):
    """What a run trains, and on what; a folder holds runs of one identity.

    base_digest: of the base model's weights; None where they are not on this machine, or in files of earlier versions.
    optimizer: how its state is stored, see `describe_optimizer`; None in files of earlier versions.
    gr00t, scaling, images: the release, how it scales state and action, and images; None in files of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str
    base_digest: str | None = None
    datasets: tuple[str, ...]
    digests: tuple[str, ...]
    embodiment_tag: str
    robot: str
    action_horizon: int
    modality_keys: tuple[str, ...]
    optimizer: str | None = None
    gr00t: str | None = None
    scaling: str | None = None
    images: str | None = None

    def describe_changes(self, earlier: "RunIdentity") -> list[str]:
        """What differs, in words; a dataset or a base model that only moved does not differ."""
        told = [
            f"{name.replace('_', ' ')} {_text(getattr(earlier, name))}, not {_text(getattr(self, name))}"
            for name in type(self).model_fields
            if name not in COMPARED_ELSEWHERE and self._differs(earlier, name)
        ]
        if self._has_other_base(earlier):
            told.insert(0, f"base model {_base(earlier)}, not {_base(self)}")
        if self.digests != earlier.digests:
            told.insert(0, f"dataset {_dataset(earlier)}, not {_dataset(self)}")
        return told

    def _differs(self, earlier: "RunIdentity", name: str) -> bool:
        values = (getattr(earlier, name), getattr(self, name))
        return values[0] != values[1] and not (name in OPTIONAL and None in values)

    def _has_other_base(self, earlier: "RunIdentity") -> bool:
        if self.base_digest is None or earlier.base_digest is None:
            return self.base_model != earlier.base_model
        return self.base_digest != earlier.base_digest


def identify_run(settings: FinetuneSettings, configs: Sequence[GrootConfig]) -> RunIdentity:
    """The identity of a run that trains with a modality config for each of its parts.

    Raises:
        SettingsError: there is no dataset, or its manifest cannot be read.
    """
    return RunIdentity(
        base_model=settings.base_model_path,
        base_digest=weights_digest(settings.base_model_path),
        datasets=tuple(map(str, settings.datasets)),
        digests=tuple(map(dataset_digest, settings.datasets)),
        embodiment_tag=", ".join(part.embodiment_tag for part in settings.parts),
        robot=", ".join(sorted({read_robot_name(dataset) for dataset in settings.datasets})),
        action_horizon=max(config.horizon or 0 for config in configs),
        modality_keys=_modality_keys(settings, configs),
        optimizer=describe_optimizer(settings),
        **describe_release(settings),
    )


def describe_release(settings: FinetuneSettings) -> Mapping[str, str]:
    """The fields of a run's identity that its release and the flags of that decide."""
    uses_percentiles = "use_percentiles" in settings.release.flags and settings.use_percentiles is not False
    edge, crop = settings.shortest_image_edge, settings.crop_fraction
    return {
        "gr00t": settings.release.name,
        "scaling": "by q01 and q99" if uses_percentiles else "by min and max",
        "images": "as the base model" if edge is None else f"of shortest edge {edge}, cropped to {crop:g}",
    }


def _modality_keys(settings: FinetuneSettings, configs: Sequence[GrootConfig]) -> tuple[str, ...]:
    """Such as "state.left_arm"; behind its tag where there are several."""
    parts = settings.parts
    return tuple(
        f"{name}.{key}" if len(parts) == 1 else f"{part.tag} {name}.{key}"
        for part, config in zip(parts, configs, strict=True)
        for name, modality in config.modalities.items()
        for key in modality.modality_keys
    )


def describe_optimizer(settings: FinetuneSettings) -> str:
    """How a run stores the optimizer in a checkpoint: what only a run that does the same can load.

    DeepSpeed 0.17 loads shares into as many workers as have written them only (runtime/engine.py,
    _load_zero_checkpoint), and transformers takes no shares without it: it trains on with a new optimizer.
    """
    if not settings.uses_deepspeed:
        return "as a whole"
    return f"in shares of {settings.num_workers} workers, by DeepSpeed's stage {settings.deepspeed_stage}"


def dataset_digest(dataset: Path) -> str:
    """Identifies a dataset: by the digests of files in Millrace's manifest, else by names and sizes.

    Raises:
        SettingsError: there is no dataset, or its manifest cannot be read.
    """
    if not (dataset / META / "info.json").is_file():
        raise SettingsError(f"no GR00T dataset at {dataset}: {META}/info.json is missing")
    digest = hashlib.sha256()
    if (dataset / MANIFEST).is_file():
        try:
            files = read_manifest_head(dataset).model_dump(mode="json")["files"]
        except Unreadable as error:
            raise SettingsError(f"{dataset}: {error}") from error
        digest.update(json.dumps(files, sort_keys=True).encode())
    else:
        for name in DESCRIBING_FILES:
            digest.update((dataset / META / name).read_bytes())
        for path in sorted(path for folder in ("data", "videos") for path in (dataset / folder).rglob("*.*")):
            digest.update(f"{path.relative_to(dataset)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def read_robot_name(dataset: Path) -> str:
    """The robot's name in info.json; "unknown" where it has none."""
    info = json.loads((dataset / META / "info.json").read_text(encoding="utf-8"))
    return str(info.get("robot_type") or "unknown")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _base(identity: RunIdentity) -> str:
    return identity.base_model + (f" ({identity.base_digest[:8]})" if identity.base_digest else "")


def _dataset(identity: RunIdentity) -> str:
    return ", ".join(f"{path} ({digest[:8]})" for path, digest in zip(identity.datasets, identity.digests, strict=True))
