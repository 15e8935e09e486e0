"""Methods that make many clips in one go; shards, sweeps, consent: what is made, kept, recorded, and by whom."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench import generate as generating
from avbench.cli import line as commands
from avbench.cli.progress import Bars
from avbench.errors import FolderError, Incomparable, MediaError, NotFinite, UsageError, WeightsError, WorkerDied
from avbench.generate import Generated, generate, planned
from avbench.generator.recipe import Memory
from avbench.home import sha256
from avbench.methods import METHODS, Item, Machine, Made, Method, Step, Wanted, one_by_one, resolve, swept, with_option
from avbench.run import Request, Shard, Sidecar, lock_shard, parse_shard, read_run, read_sidecar
from avbench.signing import Generation, Manifest, Signer
from avbench.split import Prompt, Split, load_split
from avbench.workers import Progress

from .line import COMMAND, Demo, avbench, environment, run_files
from .scored import pair_json, split_files

MODULE = """
import os
import shutil
from pathlib import Path

from avbench.errors import MediaError
from avbench.methods import Made, Method, Step, one_by_one

HERE = Path(__file__).parent


def said(word):
    return (HERE / word).read_text() if (HERE / word).exists() else ""


def many(wanted, machine):
    with open(HERE / "begun", "a") as log:
        log.write(f"{os.getpid()}\\n")
    with open(HERE / "machine", "w") as log:
        log.write(f"{machine.device} {machine.memory}")
    for item, path in reversed(wanted):
        with open(HERE / "log", "a") as log:
            log.write(f"{item.pair}\\n")
        for done in said("steps").split():
            yield Step(said("misnamed") or item.pair, int(done), 4)
        if item.pair == said("dies"):
            os._exit(9)
        if item.pair == said("raises"):
            raise ValueError(f"no luck with {path}")
        if item.pair == said("forgotten"):
            continue
        if item.pair == said("fails"):
            yield Made(item.pair, {}, f"{path}: too quiet")
            continue
        if item.pair != said("unwritten"):
            shutil.copyfile(item.voice, path)
        yield Made(said("misnamed") or item.pair, {"seed": item.seed, "at": str(path)})
    with open(HERE / "ended", "a") as log:
        log.write("x")


def method(scale: int = 1, untrained: bool = False) -> Method:
    return Method(
        label=f"many {scale}", make=one_by_one(many), make_many=many, order=scale, untrained=untrained,
        licences={"net": "MIT"},
    )


def asking() -> Method:
    return Method(label="asking", make=one_by_one(many), make_many=many, consent=True)


def single(item, path):
    shutil.copyfile(item.voice, path)


def unready(machine):
    raise RuntimeError(f"not ready on {machine.device}")


def waiting() -> Method:
    return Method(label="waiting", make=one_by_one(many), make_many=many, ready=unready)


def checking(stage: str = "none") -> Method:
    def told(line):
        with open(HERE / "asked", "a") as log:
            log.write(f"{line}\\n")
        if stage == line.partition(" ")[0]:
            raise ValueError(f"not at {stage}")

    def check(items, machine):
        told(f"check {''.join(item.pair for item in items)}")

    def ready(machine):
        told("ready")

    return Method(
        label="checking", make=one_by_one(many), make_many=many, check=check, ready=ready, consent=True,
        fingerprint=lambda: dict(part.split("=") for part in said("parts").split()),
    )


def priced(scale: int = 1) -> Method:
    def plan(clips, item, machine):
        return f"{clips} x {item.frames}\\n{item.pair} on {machine.device}"

    return Method(label="priced", make=one_by_one(many), make_many=many, ready=unready, plan=plan, consent=True)
