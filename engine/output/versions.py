"""Versions of the libraries that an output's bytes depend on."""

from functools import lru_cache

from millrace.engine.about import installed_version
from millrace.engine.video.encode import library_versions, x264_version


@lru_cache(maxsize=1)
def byte_versions() -> dict[str, str | None]:
    """Version by library, of those whose other versions may write other bytes."""
    codecs = {**library_versions(), "x264": x264_version()}
    return {**codecs, "numpy": installed_version("numpy"), "pyarrow": installed_version("pyarrow")}
