"""modality_config.py of a dataset, understood without running it: it is untrusted code."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import StrictInt, TypeAdapter, ValidationError

from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.literals import Call, Dynamic, LiteralReader
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import DEFAULT_TAG
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.sources import why_foreign

MAX_BYTES = 1 << 20
# Arguments that are read, and how many of them need no keyword.
CALLS = {
    "ModalityConfig": Call(("delta_indices", "modality_keys", "action_configs", "sin_cos_embedding_keys"), 2),
    "ActionConfig": Call(("rep", "type", "format", "state_key"), 4, members=("rep", "type", "format")),
    "register_modality_config": Call(("config", "embodiment_tag"), 2, members=("embodiment_tag",)),
}


@dataclass(frozen=True)
class ActionRep:
    """An ActionConfig, its enums by the names of their members: rep is "RELATIVE", "ABSOLUTE" or "DELTA"."""

    rep: str
    type: str = "NON_EEF"
    state_key: str | None = None
    format: str = "DEFAULT"


@dataclass(frozen=True)
class GrootModality:
    """A ModalityConfig, its fields named as GR00T's."""

    modality_keys: tuple[str, ...]
    delta_indices: tuple[StrictInt, ...]
    action_configs: tuple[ActionRep, ...] | None = None
    sin_cos_embedding_keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class GrootConfig:
    """GR00T's modality config, by modality: video, state, action, language; tag: the EmbodimentTag it is for."""

    modalities: Mapping[str, GrootModality] = field(default_factory=dict)
    tag: str = DEFAULT_TAG

    def keys(self, modality: str) -> tuple[str, ...]:
        """The modality's keys, none where it is left out."""
        return self.modalities[modality].modality_keys if modality in self.modalities else ()

    @property
    def horizon(self) -> int | None:
        """Steps of an action chunk: one for each delta index (GR00T's stats.py, processing_gr00t_n1d6.py)."""
        return len(self._action_deltas) or None

    @property
    def span(self) -> int | None:
        """Frames from a chunk's first step to its last, for which an episode must have room.

        As GR00T's sharded_single_step_dataset.py counts them; with gaps between the steps more than the horizon.
        """
        deltas = self._action_deltas
        return max(deltas) - min(deltas) + 1 if deltas else None

    @property
    def _action_deltas(self) -> tuple[int, ...]:
        return self.modalities["action"].delta_indices if "action" in self.modalities else ()

    @property
    def relative(self) -> Mapping[str, ActionRep]:
        """The RELATIVE actions, by key."""
        configs = self.modalities["action"].action_configs if "action" in self.modalities else None
        pairs = zip(self.keys("action"), configs or (), strict=False)
        return {key: config for key, config in pairs if config.rep == "RELATIVE"}


_Modalities = TypeAdapter(dict[str, GrootModality])


def read_config(folder: Path, name: str = MODALITY_CONFIG) -> GrootConfig:
    """The config that a file of the folder registers; names are followed to constants of the file.

    Raises:
        Unreadable: no Python, or not understood without running it.
    """
    try:
        if reason := why_foreign(folder / name, folder):
            raise Unreadable(Problem.of("config-dynamic", name, f"{reason}; not judged"))
        with (folder / name).open("rb") as file:
            source = file.read(MAX_BYTES + 1)
        if len(source) > MAX_BYTES:
            raise Unreadable(Problem.of("config-dynamic", name, f"is over {MAX_BYTES} bytes long; not judged"))
        module = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(Problem.of("config-syntax", name, f"is no Python that can be read ({error})")) from error
    try:
        return _registered(module)
    except (Dynamic, RecursionError) as error:
        message = f"cannot be understood without running it ({error}), so what it asks for is not judged"
        raise Unreadable(Problem.of("config-dynamic", name, message)) from error


def _registered(module: ast.Module) -> GrootConfig:
    """The arguments of the one register_modality_config(...), in a file of nothing but imports and constants."""
    constants: dict[str, ast.expr] = {}
    registered: list[ast.Call] = []
    for statement in module.body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in constants:
                constants[name] = value
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
                pass
            case ast.Expr(value=ast.Call(func=ast.Name(id="register_modality_config")) as call):
                registered.append(call)
            case _:
                raise Dynamic(statement)
    if len(registered) != 1:
        raise Dynamic(module)
    found = LiteralReader(constants, CALLS).read(registered[0])
    try:
        return GrootConfig(_Modalities.validate_python(found.get("config")), found.get("embodiment_tag", DEFAULT_TAG))
    except ValidationError as error:
        raise Dynamic(registered[0]) from error
