"""Python and packages against what the release of GR00T pins."""

import platform
from collections.abc import Iterator, Mapping

from millrace.engine.about import installed_version
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import Build, Release
from millrace.train.preflight.run_checks import make_run_problem

PYTHON = "python"
# Those that GR00T's code depends on version by version; others matter where they are used.
JUDGED = ("torch", "transformers")


def read_versions(release: Release) -> Mapping[str, str | None]:
    """Versions of Python and of the packages that a release pins, by name; None: not installed."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {PYTHON: python, **{package: installed_version(package) for package in release.pins}}


def fitting_build(release: Release, python: str | None) -> Build | None:
    """The build of a release for a version of Python such as "3.12"; None where there is none."""
    return next((build for build in release.builds if build.python == python), None)


def list_differences(build: Build, versions: Mapping[str, str | None]) -> Mapping[str, str]:
    """Installed packages of other versions than a build pins, and in words how they differ."""
    pinned = {package: pin.rpartition("==")[2] for package, pin in build.pins.items()}
    found = {package: (versions.get(package) or "").partition("+")[0] for package in pinned}
    return {
        package: f"{package} {found[package]}, not {version}"
        for package, version in pinned.items()
        if found[package] and found[package] != version
    }


def version_problems(release: Release, versions: Mapping[str, str | None]) -> Iterator[Problem]:
    """A warning where Python, torch or transformers are of other versions than the release pins; versions: as read."""
    if not versions:
        return
    python = versions[PYTHON]
    build = fitting_build(release, python)
    if build is None:
        message = f"GR00T {release.name} has no build for Python {python}; it has for {', '.join(release.pythons)}"
        yield make_run_problem("versions", message, remedy="Use one of these, with the packages that it pins")
        return
    differences = list_differences(build, versions)
    if told := [differences[package] for package in JUDGED if package in differences]:
        pins = " ".join(build.pins[package] for package in JUDGED if package in differences)
        message = f"GR00T {release.name} on Python {python} pins other versions: {'; '.join(told)}"
        yield make_run_problem("versions", message, remedy=f"pip install {pins}, if it fails or learns nothing")
