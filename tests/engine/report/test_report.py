"""`millrace report` shows a dataset on one page, which runs nothing that the dataset says."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import LOCAL, data_path
from millrace import cli
from millrace.embodiments import compile_map, load_map
from millrace.embodiments.mapping import MAPS
from millrace.engine.convert import convert
from millrace.engine.dataset.manifest import Lineage, manifest_text
from millrace.engine.inspection import KINDS
from millrace.engine.inspection.columns import Columns
from millrace.engine.inspection.episode_rows import measure_extents
from millrace.engine.inspection.row_facts import JointFacts, list_joint_facts, sample_rows
from millrace.engine.layout import ACTION, MANIFEST
from millrace.engine.planning.recipe import Recipe
from millrace.engine.report import write_report
from millrace.engine.report.charts import HEIGHT, Histogram, ValueScale, draw_curve, draw_histogram, fit_scale
from millrace.engine.report.curves import CurveChart, CurveGroup, EpisodeCurves
from millrace.engine.report.dataset_report import DatasetReport, Drawn, Fact, TextTable
from millrace.engine.report.finding_groups import FindingGroup, Verdict, group_found, list_failures
from millrace.engine.report.grippers import GripperRow, describe_grippers
from millrace.engine.report.joint_groups import MAX_JOINTS, PlottedGroup, PlottedJoint
from millrace.engine.report.map_drawing import draw_shipped_maps
from millrace.engine.report.origins import Origins, SourceRow, read_origins
from millrace.engine.report.page import render_page
from millrace.engine.report.ranges import JointRange, RangeBar, RangeGroup, draw_ranges
from millrace.engine.report.strips import Moment, ShownEpisode, Strip, Thumbnail
from millrace.engine.sources import Feature
from support.hostile_names import BROKEN_EPISODE, IMAGE, NAN_EPISODE, SCRIPT, write_hostile
from support.synthetic import write_dataset


class Elements(HTMLParser):
    """Elements of a page: names with attributes; texts between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile(tmp_path_factory.mktemp("report") / "data")


@pytest.fixture(scope="module")
def page(hostile: Path) -> Path:
    out = hostile.parent / "report.html"
    write_report(hostile, out)
    return out


@pytest.fixture(scope="module")
def elements(page: Path) -> Elements:
    return Elements(page.read_text(encoding="utf-8"))


def test_html_in_names_and_tasks_is_shown_as_text(elements: Elements) -> None:
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 1
    assert all(str(found["src"]).startswith("data:image/jpeg;base64,") for _, found in elements.found if "src" in found)
    assert not [name for _, found in elements.found for name in found if name.startswith("on")]
    shown = "".join(elements.texts)
    assert f"Pick {SCRIPT}" in shown
    assert IMAGE in shown
    assert f"{SCRIPT} left_waist" in shown


def test_the_policy_allows_the_own_style_and_script_alone(page: Path, elements: Elements) -> None:
    policy = next(found["content"] for tag, found in elements.found if tag == "meta" and "http-equiv" in found)
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in str(policy)
    assert "http://" not in (text := page.read_text(encoding="utf-8"))
    assert "https://" not in text
    assert not [name for _, found in elements.found for name in found if name == "style"]


def test_each_finding_has_its_episode_and_what_to_do(elements: Elements) -> None:
    shown = " ".join("".join(elements.texts).split())
    for code in ("nan", "unreadable-video"):
        assert KINDS[code].meaning in shown
        assert KINDS[code].advice in shown
    assert f"episode {NAN_EPISODE}: 'observation.state': NaN" in shown
    assert f"episode {BROKEN_EPISODE}, camera {IMAGE}: " in shown


def test_every_kind_of_finding_says_what_to_do() -> None:
    assert all(kind.advice.endswith(".") for kind in KINDS.values())


def test_curves_break_where_values_are_missing(page: Path) -> None:
    curve = np.array([0.0, 1.0, np.nan, 1.0, 0.0])
    assert draw_curve(curve, ValueScale(0, 1)) == f"M0 {HEIGHT}L80 0M240 0L320 {HEIGHT}"
    assert re.search(r'd="M[^"]+M[^"]+"', page.read_text(encoding="utf-8"))


def test_a_long_curve_keeps_its_spikes() -> None:
    curve = np.zeros(100_000)
    curve[77_777] = 5
    path = draw_curve(curve, ValueScale(0, 5))
    assert len(path) < 6000
    assert " 0L" in path


