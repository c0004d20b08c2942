"""modality_config.py of a dataset, understood without running it: it is untrusted code."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.literals import (
    Constants,
    Dynamic,
    arguments,
    call_of,
    integer_list,
    is_none,
    items_or_none,
    member,
    resolve,
    text,
    texts,
)
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import DEFAULT_TAG
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.sources.containment import why_foreign

MAX_BYTES = 1 << 20
MAX_MODALITIES = 16


@dataclass(frozen=True)
class ActionRep:
    """An ActionConfig: rep is "RELATIVE", "ABSOLUTE" or "DELTA"."""

    rep: str
    type: str = "NON_EEF"
    state_key: str | None = None


@dataclass(frozen=True)
class GrootModality:
    """A ModalityConfig."""

    keys: tuple[str, ...]
    deltas: tuple[int, ...]
    action_configs: tuple[ActionRep, ...] | None = None
    sin_cos_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class GrootConfig:
    """GR00T's modality config, by modality: video, state, action, language; tag: the EmbodimentTag it is for."""

    modalities: Mapping[str, GrootModality] = field(default_factory=dict)
    tag: str = DEFAULT_TAG

    def keys(self, modality: str) -> tuple[str, ...]:
        """The modality's keys, none where it is left out."""
        return self.modalities[modality].keys if modality in self.modalities else ()

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
        return self.modalities["action"].deltas if "action" in self.modalities else ()

    @property
    def relative(self) -> Mapping[str, ActionRep]:
        """The RELATIVE actions, by key."""
        configs = self.modalities["action"].action_configs if "action" in self.modalities else None
        pairs = zip(self.keys("action"), configs or (), strict=False)
        return {key: config for key, config in pairs if config.rep == "RELATIVE"}


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
    fields = arguments(registered[0], ("config", "embodiment_tag"))
    config = resolve(fields.get("config"), constants)
    if not isinstance(config, ast.Dict) or len(config.keys) > MAX_MODALITIES:
        raise Dynamic(config)
    entries = zip(config.keys, config.values, strict=True)
    return GrootConfig(
        {text(key, constants): _modality(value, constants) for key, value in entries},
        member(fields["embodiment_tag"], constants) if "embodiment_tag" in fields else DEFAULT_TAG,
    )


def _modality(node: ast.expr, constants: Constants) -> GrootModality:
    call = call_of(node, "ModalityConfig", constants)
    fields = arguments(call, ("delta_indices", "modality_keys"))
    if not {"delta_indices", "modality_keys"} <= set(fields):
        raise Dynamic(call)
    actions = items_or_none(fields.get("action_configs"), constants)
    return GrootModality(
        keys=texts(fields["modality_keys"], constants),
        deltas=integer_list(fields["delta_indices"], constants),
        action_configs=None if actions is None else tuple(_action(item, constants) for item in actions),
        sin_cos_keys=texts(fields["sin_cos_embedding_keys"], constants) if "sin_cos_embedding_keys" in fields else (),
    )


def _action(node: ast.expr, constants: Constants) -> ActionRep:
    fields = arguments(call_of(node, "ActionConfig", constants), ("rep", "type", "format", "state_key"))
    if "rep" not in fields:
        raise Dynamic(node)
    state_key = fields.get("state_key")
    return ActionRep(
        rep=member(fields["rep"], constants),
        type=member(fields["type"], constants) if "type" in fields else "NON_EEF",
        state_key=None if state_key is None or is_none(state_key) else text(state_key, constants),
    )
