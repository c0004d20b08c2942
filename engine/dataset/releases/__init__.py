"""Releases of GR00T: one module for each holds its tags, limits and defaults, with their sources."""

from collections.abc import Sequence
from typing import Literal

from millrace.embodiments import unknown_name
from millrace.engine.dataset.releases.n1d6 import N1D6
from millrace.engine.dataset.releases.n1d7 import N1D7
from millrace.engine.dataset.releases.release import DEFAULT_TAG, Build, Field, ModelLimits, Release, Tag

__all__ = [
    "DEFAULT_TAG",
    "RELEASES",
    "Build",
    "Field",
    "GrootChoice",
    "ModelLimits",
    "Release",
    "ReleaseChoice",
    "Tag",
    "VideoBackend",
    "find_release",
    "name_releases",
    "release_of_model",
]

# In the order in which they came out.
RELEASES = (N1D6, N1D7)
# For command lines, which need the names as types: "auto", or a release's `choice`; a decoder of `unread_codecs`.
GrootChoice = Literal["auto", "n1.6", "n1.7"]
ReleaseChoice = Literal["n1.6", "n1.7"]
VideoBackend = Literal["torchcodec", "decord"]


def find_release(choice: str) -> Release:
    """The release of a choice such as "n1.7".

    Raises:
        UnknownName: it is none.
    """
    for release in RELEASES:
        if release.choice == choice:
            return release
    raise unknown_name(choice, "release of GR00T", [release.choice for release in RELEASES])


def release_of_model(model_type: str) -> Release | None:
    """The release of a model by its type in config.json; None for a type of the user's."""
    return next((release for release in RELEASES if release.model_type == model_type), None)


def name_releases(releases: Sequence[Release] = RELEASES) -> str:
    """ "N1.6 and N1.7"."""
    *first, last = [release.name for release in releases]
    return f"{', '.join(first)} and {last}" if first else last