"""


class Place:
    """A split of five pairs with media of a few bytes, and a module with a method that makes many in one go."""

    def __init__(self, folder: Path, module: str) -> None:
        self.folder, self.module = folder, module
        pairs = [
            pair_json(name, consent=said) for name, said in zip("abcde", ("agreed", "None.", "", "c", "c"), strict=True)
        ]
        self.split: Split = load_split(str(split_files(folder / "mini", pairs)))
        self.media = folder / "data" / "mini"
        self.media.mkdir(parents=True)
        for pair in self.split.pairs:
            for medium in (pair.voice, pair.face, pair.target):
                (self.media / medium).write_bytes(f"bytes of {medium}".encode())

    def say(self, **words: str) -> None:
        """Tells the method what to do with which pair; nothing forgets it."""
        for word in ("dies", "raises", "forgotten", "fails", "unwritten", "misnamed", "steps", "parts"):
            (self.folder / word).unlink(missing_ok=True)
        for word, pair in words.items():
            (self.folder / word).write_text(pair)

    def generate(self, *methods: str, runs: str = "runs", **options: Any) -> Generated:
        named = [f"{self.module}{method}" if method.startswith(":") else method for method in methods or (":method",)]
        options = {"workers": 1, **options}
        return generate(self.split, named, self.folder / runs, data=self.folder / "data", **options)

    def clips(self, method: str = "method", runs: str = "runs") -> list[str]:
        return sorted(path.stem for path in (self.folder / runs / method / "mini").glob("*.mp4"))

    def sidecar(self, pair: str, method: str = "method") -> Sidecar:
        sidecar = read_sidecar(self.folder / "runs" / method / "mini" / f"{pair}.json")
        assert sidecar is not None
        return sidecar

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().split()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Place:
    module = f"many_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, module)


# In one go -------------------------------------------------------------------------------------------------------


def test_all_clips_are_made_in_one_process_in_the_methods_order_and_each_is_committed(place: Place) -> None:
    assert place.generate(workers=2) == Generated(5, 0, [])
    assert place.clips() == list("abcde")
    assert place.lines("log") == list("edcba")
    assert len(place.lines("begun")) == 1
    assert place.lines("begun") != [str(os.getpid())]
    sidecar = place.sidecar("c")
    assert sidecar.request.seed == sidecar.provenance["seed"] == 2
    assert sidecar.provenance["licences"] == {"net": "MIT"}
    assert sidecar.provenance["at"] == "c.mp4"  # no folder of this run
    assert "consent" not in sidecar.provenance
    assert place.lines("ended") == ["x"]  # what it holds is let go of before its process ends
    assert not list((place.folder / "runs" / "method" / "mini").glob(".part*"))


def test_methods_of_both_kinds_are_made_by_one_call(place: Place) -> None:
    assert place.generate(":single", ":method@scale=2", ":method@scale=3", workers=2) == Generated(15, 0, [])
    assert len(place.lines("begun")) == 2  # networks of one method are gone before those of the next are loaded


def test_what_is_there_is_not_shown_to_the_method_again(place: Place) -> None:
    place.generate(limit=2)
    (place.folder / "log").unlink()
    assert place.generate() == Generated(3, 2, [])
    assert place.lines("log") == list("edc")
    assert read_run(place.folder / "runs" / "method" / "mini").limited == 0
    (place.folder / "begun").unlink()
    assert place.generate() == Generated(0, 5, [])
    assert not (place.folder / "begun").exists()
    assert place.generate(overwrite="all") == Generated(5, 0, [])


def test_an_untrained_method_says_so_in_run_and_sidecar(place: Place) -> None:
    place.generate(":method@untrained=true", limit=1)
    folder = place.folder / "runs" / "method@untrained=True" / "mini"
    assert read_run(folder).untrained
    assert place.sidecar("a", "method@untrained=True").provenance["untrained"] is True


def test_a_failure_is_recorded_the_others_go_on_and_it_can_be_tried_again(place: Place) -> None:
    place.say(fails="c")
    assert place.generate() == Generated(4, 0, [("method", "c", "c.mp4: too quiet")])
    assert place.clips() == list("abde")
    assert place.sidecar("c").failure == "c.mp4: too quiet"
    place.say()
    assert place.generate() == Generated(0, 4, [("method", "c", "c.mp4: too quiet")])
    assert place.generate(overwrite="failed") == Generated(1, 4, [])


def test_a_pair_without_its_voice_is_a_failure_that_the_method_does_not_see(place: Place) -> None:
    (place.media / "b.wav").unlink()
    done = place.generate()
    assert (done.made, [failure[1] for failure in done.failures]) == (4, ["b"])
    assert "no such file; the voice of pair b" in done.failures[0][2]
    assert place.lines("log") == list("edca")


def test_nothing_is_begun_where_no_pair_has_its_media(place: Place) -> None:
    for voice in place.media.glob("*.wav"):
        voice.unlink()
    assert len(place.generate().failures) == 5
    assert not (place.folder / "begun").exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"raises": "c"}, "ValueError: no luck with c.mp4"),
        ({"misnamed": "z"}, "TypeError: make_many answered for 'z'"),
        ({"forgotten": "c"}, "RuntimeError: make_many ended without c"),
        ({"steps": "1 5"}, "TypeError: make_many yielded step 5 of 4"),
        ({"steps": "1", "misnamed": "z"}, "TypeError: make_many answered for 'z'"),
    ],
)
def test_somebodys_method_that_breaks_off_leaves_a_reason_for_every_pair_it_owes(
    place: Place, said: dict[str, str], reason: str
) -> None:
    place.say(**said)
    done = place.generate()
    owed = {"raises": list("abc"), "forgotten": ["c"]}.get(next(iter(said)), list("abcde"))
    assert [failure[1] for failure in done.failures] == owed
    assert done.made == 5 - len(owed)
    assert reason.replace("c.mp4", f"{owed[-1]}.mp4") in done.failures[-1][2]


def test_a_clip_that_was_not_written_is_a_failure(place: Place) -> None:
    place.say(unwritten="d")
    assert place.generate().failures == [("method", "d", "method returned without writing d.mp4")]


def test_a_process_that_dies_stops_the_run_and_what_was_finished_is_kept(place: Place) -> None:
    place.say(dies="b")
    with pytest.raises(WorkerDied, match="finished is kept"):
        place.generate()
    assert place.clips() == list("cde")
    place.say()
    assert place.generate() == Generated(2, 3, [])
    assert place.lines("log") == list("edcbba")


def test_what_a_method_says_of_itself_is_looked_over(place: Place) -> None:
    with pytest.raises(RuntimeError, match="not ready on cuda:7"):
        place.generate(":waiting", machine=Machine("cuda:7"))
    assert not (place.folder / "runs").exists()
    for field, value in (
        ("make_many", 3),
        ("check", 3),
        ("ready", 3),
        ("fingerprint", 3),
        ("plan", 3),
        ("consent", 1),
        ("licences", {"net": 1}),
        ("notes", "word"),
    ):
        (place.folder / f"odd_{field}.py").write_text(
            "from avbench.methods import Method\n"
            f"def odd() -> Method:\n    return Method(label='odd', make=print, {field}={value!r})\n"
        )
        with pytest.raises(UsageError, match=field):
            resolve(f"odd_{field}:odd")


def ours(answer: Callable[[Sequence[Wanted], Machine], Iterator[Made | Step]], **fields: Any) -> Callable[..., Method]:
    return lambda: Method(label="ours", make=one_by_one(answer), make_many=answer, **fields)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs in this process, where a method can be put among ours for a test."""

    def run_here(task: Any, jobs: Iterable[Any], workers: int, died: Any = None) -> Iterator[tuple[Any, Any]]:
        for job in jobs:
            yield job, task(job)

    monkeypatch.setattr(generating, "run_jobs", run_here)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), UsageError("no"), WeightsError("no weights"), MediaError("odd")]
)
def test_a_fault_of_ours_is_raised_and_what_was_finished_is_kept(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def answer(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made]:
        shutil.copyfile(wanted[0].item.voice, wanted[0].path)
        yield Made(wanted[0].item.pair)
        raise error

    monkeypatch.setitem(METHODS, "ours", ours(answer))
    with pytest.raises(type(error), match=str(error)):
        place.generate("ours")
    assert place.clips("ours") == ["a"]
    assert not (place.folder / "runs" / "ours" / "mini" / "b.json").exists()


@pytest.mark.parametrize(("error", "raised"), [(MemoryError(), WorkerDied), (OSError(28, "full"), FolderError)])
def test_a_full_machine_is_nobodys_failure(place: Place, error: Exception, raised: type[Exception]) -> None:
    name = type(error).__name__
    (place.folder / "heavy.py").write_text(
        "from avbench.methods import Method, one_by_one\n"
        f"def many(wanted, machine):\n    raise {name}{error.args!r}\n    yield\n"
        "def heavy() -> Method:\n    return Method(label='h', make=one_by_one(many), make_many=many)\n"
    )
    with pytest.raises(raised, match="kept"):
        generate(place.split, ["heavy:heavy"], place.folder / "runs", data=place.folder / "data", workers=1)
    assert not list((place.folder / "runs").rglob("a.json"))


@pytest.mark.parametrize("cause", [None, MemoryError()])
def test_what_a_method_says_of_memory_that_ended_is_let_through_as_it_is(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch, cause: Exception | None
) -> None:
    def answer(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made]:
        shutil.copyfile(wanted[0].item.voice, wanted[0].path)
        yield Made(wanted[0].item.pair)
        raise WorkerDied("out of memory on cuda:0. Try precision=fp8.") from cause

    monkeypatch.setitem(METHODS, "ours", ours(answer))
    with pytest.raises(WorkerDied, match=r"^out of memory on cuda:0\. Try precision=fp8\.$"):
        place.generate("ours")
    assert place.clips("ours") == ["a"]


def test_memory_that_ends_is_told_with_what_helps_the_kind_of_method(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made]:
        for _ in wanted:
            raise MemoryError
        yield from ()

    def make(item: Item, path: Path) -> None:
        raise MemoryError

    monkeypatch.setitem(METHODS, "ours", ours(answer))
    with pytest.raises(WorkerDied, match="--memory offload") as many:
        place.generate("ours")
    assert "--workers" not in str(many.value)
    monkeypatch.setitem(METHODS, "single", lambda: Method(label="single", make=make))
    with pytest.raises(WorkerDied, match="with --workers 1"):
        place.generate("single")


def test_numbers_that_are_not_finite_are_a_failure_of_their_pair(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(item: Item, path: Path) -> None:
        if item.pair == "b":
            raise NotFinite("block 3 gives nan")
        shutil.copyfile(item.voice, path)

    monkeypatch.setitem(METHODS, "single", lambda: Method(label="single", make=make))
    assert place.generate("single") == Generated(4, 0, [("single", "b", "block 3 gives nan")])


def test_the_make_of_such_a_method_makes_one_clip_or_raises_its_reason(tmp_path: Path) -> None:
    prompt = Prompt(visual="", speech="", manner="", environment="")
    item = Item("a", "ann", prompt, "", "en", tmp_path, tmp_path, seed=0, frames=5, width=8, height=8)
    assert one_by_one(lambda wanted, machine: iter([Step("a", 1, 2), Made("a", {"k": 1})]))(item, tmp_path) == {"k": 1}
    with pytest.raises(MediaError, match="too quiet"):
        one_by_one(lambda wanted, machine: iter([Made("a", {}, "too quiet")]))(item, tmp_path)
    with pytest.raises(TypeError, match="expected 'a' once"):
        one_by_one(lambda wanted, machine: iter([]))(item, tmp_path)


# What is asked first ---------------------------------------------------------------------------------------------


def asked(place: Place) -> list[str]:
    """What the method was asked since the last look."""
    log = place.folder / "asked"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


@pytest.mark.parametrize(
    ("stage", "asks"), [("check", ["check abcde"]), ("ready", ["check abcde", "check abcde", "ready", "ready"])]
)
def test_what_is_wrong_is_said_of_every_method_before_anything_is_prepared_or_made(
    place: Place, stage: str, asks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "prepare", lambda *given: pytest.fail("prepared"))
    methods = (":single", ":checking", f":checking@stage={stage}")
    with pytest.raises(ValueError, match=f"not at {stage}"):
        place.generate(*(methods if stage == "ready" else (methods[0], methods[2], methods[1])), consent=True)
    assert asked(place) == asks
    assert not (place.folder / "runs").exists()


def test_nothing_is_asked_for_where_nothing_is_left_to_be_made(place: Place) -> None:
    place.say(fails="c")
    place.generate(":checking", consent=True)
    assert asked(place) == ["check abcde", "ready"]
    assert place.generate(":checking") == Generated(0, 4, [("checking", "c", "c.mp4: too quiet")])
    assert asked(place) == []
    place.generate(":checking", consent=True, overwrite="failed")
    assert asked(place) == ["check c", "ready"]
    (place.media / "c.wav").write_bytes(b"another take")  # so that the failure says nothing of it
    place.say()
    with pytest.raises(UsageError, match=r"1 of 1 pairs does not say that they agreed \(first c\)"):
        place.generate(":checking")
    assert asked(place) == []
    assert place.generate(":checking", consent=True) == Generated(1, 4, [])
    assert asked(place) == ["check c", "ready"]


def test_a_recorded_failure_of_another_seed_or_split_is_no_answer(place: Place) -> None:
    place.say(fails="c")
    place.generate(":checking", consent=True)
    asked(place)
    sidecar = place.folder / "runs" / "checking" / "mini" / "c.json"
    sidecar.write_text(sidecar.read_text().replace(place.split.label, "mini@00000000"))
    place.say()
    assert place.generate(":checking", consent=True) == Generated(1, 4, [])
    assert asked(place) == ["check c", "ready"]


# What a method is made of ----------------------------------------------------------------------------------------


def test_clips_of_other_networks_or_settings_are_never_mixed(place: Place) -> None:
    place.say(parts="settings=ab net=12")
    place.generate(":checking", limit=1)
    assert place.sidecar("a", "checking").request.made_with == {"settings": "ab", "net": "12"}
    assert place.generate(":checking", limit=1) == Generated(0, 1, [])
    for parts, says in (
        ("settings=ab net=34", "made for net '12', and now it is '34'"),
        ("settings=cd net=12", "made for settings 'ab', and now it is 'cd'"),
    ):
        place.say(parts=parts)
        with pytest.raises(Incomparable, match=says):
            place.generate(":checking", consent=True, shard=Shard(1, 2))
    assert place.generate(":checking", limit=1, overwrite="all") == Generated(1, 0, [])
    assert place.sidecar("a", "checking").request.made_with["settings"] == "cd"
    place.generate(":checking", limit=2, consent=True)
    place.say(parts="settings=ef net=12")
    for some in ({"limit": 1}, {"shard": Shard(1, 5)}):  # the clips that would stay are of other settings
        with pytest.raises(Incomparable, match=r"b\.mp4 was made with settings cd, and now it would be ef"):
            place.generate(":checking", overwrite="all", consent=True, **some)
    assert place.sidecar("a", "checking").request.made_with["settings"] == "cd"
    assert place.generate(":checking", overwrite="all", limit=2, consent=True).made == 2


def test_a_run_that_is_made_again_in_part_has_as_many_clips_as_before(place: Place) -> None:
    place.generate(":checking", limit=3, consent=True)
    place.generate(":checking", limit=1, overwrite="all", consent=True)
    assert read_run(place.folder / "runs" / "checking" / "mini").limited == 3


def test_a_network_that_is_not_here_speaks_neither_for_nor_against_a_clip(place: Place) -> None:
    place.say(parts="settings=ab net=12")
    place.generate(":checking", limit=1)
    place.say(parts="settings=ab")
    assert place.generate(":checking", limit=1) == Generated(0, 1, [])


def test_sidecars_of_methods_that_do_not_say_what_they_are_made_of_are_as_before(place: Place) -> None:
    place.generate(limit=1)
    file = place.folder / "runs" / "method" / "mini" / "a.json"
    assert "made_with" not in json.loads(file.read_text())["request"]
    place.generate(":checking", limit=1)
    place.say(parts="net=12")
    assert place.generate(":checking", limit=1) == Generated(0, 1, [])


def test_requests_differ_in_a_field_or_in_a_part_that_both_know() -> None:
    one = Request("m", "s", "p", 0, "v", "f", made_with={"net": "1", "other": "2"})
    assert one.differs(one) is None
    assert one.differs(msgspec.structs.replace(one, made_with={})) is None
    assert one.differs(msgspec.structs.replace(one, seed=3)) == ("seed", 3, 0)
    assert one.differs(msgspec.structs.replace(one, made_with={"net": "9"})) == ("net", "9", "1")


# How far it is ---------------------------------------------------------------------------------------------------


def told(place: Place, *methods: str, **options: Any) -> list[tuple[int, float]]:
    """(clips done, clips begun) of every report of the stage that has them."""
    found: list[Progress] = []
    place.generate(*methods, report=found.append, **options)
    return [(one.done, one.begun) for one in found if one.stage == "generate" and not one.note]


def test_the_machine_reaches_the_method_and_no_name_or_request_knows_it(place: Place) -> None:
    place.generate()
    assert (place.folder / "machine").read_text() == "auto auto"
    place.generate(runs="other", machine=Machine("cuda:1", "staged"))
    assert (place.folder / "machine").read_text() == "cuda:1 staged"
    assert run_files(place.folder / "runs") == run_files(place.folder / "other")


def test_steps_are_told_as_shares_of_the_clips_in_the_making_and_leave_no_trace(place: Place) -> None:
    place.generate(runs="calm")
    place.say(steps="1 2 4")
    assert told(place, limit=2) == [(0, 0), (0, 0.25), (0, 0.5), (0, 1), (1, 0), (1, 0.25), (1, 0.5), (1, 1), (2, 0)]
    place.generate()
    assert run_files(place.folder / "runs") == run_files(place.folder / "calm")


def test_what_is_done_never_shrinks_also_where_clips_are_made_side_by_side(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made | Step]:
        for done in (1, 2):
            for item, _ in wanted:
                yield Step(item.pair, done, 3)
        for item, path in wanted:
            shutil.copyfile(item.voice, path)
            yield Made(item.pair, {}, "odd" if item.pair == "c" else "")

    monkeypatch.setitem(METHODS, "ours", ours(answer))
    seen = told(place, "ours")
    sums = [done + begun for done, begun in seen]
    assert sums == sorted(sums)
    assert max(begun for _, begun in seen) == pytest.approx(10 / 3)
    assert seen[-1] == (5, 0)


class Clock:
    """Time that passes where it is told to, and a little at every look."""

    LOOK = 2.0**-20

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += self.LOOK
        return self.now


def seconds(place: Place, method: str) -> list[float]:
    lines = (place.folder / "runs" / method / "mini" / "costs.jsonl").read_text().splitlines()
    return [json.loads(line)["seconds"] for line in lines]


def test_seconds_add_up_where_clips_are_made_side_by_side(
    place: Place, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(generating, "time", clock)

    def answer(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made | Step]:
        clock.now += 64  # networks are loaded
        for item, path in wanted:
            clock.now += 8
            yield Step(item.pair, 1, 1)
            shutil.copyfile(item.voice, path)
        for item, _ in wanted:
            clock.now += 1
            yield Made(item.pair, {}, "odd" if item.pair == "c" else "")

    monkeypatch.setitem(METHODS, "ours", ours(answer))
    place.generate("ours")
    assert seconds(place, "ours") == [64 + 5 * 8 + 1, 1, 1, 1, 1]


def test_the_seconds_of_a_break_are_counted_once(place: Place, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(generating, "time", clock)
    (place.folder / "broken.py").write_text(
        "from avbench import generate\nfrom avbench.methods import Method, one_by_one\n"
        "def many(wanted, machine):\n    generate.time.now += 32\n    raise ValueError('no')\n    yield\n"
        "def broken() -> Method:\n    return Method(label='b', make=one_by_one(many), make_many=many)\n"
    )
    assert len(place.generate("broken:broken").failures) == 5
    assert seconds(place, "broken") == [32, 0, 0, 0, 0]


def test_a_bar_counts_what_is_begun_and_a_log_only_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drawn(terminal: bool) -> str:
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
        with Bars() as bars:
            bars(Progress("generate", 0, 4, 0))
            bars(Progress("generate", 0, 0, 0, note="a word"))
            for number in range(30):
                bars._bar.last_print_t -= 20  # as if so many seconds had passed
                bars(Progress("generate", number // 10, 4, 0, begun=number % 10 / 10))
        return capsys.readouterr().err

    shown = drawn(terminal=True)
    numbers = re.findall(r"(\S+)/4 ", shown)
    assert list(dict.fromkeys(map(float, numbers))) == [number / 10 for number in range(30)]
    assert max(map(len, numbers)) == 3
    logged = drawn(terminal=False)
    assert list(dict.fromkeys(re.findall(r"(\S+)/4 ", logged))) == ["0", "1", "2"]
    assert "a word …\n" in shown
    assert "a word …\n" in logged


# Plans -----------------------------------------------------------------------------------------------------------


def plans(place: Place, *methods: str, **options: Any) -> list[tuple[str, str]]:
    return planned(place.split, [f"{place.module}{method}" for method in methods], place.folder / "runs", **options)


def test_a_plan_is_told_of_every_method_and_nothing_is_made_prepared_or_asked_for(place: Place) -> None:
    shutil.rmtree(place.media)
    found = plans(place, ":priced@scale=2", ":method", ":single", limit=4, machine=Machine("cuda:7"))
    assert found == [
        ("priced@scale=2", "4 x 121\na on cuda:7"),
        ("method", "4 clips to be made; it does not say what they cost."),
        ("single", "4 clips to be made, without networks."),
    ]
    assert not (place.folder / "runs").exists()
    with pytest.raises(UsageError, match="limit = 0"):
        plans(place, ":single", limit=0)


def test_a_plan_counts_the_clips_that_would_be_made(place: Place) -> None:
    place.say(fails="b")
    place.generate(limit=3)
    place.say()
    (place.folder / "log").unlink()
    for overwrite, shard in (("never", None), ("failed", None), ("failed", Shard(2, 2)), ("all", None)):
        ((_, text),) = plans(place, ":method", overwrite=overwrite, shard=shard)
        (place.folder / "copy").mkdir()
        shutil.copytree(place.folder / "runs", place.folder / "copy", dirs_exist_ok=True)
        place.generate(runs="copy", overwrite=overwrite, shard=shard)
        made = len(place.lines("log")) if (place.folder / "log").exists() else 0
        assert text.startswith(f"{made} clip{'s' * (made != 1)} to be made")
        (place.folder / "log").unlink(missing_ok=True)
        shutil.rmtree(place.folder / "copy")


# Signatures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    """What clips are signed as; a signature is a word at their end."""
    found: list[Generation] = []

    def sign(clip: Path, signer: Signer, generation: Generation) -> dict[str, Any]:
        if b"bytes of d" in clip.read_bytes():
            raise MediaError(f"{clip}: carries a C2PA manifest already")
        with clip.open("ab") as file:
            file.write(b" signed")
        found.append(generation)
        return {"manifest": f"urn:{generation.seed}", "algorithm": signer.algorithm}

    def read_manifest(clip: Path) -> Manifest | None:
        if b"bytes of c" not in clip.read_bytes():
            return None
        return Manifest("urn:theirs", True, False, (), "Studio 3", "es256", "Studio", "", {})

    monkeypatch.setattr(generating, "sign", sign)
    monkeypatch.setattr(generating, "read_manifest", read_manifest)
    return found


SIGNER = Signer("es256", "CN=Signer", "CN=Root", "ab" * 32, b"", b"")


def test_synthetic_clips_are_signed_before_their_digest_is_taken(place: Place, signed: list[Generation]) -> None:
    (place.folder / "cascade.py").write_text(
        "import shutil\nfrom avbench.methods import Method\n"
        "def make(item, path):\n    shutil.copyfile(item.voice, path)\n    return {'kind': 'control', 'c2pa': 'none'}\n"
        "def cascade() -> Method:\n    return Method(label='c', make=make, kind='baseline')\n"
    )
    done = place.generate(":method@untrained=true", "cascade:cascade", "truth", limit=4, signer=SIGNER, overwrite="all")
    folder = place.folder / "runs" / "method@untrained=True" / "mini"
    assert {one.method.rpartition(":")[2]: (one.source, one.untrained) for one in signed} == {
        "method@untrained=True": ("algorithmicMedia", True),
        "cascade": ("compositeSynthetic", False),
    }
    for pair, seed in (("b", 1), ("a", 0)):
        sidecar = place.sidecar(pair, folder.parent.name)
        assert (folder / f"{pair}.mp4").read_bytes() == f"bytes of {pair}.wav signed".encode()
        assert sidecar.clip_sha256 == sha256(folder / f"{pair}.mp4")
        assert sidecar.provenance["c2pa"] == {"manifest": f"urn:{seed}", "algorithm": "es256"}
    digests = {one.request_sha256 for one in signed}
    assert len(digests) == len(signed) == 4
    assert hashlib.sha256(msgspec.json.encode(sidecar.request)).hexdigest() in digests
    kept = place.sidecar("c", folder.parent.name)  # signed by whoever made it
    assert kept.provenance["c2pa"] == {"kept": "urn:theirs", "claim_generator": "Studio 3", "valid": True}
    assert (folder / "c.mp4").read_bytes() == b"bytes of c.wav"
    assert kept.clip_sha256 == sha256(folder / "c.mp4")
    refused = [(method, pair) for method, pair, _ in done.failures]
    assert refused == [("method@untrained=True", "d"), ("cascade", "d")]  # and no more of it is kept
    assert done.failures[0][2] == "d.mp4: carries a C2PA manifest already"
    assert not (folder / "d.mp4").exists()
    assert place.sidecar("d", folder.parent.name).clip_sha256 == ""
    truth = place.sidecar("a", "truth")
    assert "c2pa" not in truth.provenance
    assert (place.folder / "runs" / "truth" / "mini" / "a.mp4").read_bytes() == b"bytes of a.mp4"


def test_clips_that_were_there_unsigned_are_told_of(place: Place, signed: list[Generation]) -> None:
    place.generate("truth", limit=1)
    place.generate(limit=2)
    told: list[Progress] = []
    place.generate("truth", ":method", limit=2, signer=SIGNER, report=told.append)
    assert [one.note for one in told if "manifest" in one.note] == [
        "clips without a manifest, as they were there already: 2; --overwrite all makes them anew"
    ]
    told.clear()
    place.generate("truth", ":method", limit=1, signer=SIGNER, overwrite="all", report=told.append)
    assert not [one for one in told if "manifest" in one.note]


# Consent ---------------------------------------------------------------------------------------------------------


def test_a_pair_that_states_no_consent_is_refused_before_anything_is_made(place: Place) -> None:
    with pytest.raises(UsageError, match=r"4 of 5 pairs.*first b.*--i-have-consent"):
        place.generate(":asking")
    assert not (place.folder / "runs").exists()
    place.generate(":asking", limit=1)
    assert place.sidecar("a", "asking").provenance["consent"] == "stated with the pair: agreed"


def test_consent_that_is_given_is_recorded_where_the_pair_states_none(place: Place) -> None:
    place.generate(":asking", consent=True)
    said = [place.sidecar(pair, "asking").provenance["consent"] for pair in "abc"]
    assert said == [
        "stated with the pair: agreed",
        "given with --i-have-consent; the pair says: None.",
        "given with --i-have-consent; the pair says nothing",
    ]


REFUSALS = (
    "no", "NO, she said so", "no consent", "Refused in writing", "The speaker refused", "withdrawn 2026-03-01", "false",
    "Consent: refused", "has not agreed", "did not agree", "doesn\N{RIGHT SINGLE QUOTATION MARK}t want it", "revoked", "no: a child",
    "cannot be used", "without permission", "none: she refused", "status: not given",
)  # fmt: skip
SILENCES = (
    "", "  ", "?", "none", "None.", "nobody", "unknown", "pending", "n/a", "Not stated by the authors.", "not yet",
    "not known to avbench; see MANIFEST.csv", "consent: pending", "no information", "note 4", "yes, withdrawn later", "c",
)  # fmt: skip
STATEMENTS = (
    "agreed", "Yes", "signed release, 2026-02-03", "consent given in writing", "was agreed", "she agreed: form 12", "licensed",
)  # fmt: skip


def stating(place: Place, said: str, method: str, **options: Any) -> str:
    """What is recorded where the one pair states that; the refusal where it is not made."""
    split = load_split(str(split_files(place.folder / "one" / "mini", [pair_json("a", consent=said)])))
    where = place.folder / "runs"
    try:
        generate(split, [method], where, data=place.folder / "data", workers=1, **options)
    except UsageError as error:
        assert not where.exists()
        return str(error)
    provenance = json.loads(next(where.rglob("a.json")).read_text())["provenance"]
    shutil.rmtree(where)
    return str(provenance["consent"])


@pytest.fixture
def kinds(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that need consent: of a model, untrained, and a baseline."""

    def make(item: Item, path: Path) -> None:
        shutil.copyfile(item.voice, path)

    monkeypatch.setitem(METHODS, "ours", lambda: Method(label="o", make=make, consent=True))
    monkeypatch.setitem(METHODS, "untrained", lambda: Method(label="u", make=make, consent=True, untrained=True))
    monkeypatch.setitem(METHODS, "rules", lambda: Method(label="r", make=make, consent=True, kind="baseline"))


@pytest.mark.parametrize("said", REFUSALS)
def test_a_refusal_stands_whatever_is_given(place: Place, kinds: None, said: str) -> None:
    for method in ("ours", "untrained", "rules"):
        for consent in (False, True):
            told = stating(place, said, method, consent=consent)
            assert "1 of 1 pairs refuses consent (first a: " in told
            assert "--i-have-consent does not overrule it" in told


@pytest.mark.parametrize("said", SILENCES)
def test_what_says_nothing_takes_the_flag_and_is_recorded_beside_it(place: Place, kinds: None, said: str) -> None:
    text = " ".join(said.split())
    for method in ("ours", "untrained", "rules"):
        assert "1 of 1 pairs does not say that they agreed" in stating(place, said, method)
        recorded = stating(place, said, method, consent=True)
        assert recorded == f"given with --i-have-consent; the pair says{f': {text}' if text else ' nothing'}"


@pytest.mark.parametrize("said", STATEMENTS)
def test_what_is_stated_is_recorded_as_stated_also_with_the_flag(place: Place, kinds: None, said: str) -> None:
    for consent in (False, True):
        assert stating(place, said, "ours", consent=consent) == f"stated with the pair: {said}"


@pytest.mark.parametrize("said", ["none: public-domain portrait", "None. Made from nothing.", "Nobody: a drawing"])
def test_where_nobody_was_asked_for_a_reason_a_model_takes_the_flag(place: Place, kinds: None, said: str) -> None:
    assert "1 of 1 pairs does not say" in stating(place, said, "ours")
    flagged = f"given with --i-have-consent; the pair says: {said}"
    assert stating(place, said, "ours", consent=True) == stating(place, said, "rules", consent=True) == flagged
    for method in ("untrained", "rules"):
        assert stating(place, said, method) == f"not asked for an untrained method or a baseline; the pair says: {said}"


def test_pairs_of_the_demo_are_refused_by_no_method_that_it_runs_and_by_every_trained_one() -> None:
    pairs = load_split("demo").pairs
    assert {generating._stance(pair) for pair in pairs} == {"nobody"}
    assert all(generating._recorded(pair, resolve("classical").method, False) for pair in pairs)
    assert not any(generating._recorded(pair, resolve("idlora").method, False) for pair in pairs)
    assert resolve("classical").method.consent


# Shards ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12))
def test_shards_part_the_pairs(pairs: int, of: int) -> None:
    parts = [
        [index for index in range(pairs) if parse_shard(f"{number}/{of}").has(index)] for number in range(1, of + 1)
    ]
    assert sorted(index for part in parts for index in part) == list(range(pairs))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1/0", "a/b", "1", "-1/2", "1/2/3", "1 /2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N"):
        parse_shard(text)


@pytest.mark.parametrize("method", [":method", ":single"])
def test_shards_together_leave_the_files_of_an_undivided_run(place: Place, method: str) -> None:
    place.generate(method)
    for number in (2, 3, 1):
        done = place.generate(method, runs="parts", shard=Shard(number, 3))
        assert (done.made, done.kept, done.failures) == (2 if number < 3 else 1, 0, [])
    assert run_files(place.folder / "parts") == run_files(place.folder / "runs")
    assert place.generate(method, runs="parts") == Generated(0, 5, [])


def test_a_shard_of_the_first_pairs_marks_the_run_as_they_do(place: Place) -> None:
    assert place.generate(limit=3, shard=Shard(1, 2)) == Generated(2, 0, [])
    assert place.clips() == ["a", "c"]
    assert read_run(place.folder / "runs" / "method" / "mini").limited == 3


def test_a_shard_leaves_what_another_is_at_alone_and_clears_what_its_own_kill_left(place: Place) -> None:
    folder = place.folder / "runs" / "method" / "mini"
    for name in (".part-1-of-2-77", ".part-2-of-2-77"):
        (folder / name).mkdir(parents=True)
    (folder / ".run.json.999999999.part").touch()
    place.generate(shard=Shard(1, 2))
    assert sorted(path.name for path in folder.glob(".*part*")) == [".part-2-of-2-77", ".run.json.999999999.part"]
    place.generate()
    assert not list(folder.glob(".*part*"))


def held_by_another(folder: Path, first: Shard | None, second: Shard | None) -> bool:
    """Whether `second` has to wait while `first` is at the folder; it goes on afterwards in any case."""
    waited, entered = threading.Event(), threading.Event()

    def enter() -> None:
        with lock_shard(folder, "generate", second, lambda line: waited.set()):
            entered.set()

    with lock_shard(folder, "generate", first):
        thread = threading.Thread(target=enter)
        thread.start()
        while not (waited.is_set() or entered.is_set()):
            time.sleep(0.01)
        waits = not entered.is_set()
    thread.join(timeout=30)
    assert entered.is_set()
    return waits


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (Shard(1, 2), Shard(2, 2), False),
        (Shard(1, 2), Shard(1, 2), True),
        (Shard(1, 2), Shard(2, 3), True),
        (Shard(1, 2), None, True),
        (None, Shard(1, 2), True),
        (None, None, True),
    ],
)
def test_only_shards_of_one_division_share_a_folder(
    tmp_path: Path, first: Shard | None, second: Shard | None, waits: bool
) -> None:
    assert held_by_another(tmp_path, first, second) == waits


# Sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_names_every_method_once_for_each_value() -> None:
    assert swept(["idlora", "m:x@seed=7"], ["scale=2,4,2"]) == [
        "idlora@scale=2", "idlora@scale=4", "m:x@scale=2,seed=7", "m:x@scale=4,seed=7",
    ]  # fmt: skip
    assert swept(["x"], ["a=1,2", "b=3,4"]) == ["x@a=1,b=3", "x@a=1,b=4", "x@a=2,b=3", "x@a=2,b=4"]
    assert swept(["x"], []) == ["x"]


@pytest.mark.parametrize("sweep", ["", "a", "a=", "a=1,,2", "=1"])
def test_a_sweep_of_another_form_is_refused(sweep: str) -> None:
    with pytest.raises(UsageError, match="KEY=V1,V2"):
        swept(["x"], [sweep])


def test_an_option_is_swept_once_and_not_set_besides() -> None:
    with pytest.raises(UsageError, match="twice"):
        swept(["x"], ["a=1", "a=2"])
    with pytest.raises(UsageError, match="a is set and swept"):
        swept(["x@a=1"], ["a=1,2"])


def test_a_sweep_leaves_a_folder_for_each_value(place: Place) -> None:
    made = place.generate(*swept([f"{place.module}:method"], ["scale=3,1,2"]), ":method", limit=1)
    assert made.made == 3
    folders = ("method", "method@scale=2", "method@scale=3")  # 1 is the default
    assert [read_run(place.folder / "runs" / name / "mini").order for name in folders] == [1, 2, 3]


def test_an_option_for_every_method_is_part_of_each_name(place: Place) -> None:
    assert with_option(["idlora", "idlora-2.3@steps=2"], "model", "tiny") == [
        "idlora@model=tiny", "idlora-2.3@model=tiny,steps=2",
    ]  # fmt: skip
    assert with_option([f"{place.module}:method"], "scale", "2") == [f"{place.module}:method@scale=2"]
    with pytest.raises(UsageError, match=r"model=tiny for every method: truth has no option model"):
        with_option(["idlora", "truth"], "model", "tiny")
    with pytest.raises(UsageError, match="model is set there, and as model=tiny for all"):
        with_option(["idlora@model=released"], "model", "tiny")
    with pytest.raises(UsageError, match="Did you mean truth"):
        with_option(["thruth"], "model", "tiny")


# From the command line -------------------------------------------------------------------------------------------

KILLED = """
import os
import time

import numpy as np

from avbench.clip import read_audio, read_image, write_clip
from avbench.methods import Made, Method, Step, one_by_one


def many(wanted, machine):
    for item, path in wanted:
        yield Step(item.pair, 1, 2)
        with open(os.environ["BEGUN"], "a") as log:
            log.write(item.pair + "\\n")
        face = read_image(item.face)
        write_clip(path, np.broadcast_to(face, (item.frames, *face.shape)), read_audio(item.voice))
        yield Made(item.pair, {"seed": item.seed})


def method() -> Method:
    return Method(label="many", make=one_by_one(many), make_many=many, licences={"net": "MIT"}, notes=("a word",))
"""


def test_the_command_takes_sweep_shard_and_consent_and_tells_licences(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    monkeypatch.setenv("BEGUN", str(tmp_path / "log"))
    done = avbench(
        "generate", "--method", "killed:method", "--sweep", "seed=1,2", "--shard", "2/8", "--i-have-consent",
        "--runs", "runs", home=demo.home, folder=tmp_path,
    )  # fmt: skip
    assert len(list((tmp_path / "runs").rglob("*.mp4"))) == 4
    assert done.stderr.count("net: MIT") == 1
    assert "note: method@seed=1: a word" in done.stderr
    assert "generate: 4 made, 0 there already, 0 failed" in done.stderr


def test_the_command_plans_and_says_what_is_odd_before_it_begins(place: Place) -> None:
    arguments = ["generate", "--split", place.folder / "mini", "--method", f"{place.module}:priced"]
    home = place.folder / "home"
    done = avbench(
        *arguments, "--method", "truth", "--plan", "--limit", 2, "--sweep", "scale=1,2", "--device", "cuda:7",
        home=home, expect=2,
    )  # fmt: skip
    assert "unknown option of truth 'scale'" in done.stderr
    done = avbench(*arguments, "--plan", "--limit", 2, "--sweep", "scale=1,2", "--device", "cuda:7", home=home)
    assert done.stdout == "".join(f"{name}\n2 x 121\na on cuda:7\n\n" for name in ("priced", "priced@scale=2"))
    done = avbench("generate", "--split", place.folder / "mini", "--method", "truth", "--plan", home=home)
    assert done.stdout == "truth: 5 clips to be made, without networks.\n"
    done = avbench(*arguments, "--c2pa-certificate", "c.pem", home=home, expect=2)
    assert "error: --c2pa-certificate without --c2pa-key; expected both, or neither." in done.stderr
    done = avbench(*arguments, "--c2pa-certificate", "c.pem", "--c2pa-key", "k.pem", home=home, expect=2)
    assert "c.pem: cannot be read" in done.stderr
    done = avbench(*arguments, "--model", "tiny", home=home, expect=2)
    assert f"model=tiny for every method: {place.module}:priced has no option model" in done.stderr
    assert not (place.folder / "runs").exists()


def test_the_command_knows_every_way_of_sharing_memory() -> None:
    (memory,) = [parameter for parameter in commands.generate.params if parameter.name == "memory"]
    assert memory.default == Machine().memory
    assert tuple(getattr(memory.type, "choices", ())) == get_args(Memory)


@pytest.mark.slow
def test_kills_lose_at_most_the_clip_in_the_making(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    arguments = ["generate", "--method", "killed:method", "--runs"]
    monkeypatch.setenv("BEGUN", str(tmp_path / "calm.log"))
    avbench(*arguments, tmp_path / "calm", home=demo.home)
    monkeypatch.setenv("BEGUN", str(tmp_path / "killed.log"))
    killed, chance, kills = tmp_path / "killed", random.Random(3), 8

    def clips() -> int:
        return len(list(killed.rglob("*/demo/*.mp4")))

    for _ in range(kills):
        before = clips()
        process = subprocess.Popen(
            [*COMMAND, *arguments, str(killed)], env=environment(demo.home), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while clips() == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        assert process.poll() is None, "it ended before the kill: give it more to do"
        if chance.random() < 0.5:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    avbench(*arguments, killed, home=demo.home)
    assert run_files(killed) == run_files(tmp_path / "calm")
    begun = (tmp_path / "killed.log").read_text().splitlines()
    assert len(begun) - len((tmp_path / "calm.log").read_text().splitlines()) <= kills
