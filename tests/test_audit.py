"""Audit: the arithmetic of ladders by hand, folders as splits, what is printed, and the embedded scales themselves."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from avbench import audit as audited
from avbench.audit import OWN, Audit, Kind, Ladder, audit, curve_of, failures, markdown, text, unjudged, write
from avbench.cli import app
from avbench.clip import FRAME_RATE, Sound, write_audio, write_clip, write_image
from avbench.damage import DAMAGES
from avbench.errors import SplitError, UsageError
from avbench.generate import Generated
from avbench.home import sha256
from avbench.metrics import METRICS, select
from avbench.prepare.clips import ORIGIN, clips_split
from avbench.report import FIGURES
from avbench.report import drawing as drawn
from avbench.report.curves import Chart, Panel, draw
from avbench.split import load_split

from .line import avbench, run_files
from .scored import make_run, make_scale, make_split, pair_json, split_files

LOST = "face not found"
Cell = float | str | None  # measured, unmeasurable, or not made


def ladder(*clips: Sequence[Cell], speakers: Sequence[int] | None = None) -> Ladder:
    """One row a clip, undamaged first; each clip has a speaker of its own unless they are given. No clip: two steps."""
    if not clips:
        nobody = np.zeros((0, 3), np.bool_)
        return Ladder(np.zeros((0, 3)), nobody, nobody, np.zeros(0, np.int32))
    return Ladder(
        values=np.array([[cell if isinstance(cell, float) else 0.0 for cell in clip] for clip in clips]),
        measured=np.array([[isinstance(cell, float) for cell in clip] for clip in clips]),
        lost=np.array([[isinstance(cell, str) for cell in clip] for clip in clips]),
        speakers=np.arange(len(clips), dtype=np.int32) if speakers is None else np.array(speakers, np.int32),
    )


# Arithmetic ------------------------------------------------------------------------------------------------------


def test_levels_are_means_over_speakers_and_changes_are_paired() -> None:
    curve = curve_of(ladder([0.9, 0.5], [0.7, 0.5], [0.6, 0.4], speakers=[0, 0, 1]), -1)
    undamaged, step = curve.steps
    assert undamaged.level == pytest.approx((0.8 + 0.6) / 2)
    assert (undamaged.change, undamaged.holds, undamaged.noticed) == (0.0, None, False)
    assert step.change == pytest.approx(((-0.4 - 0.2) / 2 - 0.2) / 2)
    assert step.level == pytest.approx(0.7 - 0.25)
    assert (step.clips, step.speakers, step.lost) == (3, 2, 0)
    # Two speakers: t at one degree of freedom is 12.7062.
    half = 12.7062047 * 0.05
    assert (step.low, step.high) == pytest.approx((-0.25 - half, -0.25 + half))
    assert np.allclose(np.array(curve.speakers, float), [[0.8, 0.5], [0.6, 0.4]])


def test_a_step_holds_where_the_mean_gets_worse() -> None:
    clips = [[0.9, 0.5, 0.6, 0.6], [0.8, 0.7, 0.7, 0.7]]
    curve = curve_of(ladder(*clips), -1)
    assert [step.holds for step in curve.steps] == [None, True, False, False]
    assert (curve.right, curve.judged) == (1, 3)
    assert curve.share == pytest.approx((2 + 3 / 2) / 6)  # three moves of none at all
    assert [step.holds for step in curve_of(ladder(*clips), 1).steps] == [None, False, True, False]


def test_a_clip_that_drops_out_moves_no_level() -> None:
    low_stays = curve_of(ladder([0.9, 0.8, LOST], [0.3, 0.2, 0.1]), -1)
    assert [step.level for step in low_stays.steps] == pytest.approx([0.6, 0.5, 0.4])
    assert [step.lost for step in low_stays.steps] == [0, 0, 1]
    assert low_stays.speakers[0][2] is None
    assert low_stays.speakers[0][:2] == pytest.approx((0.9, 0.8))


def test_becoming_unmeasurable_is_worse_than_any_value() -> None:
    most = curve_of(ladder([0.9, LOST], [0.9, LOST], [0.9, 0.95]), -1)
    assert (most.steps[1].holds, most.steps[1].noticed, most.noticed) == (True, True, 1)
    assert most.share == pytest.approx(2 / 3)
    few = curve_of(ladder([0.9, LOST], [0.9, 0.95], [0.9, 0.95]), -1)
    assert (few.steps[1].holds, few.steps[1].noticed) == (False, False)
    back = curve_of(ladder([0.9, LOST, 0.1], [0.9, 0.8, 0.85]), -1)
    assert back.steps[2].holds is False, "one is measurable again, the other one better"


def test_where_nothing_is_left_there_is_nothing_to_judge() -> None:
    curve = curve_of(ladder([0.9, LOST, LOST], [0.8, LOST, LOST]), -1)
    assert [step.holds for step in curve.steps] == [None, True, None]
    assert (curve.right, curve.judged, curve.noticed) == (1, 1, 1)
    assert curve.steps[2].level is None
    nothing = curve_of(ladder(), -1)
    assert [step.level for step in nothing.steps] == [None] * 3
    assert (nothing.judged, nothing.share, nothing.noticed) == (0, None, None)


def test_a_clip_that_was_not_made_says_nothing() -> None:
    curve = curve_of(ladder([0.9, None, 0.7], [0.8, 0.7, 0.6], [0.5, 0.4, 0.3]), -1)
    assert [(step.clips, step.lost) for step in curve.steps] == [(3, 0), (2, 0), (3, 0)]
    assert curve.steps[1].change == pytest.approx(-0.1)
    assert curve.share == 1.0


def test_a_step_is_noticed_beyond_noise_and_from_there_on() -> None:
    steady = [0.9, 0.89, 0.8, 0.7]
    jumpy = [[0.9, 0.8, 0.9, 0.7], [0.9, 0.8, 1.0, 0.7], [0.9, 0.81, 0.8, 0.7]]
    assert (
        curve_of(ladder(*[[value + 0.001 * n * (value < 0.9) for value in steady] for n in range(4)]), -1).noticed == 1
    )
    assert curve_of(ladder(*jumpy), -1).noticed == 3, "the second step is not told from none"
    assert [step.noticed for step in curve_of(ladder(*jumpy), -1).steps] == [False, True, False, True]
    assert curve_of(ladder(*jumpy), 1).noticed is None, "the other way is no notice of damage"
    assert curve_of(ladder(*jumpy, speakers=[0, 0, 0]), -1).noticed is None, "one speaker has no interval"


@given(
    st.lists(
        st.lists(st.one_of(st.integers(-50, 50).map(float), st.just(LOST), st.none()), min_size=4, max_size=4),
        min_size=2,
        max_size=6,
    ),
    st.integers(-5, 5),
)
def test_a_scale_turned_over_or_moved_is_judged_alike(clips: list[list[Cell]], offset: int) -> None:
    clips = [[1.0, *clip] for clip in clips]
    one = curve_of(ladder(*clips), -1)
    turned = curve_of(ladder(*[[-cell if isinstance(cell, float) else cell for cell in clip] for clip in clips]), 1)
    moved = curve_of(
        ladder(*[[cell + offset if isinstance(cell, float) else cell for cell in clip] for clip in clips]), -1
    )
    for other in (turned, moved):
        assert [step.holds for step in other.steps] == [step.holds for step in one.steps]
        assert [step.noticed for step in other.steps] == [step.noticed for step in one.steps]
        assert other.share == one.share
    for step in one.steps:
        assert all(number is None or math.isfinite(number) for number in step[:4])


# What is said ----------------------------------------------------------------------------------------------------

KINDS = (Kind("shift", "frames", (2.0, 4.0)), Kind("noise", "dB SNR", (20.0, 0.0)))


def made_audit(place: Path, values: Mapping[tuple[str, str], Sequence[Sequence[Cell]]], **changes: Any) -> Audit:
    """An audit of these ladders by scale and kind."""
    scales = tuple(
        make_scale(name, order=order) for order, name in enumerate(dict.fromkeys(name for name, _ in values))
    )
    curves = {key: curve_of(ladder(*clips), -1) for key, clips in values.items()}
    found = Audit("mini@0", "A note.", "embedded", 2, 2, scales, KINDS, curves, place, ())
    return found._replace(**changes)


FALLS = [[0.9, 0.8, 0.5], [0.8, 0.6, 0.4], [0.7, 0.6, 0.3]]
STAYS = [[0.9, 0.9, 0.88], [0.8, 0.8, 0.86], [0.7, 0.7, 0.7]]


def test_cross_talk_is_a_share_of_what_own_damage_does(tmp_path: Path) -> None:
    found = made_audit(
        tmp_path,
        {
            ("av_corr", "shift"): FALLS,
            ("av_corr", "noise"): STAYS,
            ("mine", "shift"): STAYS,
            ("mine", "noise"): [[0.9, 0.8, LOST], [0.8, 0.7, 0.6], [0.7, 0.6, 0.5]],
            ("words_rejected_sphinx", "shift"): [[0.9, 0.5, 0.1], [0.8, 0.5, 0.0]],
            ("words_rejected_sphinx", "noise"): [[0.9, 0.8, 0.7], [0.8, 0.7, 0.6]],
        },
    )
    severest = text(found).split("severest")[1].split("Change")[0].splitlines()
    first = {line.split()[0]: line.split()[1:] for line in severest if line}
    assert first["scale"] == ["shift", "noise"]
    assert first["at"] == ["4", "0"]
    assert first["av_corr"] == ["100*", "~-3"]  # 0.04 / 3 up, of 0.4 down
    assert first["words_rejected_sphinx"] == ["400", "100*"]
    assert first["mine"] == ["~-7", "100", "!1"]  # none of its own: of the larger of 0.04 / 3 and 0.2


def test_a_scale_that_does_not_fall_under_its_own_damage_fails(tmp_path: Path) -> None:
    good = made_audit(tmp_path, {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS})
    assert failures(good) == []
    assert "At each of 2 steps" in text(good)
    bad = made_audit(tmp_path, {("av_corr", "shift"): [[0.9, 0.5, 0.6]] * 2, ("av_corr", "noise"): FALLS})
    assert failures(bad) == ["av_corr does not get worse from shift 2 to 4 frames: 0.500 → 0.600"]
    assert "1 of 2 steps" in text(bad)
    assert "does not get worse" in markdown(bad)


def test_the_command_prints_the_table_and_fails_where_a_scale_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS}
    made = {
        0: made_audit(tmp_path, values, notices=("a notice",)),
        1: made_audit(tmp_path, {**values, ("av_corr", "shift"): STAYS}, unmade={"too short": 2}),
        4: made_audit(tmp_path, values, unmade={"too short": 2}),
    }
    for code, found in made.items():
        monkeypatch.setattr(audited, "audit", lambda *_, found=found, **__: found)
        done = CliRunner().invoke(app, ["audit", "--format", "png"])
        assert done.exit_code == code
        assert done.stdout == text(found)
        assert "wrote" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.csv", "audit.md", "av_corr.png"]
    blind = made_audit(tmp_path, {**values, ("av_corr", "shift"): []})
    monkeypatch.setattr(audited, "audit", lambda *_, **__: blind)
    done = CliRunner().invoke(app, ["audit", "--format", "png"])
    assert done.exit_code == 4
    assert "not judged: av_corr under shift" in done.stdout
    assert CliRunner().invoke(app, ["audit", "--format", "gif"]).exit_code == 1  # `main` makes it 2


def test_what_was_not_judged_is_never_passed_over(tmp_path: Path) -> None:
    whole = {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS}
    blind = made_audit(tmp_path, {**whole, ("av_corr", "shift"): []}, reasons={"av_corr": {"no face": 2}})
    for said in (text(blind), markdown(blind)):
        assert "not judged: av" in said
        assert "2 × no face" in said
        assert "damage of its own" not in said
    assert unjudged(blind)
    assert unjudged(made_audit(tmp_path, whole)) == []
    other = made_audit(tmp_path, {("mine", "shift"): FALLS, ("mine", "noise"): STAYS})
    assert "No scale was under damage of its own." in text(other)
    assert unjudged(other) == []


def test_the_range_that_was_tested_is_told(tmp_path: Path) -> None:
    found = made_audit(tmp_path, {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS})
    for said in (text(found), markdown(found)):
        assert "shift 2 to 4 frames, noise 20 to 0 dB SNR" in " ".join(said.split())


def test_one_speaker_has_a_sign_of_his_own(tmp_path: Path) -> None:
    one = {key: clips[:1] for key, clips in {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS}.items()}
    said = text(made_audit(tmp_path, one))
    assert "?100*" in said
    assert "~100*" not in said


def test_figures_of_scales_that_are_gone_go_too(tmp_path: Path) -> None:
    write(made_audit(tmp_path, {("gop_sphinx", "shift"): FALLS, ("gop_sphinx", "noise"): STAYS}))
    (tmp_path / "mine.svg").write_text("somebody's own")
    (tmp_path / ".audit.csv.4194999.part").touch()
    write(made_audit(tmp_path, {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS}))
    assert {path.name for path in tmp_path.iterdir()} == {"audit.csv", "audit.md", "av_corr.svg", "mine.svg"}


def test_the_files_hold_every_number(tmp_path: Path) -> None:
    found = made_audit(tmp_path, {("av_corr", "shift"): FALLS, ("av_corr", "noise"): STAYS})
    files = write(found)
    assert [path.name for path in files] == ["audit.csv", "audit.md", "av_corr.svg"]
    first = [path.read_bytes() for path in files]
    with files[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3
    last = rows[2]
    assert (last["split"], last["profile"], last["revision"], last["limit"]) == (
        "mini@0",
        "embedded",
        found.scales[0].revision,
        "",
    )
    assert (last["scale"], last["damage"], last["own"], last["step"], last["amount"]) == (
        "av_corr",
        "shift",
        "true",
        "2",
        "4.0",
    )
    assert float(last["change"]) == pytest.approx(-0.4)
    assert (last["clips"], last["lost"], last["holds"], last["noticed"], last["low"] != "") == (
        "3",
        "0",
        "true",
        "true",
        True,
    )
    assert "av\\_corr" in files[1].read_text()
    assert [path.read_bytes() for path in write(found)] == first, "the same numbers give the same bytes"


@pytest.mark.parametrize("form", FIGURES)
@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_figure_of_any_number_of_panels_is_drawn(tmp_path: Path, form: str, count: int) -> None:
    panel = Panel("blur", "%", True, ("none", "1", "2"), (0.9, 0.5, None), (None, 0.4, None), (None, 0.6, None), (False, True, None), (0, 0, 3), ((0.9, 0.5, None),))  # fmt: skip
    blank = panel._replace(own=False, mean=(None,) * 3, low=(None,) * 3, high=(None,) * 3, speakers=())
    draw(Chart("sim", "Sim, cosine", (panel, *[blank] * (count - 1)), "A note. " * 20), tmp_path / f"figure.{form}")
    assert (tmp_path / f"figure.{form}").stat().st_size > 1000
    if form == "svg":
        assert "evenly spaced, not to scale" in (tmp_path / "figure.svg").read_text()
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        draw(Chart("sim", "Sim", (panel,), ""), tmp_path / "figure.gif")


# From score files ------------------------------------------------------------------------------------------------


def scored_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str, kind: str, **made: Any) -> list[str]:
    """The split mini with a score of every pair at every step, and no work to do; answers the methods."""
    split = make_split(tmp_path, {"a": "ann", "b": "ben", "c": "cas", "d": "dan"})
    (tmp_path / "media" / "mini").mkdir(parents=True)
    (tmp_path / "media" / "mini" / "a.mp4").touch()
    names = [audited._method("none", 0.0), *(audited._method(kind, amount) for amount in DAMAGES[kind].steps)]
    outcomes = made.get("outcomes") or (lambda number, pair: 0.9 - 0.1 * number)
    for number, name in enumerate(names):
        values = {pair: outcomes(number, pair) for pair in "abcd"}
        make_run(tmp_path / "out" / "mini", split, name, {scale: values}, scales=[make_scale(scale)])
    failed = [(names[number], pair, reason) for number, pair, reason in made.get("failed", ())]
    monkeypatch.setattr(audited, "generate", lambda *_, **__: Generated(0, 0, failed))
    monkeypatch.setattr(audited, "score", lambda *_, **__: None)
    return names


def audited_mini(tmp_path: Path, scale: str, kind: str, **options: Any) -> Audit:
    place = tmp_path / "mini", tmp_path / "out"
    return audit(str(place[0]), place[1], data=tmp_path / "media", damages=[kind], metrics=[scale], **options)


def test_scores_become_ladders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed clip is lost, one that was not made is not, and one without a value undamaged is in no curve."""
    odd = {(0, "d"): LOST, (2, "b"): LOST, (3, "c"): "c.mp4: not generated: too short"}

    def outcome(number: int, pair: str) -> float | str:
        return odd.get((number, pair), 0.5 if pair == "d" else 0.9 - 0.1 * number)

    scored_clips(
        tmp_path, monkeypatch, "av_corr", "shift", outcomes=outcome, failed=[(3, "c", "c/target.mp4: too short")]
    )
    found = audited_mini(tmp_path, "av_corr", "shift")
    curve = found.curves["av_corr", "shift"]
    assert [step.clips for step in curve.steps[:4]] == [3, 3, 2, 2]
    assert [step.lost for step in curve.steps[:4]] == [0, 0, 1, 0]
    assert curve.steps[3].level == pytest.approx(0.6)
    assert (found.pairs, found.speakers, found.kinds[0].amounts) == (4, 4, tuple(DAMAGES["shift"].steps))
    assert found.notices == ("1 damaged clip was not made and left out: too short",)
    assert found.unmade == {"too short": 1}
    assert "could not be made: too short" in text(found)


