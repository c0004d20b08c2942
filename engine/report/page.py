"""Render a report as one HTML page that loads nothing: style, script and images lie within it."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from millrace.engine.report.charts import HEIGHT, WIDTH
from millrace.engine.report.dataset_report import DatasetReport
from millrace.engine.text import printable

FOLDER = Path(__file__).parent


def render_page(report: DatasetReport) -> str:
    """The page. Every text is escaped, and the policy in its head lets a browser run no script but its own.

    Whatever texts hold, halves of characters among them, can be written as UTF-8.
    """
    style, script = (_read(f"report.{suffix}") for suffix in ("css", "js"))
    return _template().render(
        report=report,
        style=style,
        script=script,
        policy=(
            f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        width=WIDTH,
        height=HEIGHT,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _make_printable(value: object) -> object:
    """A value as the page has it; parts of the page itself stay as they are."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A text as a Content-Security-Policy names it."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
