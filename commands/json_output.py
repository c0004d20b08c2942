"""What a command did, and its errors, as JSON for scripts; docs/what-can-go-wrong.md describes it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import isfinite

from pydantic import BaseModel

from millrace.commands.flags import make_flag, show
from millrace.embodiments import Message, MillraceError, Setting
from millrace.embodiments.errors import list_facts
from millrace.embodiments.messages import FileSetting
from millrace.engine.errors import EpisodesFailed, SeveralProblems, collect_facts

WHERE = ("dataset", "episode", "camera", "file", "line")


def to_json_text(value: object) -> str:
    """A result as JSON, ASCII only; settings in its texts are flags, and numbers that are not finite are null."""
    return json.dumps(_plain(value), default=str, indent=2, allow_nan=False)


def describe_error(error: Exception) -> dict[str, object]:
    """An error as data: its type and message, the settings that it names, and what is known of its only problem."""
    problems = error.problems if isinstance(error, SeveralProblems) else (error,)
    only, *others = problems or (error,)
    facts = {} if others else list_facts(collect_facts(only))
    messages = [Message(problem) for problem in problems]
    found: dict[str, object] = {
        "type": type(error).__name__,
        "message": _join(error.lines if isinstance(error, MillraceError) else messages),
        "what": _join(message.what for message in messages),
        "remedy": _join(message.remedy for message in messages) or None,
        "settings": [_describe_setting(setting) for message in messages for setting in message.settings],
        "where": {name: facts.get(name) for name in WHERE},
        "got": facts.get("got"),
        "expected": facts.get("expected"),
        "known": facts.get("known", []),
    }
    if isinstance(error, SeveralProblems):
        found |= {"problems": [describe_error(problem) for problem in error.problems], "advice": error.advice}
    return found


def error_to_json(error: Exception) -> str:
    """The JSON that a command with --json prints when it fails."""
    quarantined = error.quarantined if isinstance(error, EpisodesFailed) else ()
    return to_json_text({"error": describe_error(error), "quarantined": quarantined})


def _describe_setting(setting: Setting) -> dict[str, object]:
    key, place = (setting.written, setting.place or None) if isinstance(setting, FileSetting) else (None, None)
    return {"name": setting.name, "value": setting.value, "flag": make_flag(setting), "key": key, "place": place}


def _join(lines: Iterable[str]) -> str:
    return "\n".join(show(line) for line in lines if line)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        value = dict(value)
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return show(value) if isinstance(value, Message) else value
