"""modality_config.py of a dataset, understood without running it: it is untrusted code."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.layout import MODALITY_CONFIG
from engine.sources.containment import why_foreign
from engine.validate.files import Unreadable
from engine.validate.report import problem

MAX_BYTES = 1 << 20
# Of a list, and of the numbers in it: a list that many modalities share is held for each.
MAX_STEPS = 4096
MAX_MODALITIES = 16

# What register_modality_config takes where it is given no tag (N1.6, gr00t/configs/data/embodiment_configs.py).
DEFAULT_TAG = "NEW_EMBODIMENT"


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


class _Dynamic(Exception):
    """An expression that only running it could tell."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__(f"see line {getattr(node, 'lineno', 1)}")


def read_config(folder: Path, name: str = MODALITY_CONFIG) -> GrootConfig:
    """The config that a file of the folder registers; names are followed to constants of the file.

    Raises:
        Unreadable: no Python, or not understood without running it.
    """
    try:
        if reason := why_foreign(folder / name, folder):
            raise Unreadable(problem("config-dynamic", name, f"{reason}; not judged"))
        with (folder / name).open("rb") as file:
            source = file.read(MAX_BYTES + 1)
        if len(source) > MAX_BYTES:
            raise Unreadable(problem("config-dynamic", name, f"is over {MAX_BYTES} bytes long; not judged"))
        module = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(problem("config-syntax", name, f"is no Python that can be read ({error})")) from error
    try:
        return _registered(module)
    except (_Dynamic, RecursionError) as error:
        message = f"cannot be understood without running it ({error}), so what it asks for is not judged"
        raise Unreadable(problem("config-dynamic", name, message)) from error


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
                raise _Dynamic(statement)
    if len(registered) != 1:
        raise _Dynamic(module)
    fields = _fields(registered[0], ("config", "embodiment_tag"))
    config = _resolve(fields.get("config"), constants)
    if not isinstance(config, ast.Dict) or len(config.keys) > MAX_MODALITIES:
        raise _Dynamic(config)
    entries = zip(config.keys, config.values, strict=True)
    return GrootConfig(
        {_text(key, constants): _modality(value, constants) for key, value in entries},
        _member(fields["embodiment_tag"], constants) if "embodiment_tag" in fields else DEFAULT_TAG,
    )


Constants = Mapping[str, ast.expr]


def _modality(node: ast.expr, constants: Constants) -> GrootModality:
    call = _call(node, "ModalityConfig", constants)
    fields = _fields(call, ("delta_indices", "modality_keys"))
    if not {"delta_indices", "modality_keys"} <= set(fields):
        raise _Dynamic(call)
    actions = _items_or_none(fields.get("action_configs"), constants)
    return GrootModality(
        keys=_texts(fields["modality_keys"], constants),
        deltas=_integers(fields["delta_indices"], constants),
        action_configs=None if actions is None else tuple(_action(item, constants) for item in actions),
        sin_cos_keys=_texts(fields["sin_cos_embedding_keys"], constants) if "sin_cos_embedding_keys" in fields else (),
    )


def _action(node: ast.expr, constants: Constants) -> ActionRep:
    fields = _fields(_call(node, "ActionConfig", constants), ("rep", "type", "format", "state_key"))
    if "rep" not in fields:
        raise _Dynamic(node)
    state_key = fields.get("state_key")
    return ActionRep(
        rep=_member(fields["rep"], constants),
        type=_member(fields["type"], constants) if "type" in fields else "NON_EEF",
        state_key=None if state_key is None or _is_none(state_key) else _text(state_key, constants),
    )


def _call(node: ast.expr, function: str, constants: Constants) -> ast.Call:
    node = _resolve(node, constants)
    if isinstance(node, ast.Call) and _name(node.func) == function:
        return node
    raise _Dynamic(node)


def _fields(call: ast.Call, positions: tuple[str, ...]) -> dict[str, ast.expr]:
    """A call's arguments by name."""
    if len(call.args) > len(positions) or any(keyword.arg is None for keyword in call.keywords):
        raise _Dynamic(call)
    given = dict(zip(positions, call.args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


def _items_or_none(node: ast.expr | None, constants: Constants) -> list[ast.expr] | None:
    return None if node is None or _is_none(node) else _items(node, constants)


def _items(node: ast.expr, constants: Constants) -> list[ast.expr]:
    node = _resolve(node, constants)
    if isinstance(node, ast.List | ast.Tuple) and len(node.elts) <= MAX_STEPS:
        return node.elts
    raise _Dynamic(node)


def _texts(node: ast.expr, constants: Constants) -> tuple[str, ...]:
    items = _items_or_none(node, constants)
    return tuple(_text(item, constants) for item in items or ())


def _text(node: ast.expr | None, constants: Constants) -> str:
    node = _resolve(node, constants)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _Dynamic(node)


def _integers(node: ast.expr, constants: Constants) -> tuple[int, ...]:
    """[0, 1, 2] or list(range(...))."""
    node = _resolve(node, constants)
    if isinstance(node, ast.Call) and _name(node.func) == "list" and len(node.args) == 1:
        return _range(_call(node.args[0], "range", constants), constants)
    return tuple(_integer(item, constants) for item in _items(node, constants))


def _range(call: ast.Call, constants: Constants) -> tuple[int, ...]:
    bounds = [_integer(bound, constants) for bound in call.args]
    if not 1 <= len(bounds) <= 3 or (len(bounds) == 3 and bounds[2] == 0):
        raise _Dynamic(call)
    steps = range(*bounds)
    if not steps or abs(steps[-1] - steps[0]) > MAX_STEPS:
        raise _Dynamic(call)
    return tuple(steps)


def _integer(node: ast.expr, constants: Constants) -> int:
    node = _resolve(node, constants)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_integer(node.operand, constants)
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= MAX_STEPS:
        return node.value
    raise _Dynamic(node)


def _member(node: ast.expr, constants: Constants) -> str:
    """The last part of ActionRepresentation.RELATIVE."""
    node = _resolve(node, constants)
    if isinstance(node, ast.Attribute):
        return node.attr
    raise _Dynamic(node)


def _resolve(node: ast.expr | None, constants: Constants) -> ast.expr:
    """A name's constant, followed as long as it is a name."""
    seen: set[str] = set()
    while isinstance(node, ast.Name) and node.id in constants and node.id not in seen:
        seen.add(node.id)
        node = constants[node.id]
    if node is None or isinstance(node, ast.Name):
        raise _Dynamic(node or ast.Constant(None))
    return node


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
