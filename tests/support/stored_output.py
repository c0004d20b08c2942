"""Conversions into the S3 server of the tests."""

from pathlib import Path
from typing import Any

from conftest import LOCAL, recipe_for
from millrace.engine.convert import Summary, convert
from support.s3_faults import S3Server

BUCKET = "robots"
OUT = f"s3://{BUCKET}/lab/out"
PREFIX = "lab/out/"
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2}


def convert_to_store(source: Path, staging: Path, *, out: str = OUT, settings: Any = None, **flags: Any) -> Summary:
    """Convert into the store, with `staging` for what stays here."""
    recipe = recipe_for(source, **(SETTINGS if settings is None else settings))
    return convert(recipe, out, workers=LOCAL, staging=staging, **flags)


def stored_files(s3: S3Server, prefix: str = PREFIX) -> dict[str, bytes]:
    """The objects of a dataset by their names in it, without those of .millrace."""
    names = (key.removeprefix(prefix) for key in s3.keys(BUCKET, prefix))
    return {name: s3.get(f"{BUCKET}/{prefix}{name}") for name in sorted(names) if not name.startswith(".millrace/")}
