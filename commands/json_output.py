"""What a command did, and its errors, as JSON for scripts."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from pydantic import BaseModel

from millrace.commands.flags import show
from millrace.embodiments import Facts, Message, MillraceError
from millrace.engine.errors import EpisodesFailed, SeveralProblems, error_chain

WHERE = ("dataset", "episode", "camera", "file", "line")


def to_json_text(value: object) -> str:
    """A result as JSON, ASCII only; settings in its texts are flags."""
    return json.dumps(_plain(value), default=str, indent=2)


def describe_error(error: Exception) -> dict[str, object]:
    """An error as data: its type and message, the settings that it names, and what is known of its cause."""
    facts = Facts()
    for one in error_chain(error):
        facts = MillraceError().about(one.facts, **facts.given).facts if isinstance(one, MillraceError) else facts
    lines = error.lines if isinstance(error, MillraceError) else [str(error)]
    found: dict[str, object] = {
        "type": type(error).__name__,
        "message": "\n".join(map(show, lines)),
        "settings": {one.name: one.value for line in lines if isinstance(line, Message) for one in line.settings},
        "where": {name: getattr(facts, name) for name in WHERE},
        "got": facts.got,
        "expected": facts.expected,
        "known": facts.known,
    }
    if isinstance(error, SeveralProblems):
        found["problems"] = [describe_error(problem) for problem in error.problems]
    return found


def error_to_json(error: Exception) -> str:
    """The JSON that a command with --json prints when it fails."""
    quarantined = error.quarantined if isinstance(error, EpisodesFailed) else ()
    return to_json_text({"error": describe_error(error), "quarantined": quarantined})


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        value = dict(value)
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return show(value) if isinstance(value, Message) else value
