"""Splits: what is refused and how it is said, and what a digest does and does not depend on."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import SplitError, UsageError
from avbench.results import load as load_results
from avbench.split import Pair, known_splits, load_split, media_path, media_root

from .scored import PROMPT, make_run, pair_json, split_files

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def load(folder: Path, *pairs: dict[str, Any], **head: Any) -> tuple[Pair, ...]:
    return load_split(str(split_files(folder, pairs, **head))).pairs


def test_a_split_is_known_by_name_in_the_working_folder_and_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = split_files(tmp_path / "splits" / "mine", [pair_json("b"), pair_json("a")])
    monkeypatch.chdir(tmp_path)
    assert "mine" in known_splits()
    by_name, by_path = load_split("mine"), load_split(str(folder))
    assert by_name.label == by_path.label == f"mine@{by_name.digest}"
    assert [pair.id for pair in by_name.pairs] == ["b", "a"]
    assert [by_name.index(pair) for pair in ("b", "a")] == [0, 1]
    assert media_path(by_name, by_name.pairs[0], "target", tmp_path) == tmp_path / "mine" / "b.mp4"
    assert media_root(by_name).parts[-2:] == ("media", "mine")


def test_an_unknown_split_is_answered_with_what_is_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_files(tmp_path / "splits" / "talkvid", [pair_json("a")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"unknown split 'talkvit'\. Did you mean talkvid"):
        load_split("talkvit")


def test_an_unknown_pair_is_answered_with_what_is_close(tmp_path: Path) -> None:
    split = load_split(str(split_files(tmp_path / "s", [pair_json("pair1"), pair_json("other")])))
    with pytest.raises(UsageError, match=r"unknown pair 'pair2'\. Did you mean pair1"):
        split.index("pair2")


def test_a_duplicate_id_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"pair id 'a' stands on lines 1 and 3"):
        load(tmp_path, pair_json("a"), pair_json("b"), pair_json("a"))


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "../a", "ä", "a\n", "a\x00", "run", "scales"])
def test_an_id_that_cannot_be_a_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SplitError, match=r"line 2: pair id"):
        load(tmp_path, pair_json("fine"), pair_json(name))


@settings(max_examples=30)
@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name not in ("run", "scales"))
)
def test_every_other_id_of_the_alphabet_is_taken(name: str) -> None:
    with TemporaryDirectory() as folder:
        assert load(Path(folder) / "s", pair_json(name))[0].id == name


@pytest.mark.parametrize("medium", ["voice", "face", "target"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.mp4", "a/../../b.mp4", "", "."])
def test_a_path_outside_the_media_folder_is_refused(tmp_path: Path, medium: str, path: str) -> None:
    with pytest.raises(SplitError, match=f"line 1: {medium} .*inside the media folder"):
        load(tmp_path, pair_json("a", **{medium: path}))


def test_media_may_lie_in_subfolders(tmp_path: Path) -> None:
    assert load(tmp_path, pair_json("a", target="clips/x..y/a.mp4"))[0].target == "clips/x..y/a.mp4"


def test_an_unknown_field_of_a_pair_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"pairs\.jsonl, line 1: .*`refrence`"):
        load(tmp_path, pair_json("a", refrence="x"))


def test_an_unknown_part_of_a_prompt_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"line 1: .*`smell`"):
        load(tmp_path, pair_json("a", prompt={**PROMPT, "smell": "none"}))


def test_a_digest_of_an_unknown_medium_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="line 1: sha256 of 'vioce'; expected voice, face, target"):
        load(tmp_path, pair_json("a", sha256={"vioce": "0" * 64}))


@pytest.mark.parametrize("missing", ["id", "speaker", "voice", "face", "target", "prompt", "same_video", "consent"])
def test_a_missing_field_is_named(tmp_path: Path, missing: str) -> None:
    pair = pair_json("a")
    del pair[missing]
    with pytest.raises(SplitError, match=f"line 1: .*`{missing}`"):
        load(tmp_path, pair)


def test_split_toml_with_an_unknown_field_or_broken_syntax_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"split\.toml: .*`colour`"):
        load(tmp_path, pair_json("a"), colour="red")
    (tmp_path / "split.toml").write_text("title = \n")
    with pytest.raises(SplitError, match=r"split\.toml: "):
        load_split(str(tmp_path))
    (tmp_path / "split.toml").write_bytes(b'title = "\xff"\n')
    with pytest.raises(SplitError, match=r"split\.toml: "):
        load_split(str(tmp_path))


def test_no_pairs_and_an_absent_pairs_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no pairs"):
        load(tmp_path)
    (tmp_path / "pairs.jsonl").unlink()
    with pytest.raises(SplitError, match=r"pairs\.jsonl: cannot be read"):
        load_split(str(tmp_path))


def test_bytes_that_are_not_utf8_are_an_error_with_the_line(tmp_path: Path) -> None:
    folder = split_files(tmp_path, [pair_json("a")])
    with (folder / "pairs.jsonl").open("ab") as file:
        file.write(json.dumps(pair_json("b", speaker="X")).encode().replace(b'"X"', b'"\xff"') + b"\n")
    with pytest.raises(SplitError, match="line 2"):
        load_split(str(folder))


@settings(max_examples=50)
@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_any_prompt_comes_back_quotes_emoji_and_all(visual: str, speech: str, manner: str, env: str, said: str) -> None:
    prompt = {"visual": visual, "speech": speech, "manner": manner, "environment": env}
    with TemporaryDirectory() as folder:
        (pair,) = load(Path(folder) / "s", pair_json("a", prompt=prompt, transcript=said))
    found = (pair.prompt.visual, pair.prompt.speech, pair.prompt.manner, pair.prompt.environment, pair.transcript)
    assert found == (visual, speech, manner, env, said)


def test_the_digest_does_not_depend_on_line_ends(tmp_path: Path) -> None:
    folder = split_files(tmp_path / "s", [pair_json("a"), pair_json("b")])
    unix = load_split(str(folder))
    for name in ("split.toml", "pairs.jsonl"):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    windows = load_split(str(folder))
    assert windows.digest == unix.digest
    assert windows.pairs == unix.pairs


def test_the_digest_does_not_depend_on_where_the_split_lies(tmp_path: Path) -> None:
    one = load_split(str(split_files(tmp_path / "x" / "s", [pair_json("a")])))
    two = load_split(str(split_files(tmp_path / "y" / "s", [pair_json("a")])))
    assert one.label == two.label


def test_the_digest_changes_with_every_part_of_the_recipe(tmp_path: Path) -> None:
    recipes: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        ([pair_json("a"), pair_json("b")], {}),
        ([pair_json("b"), pair_json("a")], {}),
        ([pair_json("a")], {}),
        ([pair_json("a", transcript="hello."), pair_json("b")], {}),
        ([pair_json("a"), pair_json("b")], {"note": "."}),
        ([pair_json("a"), pair_json("b")], {"frames": 120}),
    ]
    digests = [
        load_split(str(split_files(tmp_path / str(number), pairs, **head))).digest
        for number, (pairs, head) in enumerate(recipes)
    ]
    assert len(set(digests)) == len(recipes)
    assert all(len(digest) == 8 for digest in digests)


# Protocols -------------------------------------------------------------------------------------------------------

PROTOCOL = """
[protocol]
pairs = 35
speakers = 8
same_video = 0
source = "a paper"
missing = "nobody said which"
later = "more"
"""


def protocol_files(folder: Path, table: str = PROTOCOL, **head: Any) -> Path:
    """A split.toml in state "protocol", without pairs."""
    split_files(folder, [], **{"state": "protocol", **head})
    (folder / "pairs.jsonl").unlink()
    with (folder / "split.toml").open("a") as file:
        file.write(table)
    return folder


@pytest.mark.parametrize("name", ["easy", "hard", "talkvid"])
def test_a_protocol_is_refused_by_whoever_wants_pairs_and_says_what_to_do(name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"split '{name}' has no pairs here.*of your own, write splits/{name}/"
    ) as found:
        load_split(name)
    assert not isinstance(found.value, SplitError), "it is whole, and scores of it are still read from their files"
    split = load_split(name, protocol=True)
    assert (split.name, split.pairs, split.head.state, split.head.profile) == (name, (), "protocol", "authors")
    assert (split.head.frames, split.head.width, split.head.height) == (121, 1024, 1024)
    assert str(found.value).count("\n") == 0


def test_only_who_asks_for_protocols_is_told_of_them() -> None:
    assert "demo" in known_splits()
    assert set(known_splits(protocols=True)) - set(known_splits()) == {"easy", "hard", "talkvid"}
    with pytest.raises(UsageError, match="Did you mean talkvid"):
        load_split("talkvit")


def test_pairs_of_ones_own_take_the_place_of_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_files(tmp_path / "splits" / "hard", [pair_json("a")])
    monkeypatch.chdir(tmp_path)
    assert "hard" in known_splits()
    assert [pair.id for pair in load_split("hard").pairs] == ["a"]
    assert load_split("hard", protocol=True).head.state == "pairs"


def test_scores_of_pairs_that_are_elsewhere_are_read_beside_a_protocol(tmp_path: Path) -> None:
    split = load_split(str(split_files(tmp_path / "hard", [pair_json("a"), pair_json("b")])))
    make_run(tmp_path, split, "m", {"sim": {"a": 0.25, "b": 0.75}})
    results = load_results(tmp_path / "runs", "hard", profile="embedded")
    assert results.split == split.label
    assert list(results.scores["m", "sim"].values) == [0.25, 0.75]


def test_a_protocol_is_told_from_pairs_by_its_head_alone(tmp_path: Path) -> None:
    one, two = protocol_files(tmp_path / "one"), protocol_files(tmp_path / "two", note="n")
    assert load_split(str(one), protocol=True).digest != load_split(str(two), protocol=True).digest
    (one / "pairs.jsonl").write_text(f"{json.dumps(pair_json('a'))}\n")
    for asked in (True, False):
        with pytest.raises(SplitError, match=r"beside a pairs\.jsonl.*Take one away"):
            load_split(str(one), protocol=asked)


@pytest.mark.parametrize(
    ("table", "head", "message"),
    [
        ("", {}, r"\[protocol\] and state = \"protocol\" go together"),
        (PROTOCOL, {"state": "pairs"}, r"\[protocol\] and state = \"protocol\" go together"),
        (PROTOCOL.replace("= 0", "= 36"), {}, "36 of 35 pairs from the same video"),
        (PROTOCOL.replace("= 8", "= 0"), {}, r"expected `int` >= 1|Expected `int` >= 1"),
        (PROTOCOL.replace("missing", "lacking"), {}, "`lacking`|`missing`"),
        (PROTOCOL, {"state": "draft"}, "draft"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_named(
    tmp_path: Path, table: str, head: dict[str, Any], message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        load_split(str(protocol_files(tmp_path / "s", table, **head)), protocol=True)


def test_a_head_that_cannot_be_read_is_still_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_files(tmp_path / "splits" / "mine", [pair_json("a")])
    (tmp_path / "splits" / "mine" / "split.toml").write_text("title = \n")
    monkeypatch.chdir(tmp_path)
    assert "mine" in known_splits()
