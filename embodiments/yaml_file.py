"""YAML files whose every error cites file and line."""

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError, model_validator
from pydantic_core import ErrorDetails
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from millrace.embodiments.errors import MillraceError, WrongField, check_name

MAX_BYTES = 1_000_000  # a robot is a few kilobytes
TOO_DEEP = "exceeded maximum nesting depth"  # libyaml's words, who stops before Python does

Key = tuple[str | int, ...]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
# Names become keys of modality.json, folders and lines of a .py file: no separators, no quotes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def one_or_more(item: Any) -> BeforeValidator:
    """The validator of a tuple of such items in whose place a file may hold one item by itself."""
    return BeforeValidator(
        lambda value: value if isinstance(value, (list, tuple)) else (value,), json_schema_input_type=item | list[item]
    )


Range = tuple[Number, Number]


def _as_ranges(ranges: object) -> object:
    one = isinstance(ranges, Sequence) and not any(isinstance(item, Sequence) for item in ranges)
    return (ranges,) if one else ranges


Ranges = Annotated[
    tuple[Range, ...], BeforeValidator(_as_ranges, json_schema_input_type=Range | list[Range]), Field(min_length=1)
]


class FrozenModel(BaseModel):
    """A frozen model of what a file holds; keys that it does not know are ignored."""

    model_config = ConfigDict(frozen=True)


class FileModel(BaseModel):
    """A part of a YAML file: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, data: object) -> object:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:  # the names that Python code may use in place of aliases
                check_name(key, f"field of {cls.__name__}", known, key=(key,))
        return data


BOUND = "Input should be "  # begins pydantic's messages that say what is expected
_MEMBER = "<"  # begins the tag of a union's member, so that it is no key of a file
Model = TypeVar("Model", bound=FileModel)


@dataclass(frozen=True)
class YamlFile:
    """A file's content, and the line (from 1) on which each of its keys and items stands."""

    path: Path
    content: dict[str, Any]
    lines: Mapping[Key, int]
    error: type[MillraceError]

    def error_at(self, key: Key, problem: str | MillraceError) -> MillraceError:
        """An error that cites the line of a key; a key that the file lacks is cited by its parent."""
        line = self.line(key)
        return self.error(f"{self.path}:{line}: ", problem, file=self.path, line=line)

    def line(self, key: Key) -> int:
        """The line of a key, or of its parent where the file lacks it."""
        return self.lines[self._known_part(key)]

    def _known_part(self, key: Key) -> Key:
        known: Key = ()
        for part in key:
            # pydantic's keys also name members of unions, which stand nowhere in the file.
            known = (*known, part) if (*known, part) in self.lines else known
        return known


def read_yaml(path: Path, *, error: type[MillraceError], text: str | None = None) -> YamlFile:
    """Read the mapping in a YAML file; text: its content, where it is not written yet.

    Raises:
        error: The file cannot be read, is over MAX_BYTES, is no YAML mapping, names a key twice, or
            uses an alias.
    """
    data = _read_bytes(path, error) if text is None else _encode(text, path, error)
    lines: dict[Key, int] = {(): 1}
    try:
        loader = _Loader(data)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise _marked_error(node, "the file must hold a mapping of fields")
        return YamlFile(path, _construct(loader, node, (), lines), lines, error)
    except yaml.MarkedYAMLError as problem:
        if problem.problem == TOO_DEEP:
            raise error(f"{path}: nested too deeply.", file=path) from None
        mark = problem.problem_mark or problem.context_mark
        # libyaml finds what is missing at the end one line below the last.
        line = min(mark.line + 1, max(1, len(data.splitlines()))) if mark else 1
        raise error(f"{path}:{line}: {problem.problem or problem.context}.", file=path, line=line) from None
    except (yaml.YAMLError, ValueError) as problem:
        raise error(f"{path}: not YAML: {' '.join(str(problem).split())}", file=path) from None
    except RecursionError:
        raise error(f"{path}: nested too deeply.", file=path) from None


def parse_yaml(model: type[Model], file: YamlFile, content: Mapping[str, object]) -> Model:
    """Validate content, the file's or derived from it, as a model.

    Raises:
        MillraceError: a field is wrong; of the file's error type, cites the line of the first one.
    """
    try:
        return model.model_validate(dict(content))
    except ValidationError as problem:
        raise file.error_at(*first_problem(problem)) from None


