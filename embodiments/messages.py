"""Messages that name settings, which the command line, a recipe and Python write in different ways."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A setting in a message, by the name of Python's argument.

    value: None: the setting as such. A text in capitals stands for a value that the user chooses. call: the class
    whose argument it is, if not that of the function that was called.

    >>> print(Setting("fps", 20), Setting("map", "NAME"), Setting("overwrite", True), Setting("num", call="Workers"))
    fps=20 map=NAME overwrite=True Workers(num=...)
    """

    name: str
    value: object = None
    call: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.call}({self.name}=...)" if self.call else self.name
        is_plain = isinstance(self.value, str) and (self.value.isupper() or not self.value.strip("0123456789./"))
        text = f"{self.name}={self.value if is_plain else repr(self.value)}"
        return f"{self.call}({text})" if self.call else text


class Message(str):
    """A text of parts, some of which are settings; as a text, it is what Python's users read.

    >>> message = Message("pass ", Setting("overwrite", True), " to replace it")
    >>> print(message)
    pass overwrite=True to replace it
    >>> render(message, lambda setting: f"{setting.name}: true")
    'pass overwrite: true to replace it'
    """

    parts: tuple[str | Setting, ...]

    def __new__(cls, *parts: object) -> "Message":
        """Join texts, settings, other messages, and errors, whose messages they hold."""
        found: list[str | Setting] = []
        for part in parts:
            part = getattr(part, "message", part)
            found += getattr(part, "parts", (part if isinstance(part, Setting) else str(part),))
        message = super().__new__(cls, "".join(map(str, found)))
        message.parts = tuple(found)
        return message

    def __getnewargs__(self) -> tuple[str | Setting, ...]:  # type: ignore[override]
        return self.parts

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Settings that it names."""
        return tuple(part for part in self.parts if isinstance(part, Setting))


def render(text: str, show: Callable[[Setting], str]) -> str:
    """A text with each setting as `show` writes it; a plain text stays as it is."""
    parts = text.parts if isinstance(text, Message) else (text,)
    return "".join(show(part) if isinstance(part, Setting) else part for part in parts)


def list_parts(text: str) -> str | list[Any]:
    """A text as JSON can hold it with its settings."""
    if not isinstance(text, Message):
        return text
    return [asdict(part) if isinstance(part, Setting) else part for part in text.parts]


def read_message(value: str | list[Any]) -> str:
    """A text from what `list_parts` returned.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("a text is expected")
    return Message(*(Setting(**part) if isinstance(part, dict) else part for part in value))


def quote_words(value: object) -> str:
    """A setting's value as a word of a command or of YAML: true, 20, "several words"."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if " " in str(value) else str(value)