def test_a_limit_holds_for_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all clips have scores."""
    scored_clips(tmp_path, monkeypatch, "av_corr", "shift")
    found = audited_mini(tmp_path, "av_corr", "shift", limit=2)
    assert [step.clips for step in found.curves["av_corr", "shift"].steps] == [2] * len(
        found.curves["av_corr", "shift"].steps
    )
    assert (found.pairs, found.speakers, found.limit) == (2, 2, 2)
    assert "|limit:2" in markdown(found)
    whole = audited_mini(tmp_path, "av_corr", "shift", limit=4)
    assert whole.limit == 0
    assert "limit" not in markdown(whole)


def test_where_no_clip_is_measurable_the_reasons_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(number: int, pair: str) -> str:
        return f"{pair}.mp4: {'no face' if pair == 'd' else 'no mouth'}"

    scored_clips(tmp_path, monkeypatch, "av_corr", "shift", outcomes=outcome)
    found = audited_mini(tmp_path, "av_corr", "shift", limit=3)
    assert unjudged(found) == ["av_corr under shift: 3 of 3 clips have no value at none (3 × no mouth)"]
    assert unjudged(audited_mini(tmp_path, "av_corr", "shift"))[0].endswith("(3 × no mouth, 1 × no face)")


def test_only_drop_without_a_transcript_may_fail(tmp_path: Path) -> None:
    split = split_files(tmp_path / "mini", [pair_json("a"), pair_json("b", transcript=" ")])
    names = [audited._method("drop", DAMAGES["drop"].steps[0]), audited._method("none", 0.0)]
    failed = [(name, pair, f"{pair}.mp4: no") for name in names for pair in "ab"]
    unmade = audited._unmade(load_split(str(split)), Generated(0, 0, failed))
    assert unmade == {"no": 3}, "b has no words to drop"


def test_a_split_without_any_clip_is_refused_before_one_is_made(tmp_path: Path) -> None:
    make_split(tmp_path, {"a": "ann", "b": "ben"})
    with pytest.raises(SplitError, match="none of the 2 target clips"):
        audit(str(tmp_path / "mini"), tmp_path / "out", data=tmp_path / "media", metrics=["av_corr"])
    assert not (tmp_path / "out").exists()


# A folder as a split ---------------------------------------------------------------------------------------------

HEAD = "path,kind,person_id,transcript,language,sync,source_path\n"


def clip(path: Path, level: int, sound: float) -> None:
    frames = np.full((5, 16, 16, 3), level, np.uint8)
    frames[:, :8] //= 2
    write_clip(path, frames, Sound(np.full(16000 // FRAME_RATE * 5, sound, np.float32), 16000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people: two clips of two sources and a photo; one clip and a line; one clip out of sync."""
    place = tmp_path / "my folder"
    (place / "more").mkdir(parents=True)
    for number, name in enumerate(["a 1.mp4", "a2.mp4", "a3.mp4", "b.mp4", "more/b.mp4", "off.mp4"]):
        clip(place / name, 40 * number, 0.05 * number)
    write_image(place / "a.png", np.full((8, 8, 3), 7, np.uint8))
    write_audio(place / "b.wav", Sound(np.full(800, 0.5, np.float32), 8000))
    (place / "MANIFEST.csv").write_text(
        HEAD
        + "a 1.mp4,clip,ann,hello,en,ok,first\n"
        + "a2.mp4,clip,ann,,,,first\n"
        + "a3.mp4,clip,ann,,,ok,second\n"
        + "a.png,face,ann,,,,\n"
        + "b.mp4,clip,ben,,,,\n"
        + "more/b.mp4,clip,bea,,,,\n"
        + "b.wav,speech,ben,words,en,,\n"
        + "off.mp4,clip,dan,,,offset?,\n"
    )
    return place


