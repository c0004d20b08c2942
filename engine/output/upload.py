"""Upload a finished dataset, or a checkpoint, to the Hub; a stopped upload is continued."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millrace.engine.errors import HubError, NotPublishable, RecipeError
from millrace.engine.hub.background import in_background
from millrace.engine.hub.calls import HubName, RepoKind, ask, list_files, log_in, quiet
from millrace.engine.layout import META, WORK
from millrace.engine.sources.location import parse_hub_id
from millrace.engine.validate import validate

CHECKPOINT = "config.json"
# Where huggingface_hub keeps the progress of an upload in the folder, and where we keep its repository.
STATE = Path(".cache/huggingface/upload")
TARGET = Path(".cache/huggingface/upload_target")
LEFT_BEHIND = {".gitignore", "CACHEDIR.TAG"}
IGNORED = (f"{WORK}/*", ".cache/*")
# Workers of huggingface_hub that find nothing to do sleep for ten seconds; of few files one alone has enough.
FEW_FILES = 100


def upload_folder(
    folder: str | Path,
    repo: str,
    *,
    kind: RepoKind = "dataset",
    private: bool = False,
    on_start: Callable[[int, int], None] = lambda num_files, num_bytes: None,
) -> str:
    """Upload a folder, check that all of it arrived, and tag a dataset with its format's version for LeRobot.

    Args:
        folder: A finished, valid dataset, or a checkpoint.
        repo: org/name; made if there is none.
        kind: Whether the folder is a dataset or a model.
        private: Whether a repository that is made is private.
        on_start: Called with the number of files and bytes of the folder, before they are sent.

    Returns:
        The repository's page.

    Raises:
        NotPublishable: the folder is not finished or not valid, or links lead out of it.
        HubError: the Hub cannot be reached or does not allow it.
    """
    root = Path(folder)
    name = _parse_repo(root, repo, kind)
    check_uploadable(root, kind)
    check_token(name)
    _make_repository(name, private=private)
    sizes = _local_sizes(root)
    on_start(len(sizes), sum(sizes.values()))
    with _keep_upload_state(root, name):
        in_background(lambda: ask(lambda: _upload(root, name), name), name)
        _check_arrived(root, name)
        if kind == "dataset":
            _tag_version(root, name)
    return name.url


def _parse_repo(root: Path, repo: str, kind: RepoKind) -> HubName:
    """The repository; hints where folder and name were exchanged."""
    hub_id = parse_hub_id(repo)
    if hub_id is None or hub_id.revision is not None:
        raise RecipeError(f"datasets and models on the Hub are named org/name, not {repo!r}")
    if not root.is_dir() and Path(repo).is_dir():
        raise NotPublishable(f"there is no folder {root}. Did you mean `millrace upload {repo} {root}`?")
    return HubName(kind, hub_id.repo)


def check_uploadable(root: Path, kind: RepoKind) -> None:
    """Check that a folder may be uploaded.

    Raises:
        NotPublishable: says why not.
    """
    if not root.is_dir():
        raise NotPublishable(f"there is no folder {root}")
    if kind == "model" and not (root / CHECKPOINT).is_file():
        raise NotPublishable(f"{root} is no checkpoint: it has no {CHECKPOINT}. Found: {_entries(root)}")
    if kind == "dataset" and not (root / META).is_dir():
        advice = " For a checkpoint say --kind model" if (root / CHECKPOINT).is_file() else " Finish it first"
        raise NotPublishable(f"{root} is no finished dataset: it has no {META}/.{advice}. Found: {_entries(root)}")
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise NotPublishable(f"{path} is a link out of the folder, to {path.resolve()}; replace it by a copy")
    report = validate(root) if kind == "dataset" else None
    if report is not None and not report.is_valid:
        raise NotPublishable(f"{root} is not valid, as `millrace validate {root}` shows: {report.errors[0]}")


def _entries(root: Path) -> str:
    return ", ".join(sorted(path.name for path in root.iterdir())) or "nothing"


def check_token(name: HubName) -> None:
    """Check that the user is logged in to the Hub.

    Raises:
        HubError: nobody is.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"cannot upload to {name.repo}: {log_in()}")


def _make_repository(name: HubName, *, private: bool) -> None:
    from huggingface_hub import create_repo

    with quiet():
        ask(lambda: create_repo(name.repo, repo_type=name.kind, private=private, exist_ok=True), name)


@contextmanager
def _keep_upload_state(root: Path, name: HubName) -> Iterator[None]:
    """Keep huggingface_hub's progress of an upload to the same repository until it is done; it stores no repository."""
    target = root / TARGET
    if not target.is_file() or target.read_text(encoding="utf-8") != name.url:
        shutil.rmtree(root / STATE, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(name.url, encoding="utf-8")
    yield
    shutil.rmtree(root / STATE, ignore_errors=True)
    target.unlink()
    if {path.name for path in target.parent.iterdir()} <= LEFT_BEHIND:
        shutil.rmtree(target.parent)
    if not any(target.parent.parent.iterdir()):
        target.parent.parent.rmdir()


def _upload(root: Path, name: HubName) -> None:
    """Through the large-folder upload; later versions of huggingface_hub have only one, which is that."""
    from huggingface_hub import HfApi

    upload_large_folder = getattr(HfApi(), "upload_large_folder", None)
    common = {"repo_id": name.repo, "folder_path": root, "repo_type": name.kind, "ignore_patterns": list(IGNORED)}
    if upload_large_folder is None:
        HfApi().upload_folder(**common)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # later versions announce that it will go
        num_workers = 1 if len(_local_sizes(root)) < FEW_FILES else None
        upload_large_folder(**common, num_workers=num_workers, print_report=False)


def _check_arrived(root: Path, name: HubName) -> None:
    with quiet():
        there = ask(lambda: list_files(name), name)
    missing = [path for path, size in _local_sizes(root).items() if there.get(path) != size]
    if missing:
        raise HubError(f"{len(missing)} files are not in {name.url}, such as {missing[0]}; run the same command again")


def _tag_version(root: Path, name: HubName) -> None:
    """Tag what was uploaded with its format's version, as LeRobot loads no dataset without; an older tag is moved."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    api, version = HfApi(), json.loads((root / META / "info.json").read_bytes())["codebase_version"]

    def delete() -> None:
        with suppress(RevisionNotFoundError):  # an answer that was lost
            api.delete_tag(name.repo, tag=version, repo_type=name.kind)

    with quiet():
        refs = ask(lambda: api.list_repo_refs(name.repo, repo_type=name.kind), name)
        newest = next(branch.target_commit for branch in refs.branches if branch.name == "main")
        tagged = {tag.name: tag.target_commit for tag in refs.tags}
        if version in tagged and tagged[version] != newest:
            ask(delete, name)
        if tagged.get(version) != newest:
            ask(
                lambda: api.create_tag(name.repo, tag=version, revision=newest, repo_type=name.kind, exist_ok=True),
                name,
            )


def _local_sizes(root: Path) -> dict[str, int]:
    """Bytes of each file that is to be uploaded."""
    files = ((path.relative_to(root), path) for path in root.rglob("*") if path.is_file())
    mine = ((name, path) for name, path in files if name.parts[0] not in (WORK, ".cache", ".git"))
    return {name.as_posix(): path.stat().st_size for name, path in mine}
