"""Joining scores: means by hand, what is refused and why, and that a failure never becomes a number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import AvbenchError, Incomparable, Incomplete, SplitError, UsageError
from avbench.report import FORMATS
from avbench.results import aggregate, load, speaker_means
from avbench.run import RunInfo, append_rows, read_scores, rewrite_scores, write_run, write_scales
from avbench.split import Split
from avbench.table import build

from .scored import make_row, make_run, make_scale, make_split, results_of

SPEAKERS = {"a1": "ann", "b1": "bob", "a2": "ann", "c1": "cid"}
MEASURED = {"a1": 0.5, "b1": 0.125, "a2": 0.25, "c1": 0.75}


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return make_split(tmp_path, SPEAKERS, note="a note")


# What is computed ------------------------------------------------------------------------------------------------


def test_the_mean_is_over_measured_clips_and_speakers_have_means_of_their_own(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": {**MEASURED, "c1": "no face"}})
    results = results_of(tmp_path)
    scores = results.scores["m", "sim"]
    assert scores.measured.tolist() == [0, 1, 2]
    assert scores.values.tolist() == [0.5, 0.125, 0.25]
    assert (scores.failed.tolist(), scores.reasons) == ([3], ("no face",))
    assert aggregate(results.scales[0], scores) == (0.5 + 0.125 + 0.25) / 3
    means = speaker_means(results, scores)
    assert [results.speakers[place] for place in means.speakers] == ["ann", "bob"]
    assert means.means.tolist() == [0.375, 0.125]
    assert means.clips.tolist() == [2, 1]


def test_a_scale_of_a_corpus_weighs_each_clip_by_its_words(tmp_path: Path, split: Split) -> None:
    """One error in two words and none in four: 1/6 over the words, 1/4 over the clips."""
    scale = make_scale(aggregate="corpus", label="WER")
    run = make_run(tmp_path, split, "m", {"sim": {}})
    write_scales(run, [scale])
    rows = [
        make_row(split, pair, scale, value, detail={"words": words})
        for pair, value, words in (("a1", 0.5, 2), ("a2", 0.0, 4))
    ]
    append_rows(run / "scores.jsonl", rows)
    results = results_of(tmp_path)
    assert aggregate(results.scales[0], results.scores["m", "sim"]) == pytest.approx(1 / 6, rel=1e-15)
    assert speaker_means(results, results.scores["m", "sim"]).means.tolist() == pytest.approx([1 / 6])
    assert "of WER over their words" in FORMATS["text"](build(results))
    append_rows(run / "scores.jsonl", [make_row(split, "b1", scale, 0.5, detail={"words": "two"})])
    with pytest.raises(UsageError, match="pair 'b1' has words = 'two'"):
        results_of(tmp_path)


def test_no_measured_clip_has_no_mean(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": dict.fromkeys(SPEAKERS, "no face")})
    results = results_of(tmp_path)
    with pytest.raises(ValueError, match="no measured clip"):
        aggregate(results.scales[0], results.scores["m", "sim"])
    assert speaker_means(results, results.scores["m", "sim"]).means.tolist() == []


def test_pairs_speakers_and_words_are_the_splits(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": {"c1": 0.5}})
    results = results_of(tmp_path)
    assert results.pairs == tuple(SPEAKERS)
    assert results.speakers == ("ann", "bob", "cid")
    assert results.speaker_of.tolist() == [0, 1, 0, 2]
    assert (results.split, results.title, results.note) == (split.label, "A split for tests", "a note")
    assert (results.profile, results.ranks) == ("embedded", True)


def test_a_tenth_added_ten_times_has_the_mean_of_a_tenth(tmp_path: Path) -> None:
    ten = make_split(tmp_path, {f"p{number}": "ann" for number in range(10)})
    make_run(tmp_path, ten, "m", {"sim": {pair.id: 0.1 for pair in ten.pairs}})
    results = results_of(tmp_path)
    assert aggregate(results.scales[0], results.scores["m", "sim"]) == 0.1


OUTCOMES = st.one_of(
    st.none(), st.just("no face"), st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 6))
)


@settings(max_examples=60)
@given(st.lists(OUTCOMES, min_size=1, max_size=12).filter(lambda found: any(one is not None for one in found)))
def test_measured_failed_and_missing_are_told_apart_and_only_values_count(found: list[float | str | None]) -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        outcomes = {f"p{number}": outcome for number, outcome in enumerate(found)}
        split = make_split(place, dict.fromkeys(outcomes, "ann"))
        make_run(place, split, "m", {"sim": {pair: one for pair, one in outcomes.items() if one is not None}})
        results = results_of(place)
        scores = results.scores["m", "sim"]
    values = [one for one in found if isinstance(one, float)]
    assert scores.values.tolist() == values
    assert scores.measured.tolist() == [number for number, one in enumerate(found) if isinstance(one, float)]
    assert scores.failed.tolist() == [number for number, one in enumerate(found) if isinstance(one, str)]
    assert any("missing" in notice for notice in results.notices) == (None in found)
    if values:
        exact = sum(map(Fraction, values), Fraction(0)) / len(values)
        assert aggregate(results.scales[0], scores) == pytest.approx(float(exact), rel=1e-15, abs=1e-300)


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(shuffle: random.Random) -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        split = make_split(place, SPEAKERS)
        for method, shift in (("m", 0.0), ("n", 0.01)):
            values: dict[str, float | str] = {pair: value + shift for pair, value in MEASURED.items()}
            folder = make_run(place, split, method, {"sim": values, "lips": {**values, "b1": "no face"}})
        before = [form(build(results_of(place))) for form in FORMATS.values()]
        rows = list(read_scores(folder).values())
        shuffle.shuffle(rows)
        rewrite_scores(folder / "scores.jsonl", rows)
        assert [form(build(results_of(place))) for form in FORMATS.values()] == before


# Which row counts ------------------------------------------------------------------------------------------------


def test_the_last_row_of_a_pair_counts_whichever_clip_or_media_it_was_of(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    for value, clip in ((0.9, "new"), ("no face", "newer"), (0.6, "c")):
        append_rows(folder / "scores.jsonl", [make_row(split, "a1", make_scale(), value, clip_sha256=clip)])
    assert results_of(tmp_path).scores["m", "sim"].values.tolist() == [0.6, 0.125, 0.25, 0.75]
    append_rows(folder / "scores.jsonl", [make_row(split, "a1", make_scale(), "no face", target_sha256="t2")])
    assert results_of(tmp_path).scores["m", "sim"].measured.tolist() == [1, 2, 3]


def test_rows_of_another_digest_or_revision_are_passed_over_with_a_notice(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": {"a1": 0.5, "b1": 0.25}})
    stale = [
        make_row(split, "b1", make_scale(), 0.99, split="mini@00000000"),
        make_row(split, "c1", make_scale(), 0.99, split="mini@00000000"),
        make_row(split, "a2", make_scale(), 0.99, revision="sim/0+net/1@01234567"),
    ]
    append_rows(folder / "scores.jsonl", stale)
    results = results_of(tmp_path)
    assert results.scores["m", "sim"].values.tolist() == [0.5, 0.25]
    (notice,) = [notice for notice in results.notices if "passed over" in notice]
    assert "m: 3 rows" in notice
    assert f"`avbench score {tmp_path / 'runs'} --split mini --profile embedded --method m`" in notice


def test_rows_of_another_profile_are_no_concern(tmp_path: Path, split: Split) -> None:
    theirs = make_scale(profile="authors", revision="other")
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED}, [theirs, make_scale()])
    append_rows(folder / "scores.jsonl", [make_row(split, "a1", theirs, 0.99)])
    assert results_of(tmp_path).scores["m", "sim"].values.tolist() == list(MEASURED.values())
    assert results_of(tmp_path).notices == ()
    assert results_of(tmp_path, profile="authors").scores["m", "sim"].values.tolist() == [0.99]


def test_a_torn_last_line_is_no_row_and_no_error(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    path = folder / "scores.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert results_of(tmp_path).scores["m", "sim"].rows == 3


@pytest.mark.parametrize("changes", [{"value": None}, {"failure": "no face"}])
def test_a_row_without_value_or_with_a_failure_beside_it_is_refused(
    tmp_path: Path, split: Split, changes: dict[str, Any]
) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    append_rows(folder / "scores.jsonl", [make_row(split, "a1", make_scale(), 0.5, **changes)])
    with pytest.raises(UsageError, match=r"scores\.jsonl, line 5: a row has a value or a failure, one of them"):
        results_of(tmp_path)


def test_a_row_of_a_pair_that_the_split_lacks_is_refused(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": {**MEASURED, "z9": 0.5}})
    with pytest.raises(UsageError, match=r"m/mini: .* pair 'z9'.*mini@"):
        results_of(tmp_path)


def test_scores_without_their_scales_json_are_refused(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    (folder / "scales.json").unlink()
    with pytest.raises(UsageError, match=r"scales\.json: nothing on embedded/sim"):
        results_of(tmp_path)


# What does not stand together ------------------------------------------------------------------------------------


def refused(place: Path, kind: type[AvbenchError], code: int, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        results_of(place, **options)
    assert caught.value.exit_code == code
    return str(caught.value)


Break = Callable[[Path, Split], object]


def _other_digest(place: Path, split: Split) -> object:
    return make_run(place, split, "odd", {"sim": MEASURED}, split="mini@00000000")


def _other_profile(place: Path, split: Split) -> object:
    return make_run(place, split, "odd", {"sim": MEASURED}, [make_scale(profile="authors")])


def _other_revision(place: Path, split: Split) -> object:
    return make_run(place, split, "odd", {"sim": MEASURED}, [make_scale(revision="sim/2")])


def _old_rows_only(place: Path, split: Split) -> object:
    return make_run(place, split, "odd", {"sim": MEASURED}, revision="sim/0")


def _other_field(field: str, value: str) -> Break:
    return lambda place, split: make_run(place, split, "odd", {"sim": MEASURED}, [make_scale(**{field: value})])


def _other_media(field: str) -> Break:
    changes: dict[str, Any] = {field: "elsewhere"}
    return lambda place, split: make_run(place, split, "odd", {"sim": {"a1": 0.5}}, **changes)


REVISION = make_scale().revision
REFUSALS: dict[str, tuple[Break, list[str]]] = {
    "digest": (_other_digest, ["split digest differs", "'mini@00000000' (odd)", "(the split as it is here, fine)"]),
    "profile": (_other_profile, ["profile differs", "'embedded' (fine)", "'authors' (odd)", "--profile embedded"]),
    "revision": (_other_revision, ["revision of sim differs", f"'{REVISION}' (fine)", "'sim/2' (odd)"]),
    "old rows": (
        _old_rows_only,
        ["revision of sim differs", f"'{REVISION}' (fine, scales.json of odd)", "'sim/0' (odd)"],
    ),
    "unit": (_other_field("unit", "dB"), ["unit of sim differs", "'cosine' (fine)", "'dB' (odd)"]),
    "direction": (_other_field("direction", "lower"), ["direction of sim differs", "'higher' (fine)", "'lower' (odd)"]),
    "target": (
        _other_media("target_sha256"),
        ["target_sha256 of pair a1 on sim differs", "'t-a1' (fine)", "'elsewhere' (odd)"],
    ),
    "reference": (
        _other_media("reference_sha256"),
        ["reference_sha256 of pair a1", "'r-a1' (fine)", "'elsewhere' (odd)"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_scores_that_differ_in_a_field_are_refused_with_field_values_methods_and_command(
    tmp_path: Path, split: Split, name: str
) -> None:
    make_run(tmp_path, split, "fine", {"sim": MEASURED})
    breaks, words = REFUSALS[name]
    breaks(tmp_path, split)
    message = refused(tmp_path, Incomparable, 3)
    for word in words:
        assert word in message, message
    assert re.search(r"`avbench score \S+/runs --split mini", message)
    assert results_of(tmp_path, methods=["fine"]).methods[0].method == "fine"


def test_a_lone_run_of_another_digest_is_refused_too(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "odd", {"sim": MEASURED}, split="mini@00000000")
    message = refused(tmp_path, Incomparable, 3)
    assert f"'{split.label}' (the split as it is here)" in message
    assert "'mini@00000000' (odd)" in message


def test_scales_that_are_not_shown_may_differ(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "fine", {"sim": MEASURED, "lips": MEASURED})
    make_run(tmp_path, split, "odd", {"sim": MEASURED, "lips": MEASURED}, [make_scale("lips", revision="lips/2")])
    assert "revision of lips" in refused(tmp_path, Incomparable, 3)
    assert [scale.name for scale in results_of(tmp_path, metrics=["sim"]).scales] == ["sim"]


def test_a_failure_whose_target_was_absent_is_no_other_target(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED})
    make_run(tmp_path, split, "n", {"sim": dict.fromkeys(SPEAKERS, "target: no such file")}, target_sha256="")
    assert results_of(tmp_path).scores["n", "sim"].failed.tolist() == [0, 1, 2, 3]


def test_scores_of_an_untrained_metric_network_are_refused_with_the_reason(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED}, [make_scale(revision="sim/1+net/1@untrained")])
    message = refused(tmp_path, Incomparable, 3)
    assert "sim of m" in message
    assert "without trained weights" in message
    assert "avbench weights" in message
    refused(tmp_path, Incomparable, 3, methods=["m"])


# What is left out, missing or unknown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (RunInfo("M", untrained=True), "untrained"),
        (RunInfo("M", limited=3), "limited to 3 pairs"),
        (RunInfo("M", limited_scores=2), "limited to 2 pairs"),
    ],
)
def test_untrained_and_limited_runs_are_left_out_unless_named(
    tmp_path: Path, split: Split, info: RunInfo, reason: str
) -> None:
    make_run(tmp_path, split, "fine", {"sim": MEASURED})
    make_run(tmp_path, split, "odd", {"sim": MEASURED}, info=info)
    results = results_of(tmp_path)
    assert [entry.method for entry in results.methods] == ["fine"]
    assert re.search(f"odd is left out: .*{reason}", "\n".join(results.notices))
    named = results_of(tmp_path, methods=["odd", "fine"])
    assert [(entry.method, entry.competes) for entry in named.methods] == [("fine", True), ("odd", False)]
    assert named.notices == ()


def test_when_all_runs_are_left_out_the_reasons_are_said(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "odd", {"sim": MEASURED}, info=RunInfo("M", limited=3))
    assert "odd is left out: it was limited to 3 pairs" in refused(tmp_path, Incomplete, 4)


def test_a_run_without_scores_is_left_out_with_the_command_and_a_row_of_gaps_when_named(
    tmp_path: Path, split: Split
) -> None:
    make_run(tmp_path, split, "fine", {"sim": MEASURED})
    make_run(tmp_path, split, "new", {})
    results = results_of(tmp_path)
    assert [entry.method for entry in results.methods] == ["fine"]
    command = f"`avbench score {tmp_path / 'runs'} --split mini --method new`"
    assert f"new is left out: it has no scores. {command} makes them." in results.notices
    named = results_of(tmp_path, methods=["fine", "new"])
    assert named.scores["new", "sim"].rows == 0
    assert any(notice.startswith("new: 4 of 4 scores are missing") for notice in named.notices)


def test_a_scale_that_one_method_lacks_is_a_gap_of_that_method(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED, "lips": MEASURED})
    make_run(tmp_path, split, "n", {"sim": MEASURED})
    results = results_of(tmp_path)
    assert results.scores["n", "lips"].rows == 0
    (notice,) = results.notices
    assert notice.startswith("n: 4 of 8 scores are missing.")
    assert "avbench score" in notice


def test_a_metric_asked_for_by_name_is_a_column_even_where_nothing_is_scored_yet(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    write_scales(folder, [make_scale("lips", order=1)])
    assert [scale.name for scale in results_of(tmp_path).scales] == ["sim"]
    results = results_of(tmp_path, metrics=["sim", "lips"])
    assert [(scale.name, results.scores["m", scale.name].rows) for scale in results.scales] == [("sim", 4), ("lips", 0)]
    message = refused(tmp_path, Incomplete, 4, metrics=["lips"])
    assert "--metric lips" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ["shiftd"]}, ["unknown method", "'shiftd'", "Did you mean shifted"]),
        ({"metrics": ["simm"]}, ["unknown metric", "'simm'", "Did you mean sim"]),
        ({"profile": "embeded"}, ["unknown profile", "'embeded'", "Did you mean embedded"]),
        ({"profile": "paper"}, ["unknown profile", "Known: authors, community, embedded"]),
    ],
)
def test_unknown_names_are_answered_with_what_is_close(
    tmp_path: Path, split: Split, options: dict[str, Any], words: list[str]
) -> None:
    make_run(tmp_path, split, "shifted", {"sim": MEASURED})
    message = refused(tmp_path, UsageError, 2, **options)
    for word in words:
        assert word in message, message


def test_nothing_to_show_is_incomplete_and_says_which_command_helps(tmp_path: Path, split: Split) -> None:
    for folder in (None, tmp_path / "runs", tmp_path / "runs" / "m" / "other"):
        if folder is not None:
            folder.mkdir(parents=True)
        assert f"`avbench generate --runs {tmp_path / 'runs'} --split mini`" in refused(tmp_path, Incomplete, 4)
    make_run(tmp_path, split, "m", {})
    assert "no scores" in refused(tmp_path, Incomplete, 4)
    assert "avbench score" in refused(tmp_path, Incomplete, 4, methods=["m"])


def test_scores_on_another_profile_only_are_incomplete_with_the_profiles_that_there_are(
    tmp_path: Path, split: Split
) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED}, [make_scale(profile="authors")])
    message = refused(tmp_path, Incomplete, 4)
    assert "there are scores on authors" in message
    assert "--profile embedded" in message


def test_a_folder_name_with_blanks_is_quoted_in_commands(tmp_path: Path) -> None:
    split = make_split(tmp_path / "my runs", SPEAKERS)
    make_run(tmp_path / "my runs", split, "m", {"sim": {"a1": 0.5}})
    assert any(f"'{tmp_path}/my runs/runs'" in notice for notice in results_of(tmp_path / "my runs").notices)


# Order -----------------------------------------------------------------------------------------------------------


def test_methods_come_before_controls_each_by_order_then_name_with_numbers_as_numbers(
    tmp_path: Path, split: Split
) -> None:
    infos = {
        "truth": RunInfo("truth", "control", 0),
        "theirs": None,
        "m@k=12": RunInfo("M", "model", 5),
        "m@k=8": RunInfo("M", "model", 5),
        "cascade": RunInfo("C", "baseline", 1),
        "stranger": RunInfo("stranger", "control", 9),
    }
    for method, info in infos.items():
        make_run(tmp_path, split, method, {"sim": MEASURED}, info=info)
    expected = ["cascade", "m@k=8", "m@k=12", "theirs", "truth", "stranger"]
    assert [entry.method for entry in results_of(tmp_path).methods] == expected
    assert [entry.method for entry in results_of(tmp_path, methods=expected[::-1]).methods] == expected


def test_columns_come_by_order_then_name(tmp_path: Path, split: Split) -> None:
    scales = [make_scale("z", order=0), make_scale("b", order=1), make_scale("a", order=1)]
    make_run(tmp_path, split, "m", {"a": MEASURED, "b": MEASURED, "z": MEASURED}, scales)
    assert [scale.name for scale in results_of(tmp_path).scales] == ["z", "a", "b"]
    assert [scale.name for scale in results_of(tmp_path, metrics=["a", "z", "a"]).scales] == ["z", "a"]


# A split that this machine does not have -------------------------------------------------------------------------


def test_scores_of_a_split_that_is_not_here_can_be_read_when_the_profile_is_given(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": {"b1": 0.25, "a1": 0.5}})
    make_run(tmp_path, split, "n", {"sim": {"c1": "no face"}})
    with pytest.raises(UsageError, match=r"not known here, nor is its profile; give --profile.*embedded"):
        load(tmp_path / "runs", "gone/mini")
    results = load(tmp_path / "runs", "gone/mini", profile="embedded")
    assert (results.split, results.pairs, results.ranks) == (split.label, ("a1", "b1", "c1"), False)
    assert results.scores["m", "sim"].values.tolist() == [0.5, 0.25]
    assert [results.speakers[place] for place in results.speaker_of] == ["ann", "bob", "cid"]
    assert any("not known here" in notice for notice in results.notices)


def test_two_digests_of_a_split_that_is_not_here_are_refused(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED})
    make_run(tmp_path, split, "n", {"sim": MEASURED}, split="mini@00000000")
    with pytest.raises(Incomparable, match=rf"split digest differs: '{split.label}' \(m\); 'mini@00000000' \(n\)"):
        load(tmp_path / "runs", "gone/mini", profile="embedded")


def test_an_unknown_split_without_scores_is_an_unknown_split(tmp_path: Path) -> None:
    for runs in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError, match="unknown split 'gone'"):
            load(runs, "gone", profile="embedded")


def test_a_broken_split_is_not_taken_for_an_unknown_one(tmp_path: Path, split: Split) -> None:
    make_run(tmp_path, split, "m", {"sim": MEASURED})
    (tmp_path / "mini" / "pairs.jsonl").write_text("broken\n")
    with pytest.raises(SplitError, match=r"pairs\.jsonl, line 1"):
        results_of(tmp_path, profile="embedded")


def test_a_run_json_that_is_damaged_is_named(tmp_path: Path, split: Split) -> None:
    folder = make_run(tmp_path, split, "m", {"sim": MEASURED})
    write_run(folder, RunInfo("M"))
    (folder / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json"):
        results_of(tmp_path)
