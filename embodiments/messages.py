"""Messages that name settings, which the command line, a recipe and Python write in different ways."""

from collections.abc import Callable, Iterable
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


@dataclass(frozen=True)
class FileSetting(Setting):
    """A setting of a file. written: as a line has it. place: file:line of that, empty where the file lacks it."""

    written: str = ""
    place: str = ""

    def __str__(self) -> str:
        return self.written


class Message(str):
    """A text of parts: texts, settings and remedies; as a text, it is what Python's users read.

    >>> message = Message("out is finished; ", Remedy("pass ", Setting("overwrite", True), " to replace it"))
    >>> print(message)
    out is finished; pass overwrite=True to replace it
    >>> render(message, lambda setting: f"{setting.name}: true")
    'out is finished; pass overwrite: true to replace it'
    >>> print(message.what, "|", message.remedy)
    out is finished | pass overwrite=True to replace it
    """

    parts: tuple[str | Setting, ...]

    def __new__(cls, *parts: object) -> "Message":
        """Join texts, settings, remedies, other messages, and errors, whose messages they hold."""
        found: list[str | Setting] = []
        for part in parts:
            part = getattr(part, "message", part)
            if isinstance(part, Message) and (cls is Remedy or not isinstance(part, Remedy)):
                found += part.parts
            else:
                found.append(part if isinstance(part, Setting | Remedy) else str(part))
        message = super().__new__(cls, "".join(map(str, found)))
        message.parts = tuple(found)
        return message

    def __getnewargs__(self) -> tuple[str | Setting, ...]:  # type: ignore[override]
        return self.parts

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Settings that it names, those of its remedies too."""
        nested = ((part,) if isinstance(part, Setting) else getattr(part, "settings", ()) for part in self.parts)
        return tuple(setting for settings in nested for setting in settings)

    @property
    def what(self) -> "Message":
        """The text without its remedies, and without the marks that lead to them."""
        parts: list[str | Setting] = []
        for part in self.parts:
            if not isinstance(part, Remedy):
                parts.append(part)
            elif parts:
                before = parts.pop()
                parts.append(before.rstrip(" ,;:.(") if isinstance(before, str) else before)
        return Message(*parts)

    @property
    def remedy(self) -> "Message":
        """What to do; empty where it does not say that."""
        return join_texts(Message(*part.parts) for part in self.parts if isinstance(part, Remedy))


class Remedy(Message):
    """What to do about a problem, as a part of the message that names the problem."""


def join_texts(texts: Iterable[object], separator: str = "; ") -> Message:
    """Texts, messages or errors as one message."""
    first, *others = [*texts] or [""]
    return Message(first, *(part for other in others for part in (separator, other)))


def write_settings(text: str, write: Callable[[Setting], Setting]) -> str:
    """A text with other settings, or settings written in another way."""
    if not isinstance(text, Message):
        return text
    return type(text)(
        *(write(part) if isinstance(part, Setting) else write_settings(part, write) for part in text.parts)
    )


def render(text: str, show: Callable[[Setting], str]) -> str:
    """A text with each setting as `show` writes it; a plain text stays as it is."""
    if not isinstance(text, Message):
        return text
    return "".join(show(part) if isinstance(part, Setting) else render(part, show) for part in text.parts)


def list_parts(text: str) -> str | list[Any]:
    """A text as JSON can hold it with its settings and remedies."""
    if not isinstance(text, Message):
        return text
    return [asdict(part) if isinstance(part, Setting) else _list_part(part) for part in text.parts]


def _list_part(part: str) -> str | dict[str, Any]:
    return {"remedy": list_parts(Message(*part.parts))} if isinstance(part, Remedy) else part


def read_message(value: str | list[Any]) -> str:
    """A text from what `list_parts` returned.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("a text is expected")
    return Message(*(_read_part(part) if isinstance(part, dict) else part for part in value))


def _read_part(part: dict[str, Any]) -> str | Setting:
    return Remedy(read_message(part["remedy"])) if "remedy" in part else Setting(**part)


def quote_words(value: object) -> str:
    """A setting's value as a word of a command or of YAML: true, 20, "several words"."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if " " in str(value) else str(value)
