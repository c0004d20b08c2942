"""The licences of a source are read from its card's front matter, and nothing else is believed of it."""

import os
from pathlib import Path

import pytest

from millrace.engine.sources.licences import MAX_CARD_BYTES, read_licences


def card(root: Path, text: str) -> Path:
    (root / "README.md").write_bytes(text.encode("utf-8", "surrogateescape"))
    return root


@pytest.mark.parametrize(
    ("front", "licences"),
    [
        ("license: apache-2.0", ("apache-2.0",)),
        ("tags:\n- license: gpl\nlicense: 'MIT'  # as agreed\nother: 1", ("mit",)),
        ("license:\n- cc-by-4.0\n- mit\n- mit\ntags: []", ("cc-by-4.0", "mit")),
        ("license: [cc0-1.0,\n  odbl]", ("cc0-1.0", "odbl")),
        ("\r\nlicense: mit\r\n", ("mit",)),
        ("license: other\nlicense_name: mine", ("other",)),
        ("license_name: mit", ()),
        ("license: unknown", ()),
        ("license: ours <script>", ()),
        ("license: [mit, ours]", ()),
        ("license: {mit: 1}", ()),
        ("license: 2024-99-99", ()),
        ("license:", ()),
        (f"license: {'[' * 900}", ()),
        ("license: &a [*a, *a]", ()),
        ("license: !!python/object/apply:os.system [id]", ()),
        (f"license: [{'mit, ' * 9}mit]", ()),
        ("license: \udcff", ()),
    ],
)
def test_only_known_licences_of_the_front_matter_count(tmp_path: Path, front: str, licences: tuple[str, ...]) -> None:
    assert read_licences(card(tmp_path, f"---\n{front}\n---\n\n# Card\n")) == licences


@pytest.mark.parametrize(
    "text",
    ["", "license: mit", "# Card\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", "---\na: 1\n---\nlicense: mit"],
)
def test_text_without_front_matter_states_none(tmp_path: Path, text: str) -> None:
    assert read_licences(card(tmp_path, text)) == ()


def test_a_byte_order_mark_and_long_text_do_no_harm(tmp_path: Path) -> None:
    card(tmp_path, f"\ufeff---\nlicense: mit\n---\n{'x' * MAX_CARD_BYTES}")
    assert read_licences(tmp_path) == ("mit",)
    card(tmp_path, f"---\na: {'x' * MAX_CARD_BYTES}\nlicense: mit\n---\n")
    assert read_licences(tmp_path) == ()


def test_what_is_no_file_of_the_dataset_is_not_read(tmp_path: Path) -> None:
    root, path = tmp_path / "dataset", tmp_path / "dataset/README.md"
    root.mkdir()
    assert read_licences(root) == ()
    (tmp_path / "secret").write_text("---\nlicense: mit\n---\n")
    path.symlink_to(tmp_path / "secret")
    assert read_licences(root) == ()
    path.unlink()
    os.mkfifo(path)
    assert read_licences(root) == ()
    path.unlink()
    path.mkdir()
    assert read_licences(root) == ()