def test_clips_of_a_folder_become_pairs(folder: Path, tmp_path: Path) -> None:
    before = run_files(folder)
    found = clips_split(folder, tmp_path / "out")
    assert run_files(folder) == before
    assert (found.split.name, found.place, found.data) == (
        "my-folder",
        tmp_path / "out" / "my-folder",
        tmp_path / "out" / "my-folder" / "media",
    )
    assert found.notes == ("1 of 6 clips are left out: sound and picture may not match (offset?)",)
    assert [(pair.id, pair.speaker, pair.same_video) for pair in found.split.pairs] == [
        ("a-1", "ann", False), ("a2", "ann", False), ("a3", "ann", False), ("b", "ben", False), ("b-2", "bea", True),
    ]  # fmt: skip
    first = found.split.pairs[0]
    assert (first.transcript, first.prompt.speech, first.language) == ("hello", "hello", "en")
    media = found.data / found.split.name
    assert sha256(media / first.target) == sha256(folder / "a 1.mp4") == first.sha256["target"]
    assert heard(media, "a-1") == pytest.approx(0.1, abs=0.02), "the clip of the other source"
    assert heard(media, "a3") == pytest.approx(0.0, abs=0.02), "after the last row comes the first"
    assert heard(media, "b") == pytest.approx(0.5, abs=0.001)
    assert heard(media, "b-2") == pytest.approx(0.2, abs=0.02), "nothing but the clip itself"
    assert shown(media, "a-1") == 7
    assert shown(media, "b-2") == pytest.approx(160, abs=3)