@pytest.mark.parametrize("curve", [np.zeros(0), np.full(3, np.nan), np.full(3, 7.0), np.array([-1e300, 1e300])])
def test_a_scale_fits_any_curve(curve: NDArray[np.float64]) -> None:
    scale = fit_scale(curve)
    assert np.isfinite([scale.low, scale.high]).all()
    assert scale.low < scale.high


def test_quantiles_of_the_largest_numbers_are_finite() -> None:
    values = {ACTION: np.array([[-1e308, 0.0], [1e308, 1.0]])}
    columns = Columns({ACTION: Feature("float64", (2,), ("a", "b"))}, (), (), ())
    samples = {name: [rows] for name, rows in sample_rows(values).items()}
    facts = list(list_joint_facts(columns, measure_extents(values), samples))
    assert [(one.name, one.low, one.high) for one in facts] == [("a", -1e308, 1e308), ("b", 0, 1)]
    assert np.isfinite([(one.q01, one.q99) for one in facts]).all()
    assert (facts[1].q01, facts[1].q99) == (0.01, 0.99)


def test_a_histogram_counts_every_episode() -> None:
    histogram = draw_histogram("Length", [1.0, 1.0, 2.0, 9.0], unit="s", note="")
    assert histogram is not None
    counts = [int(re.findall(r": (\d+) episode", bar.title)[0]) for bar in histogram.bars]
    assert sum(counts) == 4
    assert max(bar.height for bar in histogram.bars) == HEIGHT


