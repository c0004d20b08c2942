"""Show and read a command's flags in groups: each dataclass that a command inherits from is one."""

import ast
from contextlib import redirect_stderr
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from inspect import get_annotations, getsource
from io import StringIO
from itertools import pairwise
from textwrap import dedent
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import OmitArgPrefixes, arg

from millrace.commands.parser_messages import explain_refusal

Command = TypeVar("Command")
SUFFIXES = ("Flags", "Settings")
# Defaults that a flag's own text says in words.
UNSAID = (None, ())


def read_command(command: type[Command], words: list[str], *, name: str) -> Command:
    """A command as its command line says; --help shows a box for each of its groups.

    Raises:
        SystemExit: for --help.
        RecipeError: the parser refuses a word.
    """
    groups = _list_groups(command)
    nested, printed = make_parser_type(command), StringIO()
    try:
        with redirect_stderr(printed):
            found: Any = tyro.cli(nested, prog=f"millrace {name}", args=words)
    except SystemExit as end:
        if not end.code:
            raise
        raise explain_refusal(printed.getvalue(), words, command, name=name) from None
    values = ((one, getattr(found, title)) for title, group in groups.items() for one in get_annotations(group))
    return command(**{one: getattr(read, one) for one, read in values})


def make_parser_type(command: type) -> type:
    """A command as the parser takes it: a dataclass with a field for each of its groups."""
    boxes = [(title, _make_box(group, command)) for title, group in _list_groups(command).items()]
    return make_dataclass(command.__name__, boxes, namespace={"__doc__": command.__doc__})


def _list_groups(command: type) -> dict[str, type]:
    return {_name_group(group, command): group for group in find_groups(command)}


def find_groups(command: type) -> list[type]:
    """The dataclasses that declare a command's flags, itself first."""
    return [part for part in command.__mro__ if is_dataclass(part) and get_annotations(part)]


def _name_group(group: type, command: type) -> str:
    """What a parser's title for a group begins with, as "image" in "image options"."""
    if group is command:
        return "own"
    name = group.__name__
    return next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)).lower()


def _make_box(group: type, command: type) -> Any:
    """A group for the parser: only the flags that it declares itself, with their help texts."""
    kinds, texts = get_type_hints(group, include_extras=True), _read_texts(group)
    own = [one for one in fields(group) if one.name in get_annotations(group)]
    flags = [(one.name, _mark(kinds[one.name], one), _with_text(one, texts.get(one.name, ""))) for one in own]
    box = make_dataclass(group.__name__, flags, namespace={"__doc__": group.__doc__}, kw_only=True)
    # Without a name, a command's own flags are shown beside --help.
    return Annotated[box, arg(name="") if group is command else OmitArgPrefixes]


def _mark(kind: Any, flag: "Field[Any]") -> Any:
    """A flag's type; its help does not say that a value may be None, or a default is None or empty."""
    marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    bare = get_args(kind)[0] if marks else kind
    if flag.default in UNSAID and all(getattr(mark, "help_behavior_hint", None) is None for mark in marks):
        kind = Annotated[kind, arg(help_behavior_hint="")]
    if NoneType in get_args(bare) and all(getattr(mark, "metavar", None) is None for mark in marks):
        kind = Annotated[kind, arg(metavar=_name_value(bare))]
    return kind


def _name_value(kind: Any) -> str:
    """What an optional flag takes, for its help."""
    inner = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(inner) is Literal:
        return "|".join(map(str, get_args(inner)))
    if get_origin(inner) is dict:
        return "NAME VALUE ..."
    return str(inner.__name__).upper()


def _with_text(flag: "Field[Any]", text: str) -> Any:
    default = {} if flag.default is MISSING else {"default": flag.default}
    return field(**default, metadata={"help": text})


def _read_texts(group: type) -> dict[str, str]:
    """The text below each field of a dataclass, each in one line, which the parser wraps."""
    body = ast.parse(dedent(getsource(group))).body[0].body  # type: ignore[attr-defined]
    return {
        node.target.id: " ".join(below.value.value.split())
        for node, below in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