def heard(media: Path, pair: str) -> float:
    from avbench.clip import read_audio

    samples = read_audio(media / pair / "voice.wav").samples
    return float(np.median(np.abs(samples)))


def shown(media: Path, pair: str) -> float:
    from avbench.clip import read_image

    return float(read_image(media / pair / "face.png")[-1, -1].mean())


def test_a_folder_gives_the_same_bytes_anywhere_and_is_made_once(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    clips_split(folder, first)
    made = {path: path.stat().st_mtime_ns for path in first.rglob("*.wav")}
    clips_split(folder, first)
    assert made == {path: path.stat().st_mtime_ns for path in first.rglob("*.wav")}
    victim = next(iter(made))
    victim.write_bytes(b"damaged")
    clips_split(folder, first)
    (tmp_path / "z").mkdir()
    moved = folder.rename(tmp_path / "z" / "my folder")
    clips_split(moved, second)
    origin = Path("my-folder", ORIGIN)
    assert (first / origin).read_text() != (second / origin).read_text()
    (second / origin).write_bytes((first / origin).read_bytes())
    assert run_files(first) == run_files(second)


def test_another_folder_of_the_same_name_is_refused(folder: Path, tmp_path: Path) -> None:
    clips_split(folder, tmp_path / "out")
    before = run_files(tmp_path / "out")
    other = tmp_path / "other" / "my folder"
    other.mkdir(parents=True)
    clip(other / "a.mp4", 90, 0.2)
    (other / "MANIFEST.csv").write_text(HEAD + "a.mp4,clip,ann,,,ok,first\n")
    with pytest.raises(UsageError, match="--out"):
        clips_split(other, tmp_path / "out")
    assert run_files(tmp_path / "out") == before


def test_a_changed_clip_is_another_split(folder: Path, tmp_path: Path) -> None:
    before = clips_split(folder, tmp_path).split.digest
    clip(folder / "b.mp4", 200, 0.3)
    assert clips_split(folder, tmp_path).split.digest != before


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a.png,face,ann,,,,\n", "no row of kind clip; found face"),
        ("", "found no rows"),
        ("off.mp4,clip,dan,,,offset?,\n", "may not match"),
        ("off.mp4,clip,,,,ok,\n", "no person_id"),
        ("a.png,clip,ann,,,ok,\n", "cannot be used"),
    ],
)
def test_a_folder_without_a_clip_to_take_is_refused(folder: Path, tmp_path: Path, rows: str, said: str) -> None:
    (folder / "MANIFEST.csv").write_text(HEAD + rows)
    with pytest.raises(SplitError, match=said):
        audit(str(folder), tmp_path / "out")