def test_the_same_files_give_the_same_bytes_wherever_they_lie(hostile: Path, page: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "data")
    write_report(tmp_path / "data", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == page.read_bytes()
    assert str(hostile.parent) not in page.read_text(encoding="utf-8")


def test_the_command_prints_where_the_page_is(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "look.html"
    assert cli.main(["report", str(hostile), "--out", str(out), "--episodes", "0"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert "1 of 3" in out.read_text(encoding="utf-8")
    assert cli.main(["report", str(hostile), "--out", "look.pdf"]) == 2
    assert "name it look.html" in capsys.readouterr().err
    assert cli.main(["inspect", str(hostile), "--html", "look.txt"]) == 2


def test_inspect_writes_the_page_of_what_it_found(hostile: Path, page: Path, tmp_path: Path) -> None:
    out = tmp_path / "inspected.html"
    assert cli.main(["inspect", str(hostile), "--html", str(out)]) == 0
    assert out.read_bytes() == page.read_bytes()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two sources, one of which lost an episode that could not be converted."""
    folder = tmp_path_factory.mktemp("combo")
    for name, lengths in (("first", (20, 20)), ("second", (20,))):
        write_dataset(folder / name, lengths=lengths, fps=20, cameras=("top",))
    next((folder / "first/videos").rglob("*000001.mp4")).write_bytes(b"no video")
    sources = [{"path": folder / name, "map": "aloha_to_gr1_rescaled"} for name in ("first", "second")]
    recipe = Recipe.model_validate({"sources": sources, "image_size": 32})
    convert(recipe, folder / "out", workers=LOCAL, skip_bad=True)
    return folder / "out"


@pytest.fixture(scope="module")
def converted_page(converted: Path) -> Path:
    out = converted.parent / "converted.html"
    write_report(converted, out)
    return out


def test_an_output_names_its_sources_and_what_was_left_out(converted_page: Path) -> None:
    shown = " ".join(" ".join(Elements(converted_page.read_text(encoding="utf-8")).texts).split())
    assert "first 1 aloha_to_gr1_rescaled second 1 aloha_to_gr1_rescaled" in shown
    assert "1 could not be converted" in shown
    assert "first 1, top" in shown
    assert "state at rest left_wrist_pitch" in shown


def test_a_map_is_drawn_joint_by_joint(converted_page: Path) -> None:
    found = load_map("aloha_to_gr1_rescaled")
    wiring = compile_map(found).state
    drawing, of_action = draw_shipped_maps({"no_such_map": ("a",), "aloha_to_gr1_rescaled": ("a", "b")})
    assert (drawing.vectors, of_action.vectors, drawing.used_by) == ("state", "action", ("a", "b"))
    assert len(drawing.links) == len(wiring.driven)
    resting = {node.text for node in drawing.targets if node.is_idle and not node.is_heading}
    joints = found.target.layout("state").joints
    assert resting == {joint for column, joint in enumerate(joints) if column not in wiring.driven}
    shown = Elements(converted_page.read_text(encoding="utf-8")).texts
    assert all(link.text in shown for link in drawing.links)


def write_manifest(folder: Path, sources: list[dict[str, str]]) -> None:
    """A manifest of two episodes of a source called recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    episodes = [Lineage(episode_index=number, source="recordings", files=()) for number in range(2)]
    (folder / MANIFEST).write_text("".join(manifest_text({"recipe": {"sources": sources}}, episodes)))


def test_a_map_of_ones_own_is_named_and_its_file_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(MAPS / "aloha_to_gr1_rescaled.yaml", tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", str(tmp_path / "mine.yaml")):
        write_manifest(tmp_path / "out", [{"path": "recordings", "map": name}])
        origins = read_origins(tmp_path / "out")
        assert origins is not None
        assert [source.map for source in origins.sources] == [name]
        assert origins.maps == ()


def test_sources_of_one_name_have_the_maps_of_all(tmp_path: Path) -> None:
    maps = ("aloha_to_gr1", "aloha_to_gr1_rescaled", "aloha_to_gr1")
    write_manifest(tmp_path, [{"path": "recordings", "map": name} for name in maps])
    origins = read_origins(tmp_path)
    assert origins is not None
    assert [(one.num_episodes, one.map) for one in origins.sources] == [(2, "aloha_to_gr1, aloha_to_gr1_rescaled")]
    assert [drawing.name for drawing in origins.maps] == [
        "aloha_to_gr1",
        *("aloha_to_gr1_rescaled", "aloha_to_gr1_rescaled"),
    ]


def test_settings_of_every_recipe_are_listed(tmp_path: Path) -> None:
    recipe = {
        "sources": [{"path": "recordings", "episodes": "0:2", "task": None, "weight": 2}],
        "fps": 20,
        "trim_idle": {"lead": True, "keep": 0.2},
        "filter": {},
        "horizon": None,
    }
    text = manifest_text({"recipe": recipe}, [Lineage(episode_index=0, source="recordings", files=())])
    (tmp_path / MANIFEST).write_text("".join(text))
    origins = read_origins(tmp_path)
    assert origins is not None
    assert origins.sources[0].settings == "episodes 0:2; weight 2"
    assert origins.settings[:2] == (("fps", "20"), ("trim idle", "lead: yes, keep: 0.2"))
    assert not {"filter", "horizon"} & {name for name, _ in origins.settings}


def test_a_hostile_manifest_fills_no_page(tmp_path: Path) -> None:
    """However many texts it holds, and however long they are, the first of them are shown, and how many there are."""
    long, many = "x" * 500, 300
    head = {
        "recipe": {"sources": [{"path": long, "map": "m", "task": long}], **{f"setting {n}": n for n in range(many)}},
        "notes": [f"note {n} {long}" for n in range(many)],
        "warnings": [{"code": long, "source": long, "message": long}] * 200,
        "at_rest": {f"group {n}": [long] * 150 for n in range(20)},
        "columns": {f"column {n}": long for n in range(many)},
        "versions": {f"library {n}": long for n in range(200)},
        "quarantine": [
            {"code": f"code {n}", "source": "s", "episode": n, "reason": long, "remedy": f"{n} {long}"}
            for n in range(200)
        ],
    }
    episodes = [Lineage(episode_index=0, source=long, files=())]
    (tmp_path / MANIFEST).write_text("".join(manifest_text(head, episodes)))
    origins = read_origins(tmp_path)
    assert origins is not None
    assert (len(origins.notes), origins.notes[-1]) == (101, "and 400 more")
    assert len(list(group_found(list_failures(origins.failures), ()))) == 31
    texts = str((origins.sources, origins.notes, origins.settings, origins.at_rest, origins.failures[:100]))
    assert max(map(len, re.findall(r"x+", texts))) <= 400
    assert len(texts) < 1_000_000
    assert ("made with", origins.settings[-1][1]) == origins.settings[-1]


def test_any_text_can_be_shown() -> None:
    bad = "\ud83d\x1b[2J"
    fact, table = Fact(bad, bad), TextTable((bad,), ((bad,),), bad)
    strips = (Strip(bad, (Moment((Thumbnail("data:image/jpeg;base64,", 1, 1, bad),)),), note=bad), Strip(bad, (), bad))
    drawn = Drawn(
        (ShownEpisode(0, 1.0, (bad, bad), strips),),
        (),
        (RangeGroup(bad, bad, (JointRange(bad, (RangeBar(bad, 0, 1, 0, 1, bad),), None, bad, (bad,)),), (bad,), 3),),
        (EpisodeCurves(0, 1.0, (CurveGroup(bad, bad, (CurveChart(bad, bad, bad, (), 0, 1),), (bad,), 4),), bad),),
        (GripperRow(bad, bad, bad, bad, bad, bad, bad),),
    )
    report = DatasetReport(
        title=bad,
        subtitle=bad,
        version=bad,
        verdicts=(Verdict("error", bad),),
        tiles=(fact,),
        facts=(fact,),
        findings=(FindingGroup("nan", "error", bad, bad, (bad,), 0, (0, 1), 0, None),),
        inspected=bad,
        drawn=drawn,
        histograms=(Histogram(bad, (), bad, bad, bad),),
        origins=Origins((SourceRow(bad, bad, 1, bad, bad),), ((bad, bad),), ((bad, bad),), (bad,)),
        tasks=table,
        cameras=table,
        columns=table,
    )
    page = render_page(report)
    assert page.encode("utf-8").count(b"\\ud83d\\x1b[2J") > 40
    assert "\x1b" not in page
    assert "3 more of its joints" in page
    assert "4 more of its joints" in page


def test_a_page_does_not_say_where_a_link_leads(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "secret.parquet"
    write_dataset(root, lengths=(8, 8), cameras=("top",))
    data_path(root, 1).rename(elsewhere)
    data_path(root, 1).symlink_to(elsewhere)
    (root / ".git").mkdir()  # of a clone no links out are followed
    write_report(root, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "leads out of the dataset; if you trust its links: " in page
    assert str(tmp_path) not in page
    assert "secret" not in page


def test_a_report_draws_at_most_so_many_ranges() -> None:
    names = [[f"{group}{place}" for place in range(60)] for group in "abc"]
    groups = [
        PlottedGroup(group, "", tuple(PlottedJoint(name, (group, place)) for place, name in enumerate(own)))
        for group, own in zip("abc", names, strict=True)
    ]
    facts = [JointFacts(name, name[0], int(name[1:]), 0, 1, 0, 1) for own in names for name in own]
    drawn = list(draw_ranges(groups, facts))
    assert [len(group.joints) for group in drawn] == [60, MAX_JOINTS - 60, 0]
    assert [group.num_more for group in drawn] == [0, 120 - MAX_JOINTS, 60]


def test_a_gripper_has_its_range_its_course_and_its_sense() -> None:
    facts = [
        JointFacts("left_gripper", "observation.state", 0, 0.1, 0.9, 0.1, 0.9, start=0.9, end=0.1),
        JointFacts("left_gripper", ACTION, 0, 0, 1, 0, 1, start=1, end=0, follows=-0.97),
        JointFacts("left_waist", "observation.state", 1, 0, 1, 0, 1),
    ]
    joints = (
        PlottedJoint("left_gripper", ("observation.state", 0), (ACTION, 0), (0.0, 1.0)),
        PlottedJoint("left_waist", ("observation.state", 1)),
    )
    [row] = describe_grippers([PlottedGroup("left_arm", "0 closed 1 open", joints)], facts)
    assert (row.name, row.state, row.action, row.limits) == ("left_gripper", "0.1 to 0.9", "0 to 1", "0 to 1")
    assert row.course == "0.9 to 0.1"
    assert row.sense == "opposite senses (correlation -0.97)"


def test_joints_that_never_move_are_named_and_not_drawn(converted_page: Path) -> None:
    page = Elements(converted_page.read_text(encoding="utf-8"))
    labels = {found["aria-label"] for tag, found in page.found if tag == "svg" and "aria-label" in found}
    assert "left_shoulder_roll" in labels
    assert "waist_yaw" not in labels
    assert any("waist_yaw 0" in text for text in page.texts)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"recipe": 3})])
def test_a_broken_manifest_is_said_on_the_page(converted: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "millrace.json").write_text(text)
    origins = read_origins(tmp_path)
    assert origins is not None
    assert "millrace.json" in origins.why
    assert read_origins(tmp_path / "elsewhere") is None


def test_validate_writes_the_page_with_what_it_found(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "data", tmp_path / "judged.html"
    shutil.copytree(converted, root)
    clip = next((root / "videos").rglob("*000000.mp4"))
    clip.write_bytes(b"no video")
    assert cli.main(["validate", str(root), "--html", str(out), "--json"]) == 1
    problem = json.loads(capsys.readouterr().out)["problems"][0]
    shown = " ".join("".join(Elements(out.read_text(encoding="utf-8")).texts).split())
    assert f"error {problem['code']} Checked: " in shown
    assert f"{problem['path']}: {problem['message']}" in shown
    assert f"What to do {problem['remedy']}" in shown
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert cli.main(["validate", str(root), "--html", "look.pdf"]) == 2
    (root / "meta/info.json").write_text("{")
    assert cli.main(["validate", str(root), "--html", str(tmp_path / "none.html")]) == 1
    assert "no page: " in capsys.readouterr().err
    assert not (tmp_path / "none.html").exists()
