"""A pipeline file: each section is a command, and its keys are the command's flags."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from millrace.embodiments import Key, Message, MillraceError, YamlFile, read_yaml, unknown_name
from millrace.engine.errors import RecipeError, RecipeProblems
from millrace.engine.layout import META
from millrace.engine.planning.recipe_problems import KEYS, cite_problems
from millrace.engine.stores.address import is_store_address
from millrace.train.run_identity import dataset_digest

SECTIONS = ("convert", "validate", "finetune", "evaluate", "rollout", "upload")

Value = TypeVar("Value")


class PipelineFile:
    """A pipeline file while it is checked: problems are collected and raised at the end.

    Raises:
        RecipeError: the file cannot be read, or is no YAML.
    """

    def __init__(self, path: Path) -> None:
        self.file = read_yaml(path.absolute(), error=RecipeError)
        self._found: list[tuple[Key, MillraceError]] = []
        self._cited: list[MillraceError] = []
        for name in self.file.content:
            if name not in SECTIONS:
                self.add((name,), unknown_name(name, "section of a pipeline", SECTIONS))
        if not set(SECTIONS) & set(self.file.content):
            self.add((), f"there is nothing to do; sections are {', '.join(SECTIONS)}")

    @property
    def content(self) -> Mapping[str, Any]:
        """The file's content, unchecked."""
        return self.file.content

    @property
    def folder(self) -> Path:
        """The folder that paths in the file are relative to."""
        return self.file.path.parent

    def add(self, key: Key, problem: str | MillraceError) -> None:
        """Add a problem at a key; of a section as a whole, it is cited at the key that it names."""
        error = RecipeError(problem) if isinstance(problem, str) else problem
        self._found.append((self._named_key(key, error) if len(key) == 1 else key, error))

    def _named_key(self, key: Key, error: MillraceError) -> Key:
        """The key of the first setting that an error names, where the section has it."""
        section = self.file.content[str(key[0])]
        written = {str(name).replace("-", "_"): name for name in section} if isinstance(section, Mapping) else {}
        settings = error.message.what.settings if isinstance(error.message, Message) else ()
        named = (written.get(KEYS.get(setting.name, setting.name)) for setting in settings)
        return (*key, *[name for name in named if name is not None][:1])

    def check(self) -> None:
        """Raise the collected problems, if there are any.

        Raises:
            RecipeProblems: a line for each, in the order of the file.
        """
        cited = [*cite_problems(self._found, self.file).problems, *self._cited]
        cited.sort(key=self._place)
        if cited:
            raise RecipeProblems(cited)

    def section(self, name: str, kind: "StepKind") -> dict[str, Any] | None:
        """Check a section and return its values; None where it is not in the file, or wrong.

        Keys may be written as flags are, with hyphens. Paths are relative to the file. A section that needs no key may
        be empty.
        """
        if name not in self.file.content:
            return None
        content = self.file.content[name]
        if content is None and not kind.required:
            content = {}
        if not isinstance(content, Mapping):
            self.add((name,), f"{name} holds keys, such as {', '.join(kind.required) or next(iter(kind.types))}")
            return None
        num_before, values = len(self._found), {}
        for written, value in content.items():
            key = written.replace("-", "_")
            if key not in kind.types:
                self.add((name, written), unknown_name(written, f"key of {name}", kind.types))
            elif key in values:
                self.add((name, written), f"{written} is given twice, with hyphens and without")
            else:
                values[key] = self._value((name, written), kind.types[key], value)
        for key in kind.required:
            if key not in values:
                self.add((name,), f"{key} is missing")
        return values if len(self._found) == num_before else None

    def subsection(self, *prefix: str) -> YamlFile:
        """A mapping within the file, as a file of its own that cites the same lines."""
        content: Any = self.file.content
        for name in prefix:
            content = content[name]
        size = len(prefix)
        lines = {key[size:]: line for key, line in self.file.lines.items() if key[:size] == prefix}
        return YamlFile(self.file.path, content, lines, self.file.error)

    def attempt(self, name: str, work: Callable[[], Value]) -> Value | None:
        """What some work returns; where it fails, None, and the error is a problem of a section."""
        try:
            return work()
        except MillraceError as error:
            self.add((name,), error)
            return None

    def add_cited(self, section: str, problems: Iterable[MillraceError]) -> None:
        """Add problems that cite their file and line; one that cites none is of a key of the section."""
        for problem in problems:
            if problem.facts.line is None:
                self.add((section,), problem)
            else:
                self._cited.append(problem)

    def _place(self, problem: MillraceError) -> float:
        """The line of an error in the file, by which errors are sorted; errors in a separate recipe file come last."""
        facts = problem.facts
        return facts.line if facts.line is not None and facts.file == self.file.path else math.inf

    def _value(self, key: Key, kind: Any, value: object) -> Any:
        try:
            checked = TypeAdapter(kind).validate_python(_coerce(kind, value))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            self.add(key, f"{key[-1]}: {first['msg']}, got {value!r}")
            return None
        return _resolve_paths(checked, self.folder)


class StepKind:
    """The keys that a section may have: fields of a command.

    Args:
        command: A dataclass.
        excluded: Fields that are no keys.
        extra: Further keys and their types.
    """

    def __init__(self, command: type, *, excluded: tuple[str, ...], extra: Mapping[str, Any] = {}) -> None:
        self.command, self.excluded, self.extra = command, {"debug", *excluded}, extra

    @cached_property
    def types(self) -> dict[str, Any]:
        """The type of each key."""
        hints = get_type_hints(self.command)
        return {field.name: hints[field.name] for field in self._fields} | dict(self.extra)

    @property
    def required(self) -> list[str]:
        """Keys for which the command has no default."""
        return [field.name for field in self._fields if field.default is MISSING and field.default_factory is MISSING]

    @property
    def _fields(self) -> list["Field[Any]"]:
        return [field for field in fields(self.command) if field.name not in self.excluded]


def _coerce(kind: Any, value: object) -> object:
    """Numbers where a command line has text, such as `episodes: 3`, and one value where a list of them may stand."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (kind is str or str in get_args(kind)):
        return str(value)
    return [value] if get_origin(kind) is tuple and isinstance(value, str | int | float) else value


def _resolve_paths(value: object, folder: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolve_paths(item, folder) for item in value)
    return folder / value if isinstance(value, Path) and not is_store_address(value) else value


def dump_settings(values: Mapping[str, Any], files: Iterable[Path | None] = ()) -> str:
    """Settings as text, with digests of files that they name: a map, the user's own model type."""
    return json.dumps([values, [file_digest(file) for file in files if file]], default=str, sort_keys=True)


def file_digest(file: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def digest_datasets(folders: Iterable[Path]) -> str | None:
    """Text that identifies finished datasets; None while one is not there."""
    datasets = tuple(folders)
    if not all((dataset / META / "info.json").is_file() for dataset in datasets):
        return None
    return " ".join(map(dataset_digest, datasets))