def test_what_cannot_be_audited_is_said_before_anything_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"unknown damage 'blurr'\. Did you mean blur"):
        audit("demo", out, damages=["blurr"])
    with pytest.raises(UsageError, match="unknown metric of profile embedded 'av_cor'"):
        audit("demo", out, metrics=["av_cor"])
    with pytest.raises(UsageError, match="unknown split 'dem'"):
        audit("dem", out)
    with pytest.raises(UsageError, match=r"its MANIFEST\.csv names"):
        audit(str(folder), out, data=tmp_path)
    for wrong, said in (
        ({"limit": 0}, "limit = 0"),
        ({"workers": 0}, "workers = 0"),
        ({"profile": "embeded"}, "unknown profile"),
        ({"profile": "embeded", "metrics": ["avbench.metrics.av_correlation:AV_CORR"]}, "expected embeded"),
        ({"metrics": ["av_cor"]}, "unknown metric"),
        ({"metrics": ["avbench.home:home"]}, "expected an avbench.Metric"),
        ({"metrics": ["avbench.metrics.av_correlation:AV_CORR"]}, "there is another"),
    ):
        options: dict[str, Any] = dict(wrong)
        with pytest.raises(UsageError, match=said):
            audit(str(folder), out, **options)
    with monkeypatch.context() as patch:
        patch.setattr(drawn, "find_spec", lambda name: None if name == "matplotlib" else True)
        with pytest.raises(UsageError, match="a figure needs matplotlib"):
            audit(str(folder), out)
    (folder / "MANIFEST.csv").unlink()
    with pytest.raises(SplitError, match=r"neither split\.toml nor MANIFEST\.csv"):
        audit(str(folder), out)
    assert not out.exists()


