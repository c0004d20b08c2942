"""Releases of GR00T: one module for each holds its tags, limits and defaults, with their sources."""

from millrace.engine.dataset.releases.n1d6 import N1D6, EmbodimentTag, VideoBackend
from millrace.engine.dataset.releases.release import DEFAULT_TAG, ModelLimits, Release, Tag

__all__ = ["CURRENT", "DEFAULT_TAG", "EmbodimentTag", "ModelLimits", "Release", "Tag", "VideoBackend"]

# The release that datasets are judged by and trained with.
CURRENT = N1D6
