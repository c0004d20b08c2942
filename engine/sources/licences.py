"""The licences that a source states: in the front matter of its README.md, of which nothing else is taken."""

import re
from contextlib import suppress
from pathlib import Path

import yaml

from millrace.engine.layout import CARD
from millrace.engine.sources.containment import why_refused

MAX_CARD_BYTES, MAX_FIELD, MAX_LICENCES = 1 << 16, 1000, 8
FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
# The key and its value, which may go on in lines that are indented or items of a list.
FIELD = re.compile(r"^license:[^\n]*(?:\n(?:[ \t]|-[ \t])[^\n]*)*", re.MULTILINE)
# As the Hub names them (huggingface.co/docs/hub/repositories-licenses), less those of models.
KNOWN = frozenset(
    [
        "apache-2.0",
        "mit",
        "afl-3.0",
        "artistic-2.0",
        "bsl-1.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "c-uda",
        "cc",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nd-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cdla-sharing-1.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "ecl-2.0",
        "epl-1.0",
        "epl-2.0",
        "etalab-2.0",
        "eupl-1.1",
        "eupl-1.2",
        "agpl-3.0",
        "gfdl",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "lgpl-lr",
        "isc",
        "h-research",
        "intel-research",
        "mpl-2.0",
        "ms-pl",
        "ncsa",
        "odbl",
        "odc-by",
        "openrail",
        "osl-3.0",
        "pddl",
        "unlicense",
        "wtfpl",
        "zlib",
        "other",
    ]
)


def read_licences(root: Path) -> tuple[str, ...]:
    """The licences of a dataset, as the Hub names them; none where its card states none, or one that is not known.

    Args:
        root: The dataset's folder. Its card is untrusted: a link out of the folder, a pipe or a file without end is
            not read, and only names that are known are returned.
    """
    field = FIELD.search(_read_front_matter(root))
    stated: object = None
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        stated = yaml.safe_load(field[0][:MAX_FIELD])["license"] if field else None
    names = [one.strip().lower() for one in (stated if isinstance(stated, list) else [stated]) if isinstance(one, str)]
    is_known = 0 < len(names) <= MAX_LICENCES and KNOWN.issuperset(names)
    return tuple(dict.fromkeys(names)) if is_known else ()


def _read_front_matter(root: Path) -> str:
    """The YAML at the start of a dataset's card; empty where there is none that may be read."""
    path = root / CARD
    with suppress(OSError):
        if why_refused(path, root) is None and path.is_file():
            with path.open("rb") as file:
                text = file.read(MAX_CARD_BYTES).decode("utf-8-sig", "replace")
            found = FRONT_MATTER.match(text.replace("\r\n", "\n"))
            return found[1] if found else ""
    return ""