# The embedded scales ---------------------------------------------------------------------------------------------


def test_scales_have_damage_of_their_own_but_those_that_none_of_ours_must_move() -> None:
    without = {"clap", "clap_env", "clap_manner", "lse_sum", "wer_above_1"}
    assert set(OWN) == {metric.name for metric in METRICS.values()} - without
    for kinds in OWN.values():
        assert kinds
        assert all(len(DAMAGES[kind].steps) >= 4 for kind in kinds)


@pytest.mark.slow
def test_an_audit_continues_and_repeats_itself(avbench_home: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path, "--damage", "shift", "--damage", "rescale", "--metric", "av_corr", "--limit", "4"]
    first = avbench("audit", *options, "--format", "png", home=avbench_home)
    assert "At each of" in first.stdout
    files = run_files(tmp_path)
    assert {"demo/audit.csv", "demo/audit.md", "demo/av_corr.png"} < set(files)
    assert avbench("audit", *options, "--format", "png", "--workers", "1", home=avbench_home).stdout == first.stdout
    assert run_files(tmp_path) == files


@pytest.mark.slow
def test_every_embedded_scale_falls_under_damage_of_its_own(avbench_home: Path, tmp_path: Path) -> None:
    """One kind for each, on part of the demo; the whole ladder, the whole demo and real clips are for `avbench audit`."""
    kinds = ("pitch", "face", "freeze", "drop")
    assert all(set(OWN[metric.name]) & set(kinds) for metric in select("embedded"))
    options = [word for kind in kinds for word in ("--damage", kind)]
    done = avbench("audit", "--out", tmp_path, "--limit", "6", *options, home=avbench_home)
    assert "its scale gets worse" in done.stdout
