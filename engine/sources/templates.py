"""Path templates of untrusted metadata: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"."""

import re
from collections.abc import Collection
from string import Formatter


def template_problem(template: str, known: Collection[str], needed: Collection[str]) -> str | None:
    """What is wrong with a template, which may hold only plain fields and {..:03d}; None if nothing is."""
    try:
        parts = [(field, spec, conversion) for _, field, spec, conversion in Formatter().parse(template)]
    except ValueError as error:
        return f"is no template ({error})"
    fields = [(field, spec, conversion) for field, spec, conversion in parts if field is not None]
    for field, spec, conversion in fields:
        if field not in known:
            return f"has the field {field!r}. Known: {', '.join(sorted(known))}"
        spec_pattern = r"s?" if field in ("video_key", "camera") else r"0?\d{0,2}d?"
        if conversion or not re.fullmatch(spec_pattern, spec or ""):
            return f"has the format {spec or conversion!r} for {field}, expected one such as 03d"
    missing = [field for field in sorted(needed) if field not in {field for field, _, _ in fields}]
    return f"lacks {{{missing[0]}}}: all would share one file" if missing else None