def first_problem(problem: ValidationError) -> tuple[Key, MillraceError]:
    """Key and error of the first of a model's problems; the message counts the others."""
    first, *others = problem.errors(include_url=False)
    more = f" (and {len(others)} more)" if others else ""
    return _key(first), MillraceError(_error(first), more)


def _key(problem: ErrorDetails) -> Key:
    cause = problem.get("ctx", {}).get("error")
    return (*problem["loc"], *(cause.key if isinstance(cause, WrongField) else ()))


def _error(problem: ErrorDetails) -> MillraceError:
    if cause := problem.get("ctx", {}).get("error"):
        return cause if isinstance(cause, MillraceError) else MillraceError(cause, got=problem["input"])
    where = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(_MEMBER))
    if problem["type"] == "missing":
        return MillraceError(f"{where} is missing.", expected=where)
    got, expected = problem["input"], problem["msg"].removeprefix(BOUND)
    return MillraceError(f"{where}: {problem['msg']}, got {reprlib.repr(got)}.", got=got, expected=expected)


def _encode(text: str, path: Path, error: type[MillraceError]) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as problem:
        raise error(f"{path}: {problem}.", file=path) from None
    return _check_size(data, path, error)


def _check_size(data: bytes, path: Path, error: type[MillraceError]) -> bytes:
    if len(data) > MAX_BYTES:
        message = f"{path}: over {MAX_BYTES} bytes; a robot or a map is far smaller."
        raise error(message, file=path, got=len(data), expected=MAX_BYTES)
    return data


def _read_bytes(path: Path, error: type[MillraceError]) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: no file, but a folder, a device or a pipe.", file=path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:  # ValueError: no path at all, by its characters
        raise error(f"{path}: {getattr(problem, 'strerror', problem)}.", file=path) from None
    return _check_size(data, path, error)


def _make_reader() -> Any:
    """PyYAML's composer, which the loader refines, above libyaml's scanner and parser where that is installed."""
    if not yaml.__with_libyaml__:
        return yaml.SafeLoader
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class Reader(Composer, CParser, SafeConstructor, Resolver):  # type: ignore[misc, unused-ignore]
        def __init__(self, data: bytes) -> None:
            CParser.__init__(self, data)
            for part in (Composer, SafeConstructor, Resolver):
                part.__init__(self)

    return Reader


class _Loader(_make_reader()):  # type: ignore[misc]
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            # A few nested aliases can unfold to gigabytes.
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed here; write it out",
                problem_mark=self.peek_event().start_mark,
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes texts that the loader would read as another type, and escapes what cannot be printed."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Without a style of its own, U+0085 and its like are written as line breaks.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)

# YAML 1.1, which PyYAML reads, takes 1e-3 for a string; people mean the number.
for _reader_or_writer in (_Loader, _Dumper):
    _reader_or_writer.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"),
        list("-+0123456789"),
    )


def dump_flow(value: str | list[str], *, indent: int = 0) -> str:
    """Dump a text or a list of texts as YAML in flow style; further lines are indented."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=100, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...").rstrip("\n")
    return text.replace("\n", "\n" + " " * indent)


def _construct(loader: _Loader, node: yaml.Node, key: Key, lines: dict[Key, int]) -> Any:
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_object(node)
    if node.tag == "tag:yaml.org,2002:seq":
        return [_construct(loader, item, (*key, i), lines) for i, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:map":
        return _construct_mapping(loader, node, key, lines)
    raise _marked_error(node, f"{node.tag} is not allowed here")


def _construct_mapping(loader: _Loader, node: yaml.Node, key: Key, lines: dict[Key, int]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name_node, value_node in node.value:
        if name_node.tag != "tag:yaml.org,2002:str":
            raise _marked_error(
                name_node,
                f"{name_node.value!r} is not a name; put it in quotes if it is meant as one",
            )
        name = name_node.value
        own = (*key, name)
        if name in content:
            raise _marked_error(name_node, f"{name!r} is named twice (first on line {lines[own]})")
        lines[own] = name_node.start_mark.line + 1
        content[name] = _construct(loader, value_node, own, lines)
    return content


def _marked_error(node: yaml.Node | None, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark if node else None)
