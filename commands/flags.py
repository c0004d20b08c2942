"""Settings in messages as flags."""

from collections.abc import Mapping

from millrace.embodiments.messages import FileSetting, Setting, quote_words, render
from millrace.engine.text import printable

# Arguments of Python by other names than their flags.
FLAGS = {
    "num": "workers",
    "only_cameras": "cameras",
    "scratch": "temp",
}

# Flags that take names between commas.
LISTS = ("columns", "without_columns")


def write_flag(setting: Setting) -> str:
    """A setting as the command line has it, --fps 20, --overwrite, --camera -top, or as the file that sets it."""
    return setting.written if isinstance(setting, FileSetting) else make_flag(setting)


def make_flag(setting: Setting) -> str:
    """A setting as the command line has it, whoever sets it."""
    value = setting.value
    if isinstance(value, Mapping):
        return " ".join(f"--camera {name}={part}" for name, part in value.items())
    values = value if isinstance(value, list) else [value]
    if setting.name == "without_cameras":
        return " ".join(f"--camera -{name}" for name in values)
    if setting.name in LISTS and isinstance(value, list):
        return f"{name_flag(setting.name)} {quote_words(','.join(map(str, value)) or 'none')}"
    flag = name_flag(FLAGS.get(setting.name, setting.name))
    return flag if value is None or value is True else " ".join([flag, *map(quote_words, values)])


def name_flag(name: str) -> str:
    """The flag of a command's field."""
    return f"--{name.replace('_', '-')}"


def show(text: object) -> str:
    """A text, its settings as flags, fit for a line of a terminal."""
    return printable(render(text if isinstance(text, str) else str(text), write_flag))
