"""Methods that make many clips in one go; shards, sweeps, consent: what is made, kept, recorded, and by whom."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench import generate as generating
from avbench.errors import FolderError, MediaError, UsageError, WeightsError, WorkerDied
from avbench.generate import Generated, generate
from avbench.methods import METHODS, Item, Made, Method, Wanted, one_by_one, resolve, swept
from avbench.run import Shard, Sidecar, lock_shard, parse_shard, read_run, read_sidecar
from avbench.split import Prompt, Split, load_split

from .line import COMMAND, Demo, avbench, environment, run_files
from .scored import pair_json, split_files

MODULE = """
import os
import shutil
from pathlib import Path

from avbench.errors import MediaError
from avbench.methods import Made, Method, one_by_one

HERE = Path(__file__).parent


def said(word):
    return (HERE / word).read_text() if (HERE / word).exists() else ""


def many(wanted):
    with open(HERE / "begun", "a") as log:
        log.write(f"{os.getpid()}\\n")
    for item, path in reversed(wanted):
        with open(HERE / "log", "a") as log:
            log.write(f"{item.pair}\\n")
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


def unready():
    raise RuntimeError("not ready")


def waiting() -> Method:
    return Method(label="waiting", make=one_by_one(many), make_many=many, ready=unready)
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
        for word in ("dies", "raises", "forgotten", "fails", "unwritten", "misnamed"):
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
    ],
)
def test_somebodys_method_that_breaks_off_leaves_a_reason_for_every_pair_it_owes(
    place: Place, said: dict[str, str], reason: str
) -> None:
    place.say(**said)
    done = place.generate()
    owed = {"raises": list("abc"), "misnamed": list("abcde"), "forgotten": ["c"]}[next(iter(said))]
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
    with pytest.raises(RuntimeError, match="not ready"):
        place.generate(":waiting")
    assert not (place.folder / "runs").exists()
    for field, value in (("make_many", 3), ("ready", 3), ("consent", 1), ("licences", {"net": 1}), ("notes", "word")):
        (place.folder / f"odd_{field}.py").write_text(
            "from avbench.methods import Method\n"
            f"def odd() -> Method:\n    return Method(label='odd', make=print, {field}={value!r})\n"
        )
        with pytest.raises(UsageError, match=field):
            resolve(f"odd_{field}:odd")


def ours(answer: Callable[[Sequence[Wanted]], Iterator[Made]], **fields: Any) -> Callable[..., Method]:
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
    def answer(wanted: Sequence[Wanted]) -> Iterator[Made]:
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
        f"def many(wanted):\n    raise {name}{error.args!r}\n    yield\n"
        "def heavy() -> Method:\n    return Method(label='h', make=one_by_one(many), make_many=many)\n"
    )
    with pytest.raises(raised, match="kept"):
        generate(place.split, ["heavy:heavy"], place.folder / "runs", data=place.folder / "data", workers=1)
    assert not list((place.folder / "runs").rglob("a.json"))


def test_the_make_of_such_a_method_makes_one_clip_or_raises_its_reason(tmp_path: Path) -> None:
    prompt = Prompt(visual="", speech="", manner="", environment="")
    item = Item("a", "ann", prompt, "", "en", tmp_path, tmp_path, seed=0, frames=5, width=8, height=8)
    assert one_by_one(lambda wanted: iter([Made("a", {"k": 1})]))(item, tmp_path) == {"k": 1}
    with pytest.raises(MediaError, match="too quiet"):
        one_by_one(lambda wanted: iter([Made("a", {}, "too quiet")]))(item, tmp_path)
    with pytest.raises(TypeError, match="expected 'a' once"):
        one_by_one(lambda wanted: iter([]))(item, tmp_path)


# Consent ---------------------------------------------------------------------------------------------------------


def test_a_pair_that_states_no_consent_is_refused_before_anything_is_made(place: Place) -> None:
    with pytest.raises(UsageError, match=r"2 of 5 pairs.*first b.*--i-have-consent"):
        place.generate(":asking")
    assert not (place.folder / "runs").exists()
    place.generate(":asking", limit=1)
    assert place.sidecar("a", "asking").provenance["consent"] == "stated with the pair: agreed"


def test_consent_that_is_given_is_recorded_where_the_pair_states_none(place: Place) -> None:
    place.generate(":asking", consent=True)
    said = [place.sidecar(pair, "asking").provenance["consent"] for pair in "abc"]
    assert said == ["stated with the pair: agreed", *["given with --i-have-consent"] * 2]


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
    made = place.generate(*swept([f"{place.module}:method"], ["scale=3,1"]), limit=1)
    assert made.made == 2
    assert [read_run(place.folder / "runs" / f"method@scale={n}" / "mini").order for n in (1, 3)] == [1, 3]


# From the command line -------------------------------------------------------------------------------------------

KILLED = """
import os
import time

import numpy as np

from avbench.clip import read_audio, read_image, write_clip
from avbench.methods import Made, Method, one_by_one


def many(wanted):
    for item, path in wanted:
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
