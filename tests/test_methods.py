"""Methods: their names, their options, somebody else's, and what each control does to a clip."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clip import FRAME_RATE, Sound, read_audio, read_video, stream_sha256, write_audio, write_image
from avbench.errors import FolderError, Incomparable, MediaError, SplitError, UsageError, WorkerDied
from avbench.generate import Generated, generate
from avbench.home import sha256
from avbench.methods import DEMO, METHODS, Item, resolve
from avbench.run import Overwrite, Request, Sidecar, read_run, read_sidecar
from avbench.split import Prompt, Split, load_split, media_path

from .line import Demo, avbench
from .scored import make_split

SOMEBODYS = """
import shutil

from avbench.methods import Method


def plain(item, path):
    if item.truth is not None or item.stranger is not None:
        raise RuntimeError("a model was shown the real clip")
    if item.pair == FAILS:
        raise ValueError("no such luck")
    shutil.copyfile(item.voice, path)
    return {"seed": item.seed, "words": item.transcript}


FAILS = None


def strong(strength: float, mode: str = "soft") -> Method:
    return Method(label=f"strong {strength:g} {mode}", make=plain, kind="baseline", order=7)


fixed = Method(label="fixed", make=plain)
number = 3
"""


@pytest.fixture
def somebodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of somebody's own, of a name of its own, in the working folder."""
    name = f"somebodys_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SOMEBODYS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


@given(st.integers(-75, 75).filter(bool))
def test_an_option_is_part_of_the_name_in_one_spelling(frames: int) -> None:
    assert resolve(f"shifted@frames={frames}").name == f"shifted@frames={frames}"
    assert resolve(f"shifted@frames={frames}").method.label == f"shifted {frames:+d} frames"


def test_a_seed_is_an_option_of_every_method() -> None:
    assert (resolve("truth@seed=7").name, resolve("truth@seed=7").seed) == ("truth@seed=7", 7)
    assert (resolve("truth@seed=0").name, resolve("truth").seed) == ("truth", 0)
    assert resolve("truth@seed=7").method.label == "truth, seed 7"
    assert resolve("truth@seed=0").method.label == "truth"


def test_an_option_at_its_default_is_no_part_of_the_name(somebodys: str) -> None:
    assert resolve("classical@voice=matched,mouth=frozen").name == "classical@mouth=frozen"
    assert resolve("classical@mouth=moving,seed=3").name == "classical@seed=3"
    assert [resolve(text).name for text in DEMO] == list(DEMO)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thruth", "Did you mean truth"),
        ("shifted", "option 'frames' is missing"),
        ("shifted@frame=3", "Did you mean frames"),
        ("shifted@frames=x", "frames=x"),
        ("shifted@frames=0", "not 0"),
        ("shifted@frames=1000", "75"),
        ("shifted@frames=2,frames=3", "given twice"),
        ("../truth", "expected NAME"),
        ("no_such_module_here:f", "no_such_module_here"),
        ("json:nothing", "json has no 'nothing'"),
        ("json:truth", "bundled"),
    ],
)
def test_what_is_wrong_with_a_method_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(text)


def test_somebodys_function_factory_and_record_are_methods(somebodys: str) -> None:
    assert resolve(f"{somebodys}:plain").name == "plain"
    strong = resolve(f"{somebodys}:strong@strength=0.5,mode=hard")
    assert (strong.name, strong.method.label, strong.method.order) == (
        "strong@mode=hard,strength=0.5",
        "strong 0.5 hard",
        7,
    )
    assert resolve(f"{somebodys}:fixed").method.kind == "model"
    with pytest.raises(UsageError, match="number"):
        resolve(f"{somebodys}:number")


def test_every_bundled_control_says_what_it_is() -> None:
    for name in METHODS:
        assert METHODS[name].__doc__


def test_somebodys_model_sees_no_real_clip_and_its_failures_are_recorded(
    demo: Demo, somebodys: str, tmp_path: Path
) -> None:
    split = load_split("demo")
    module = tmp_path / f"{somebodys}.py"
    module.write_text(module.read_text().replace("FAILS = None", f"FAILS = {split.pairs[1].id!r}"))
    runs = tmp_path / "runs"
    done = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1)
    folder = runs / "plain@seed=5" / "demo"
    assert (done.made, done.kept) == (2, 0)
    assert done.failures == [("plain@seed=5", split.pairs[1].id, "ValueError: no such luck")]
    assert read_run(folder).limited == 3
    sidecar = read_sidecar(folder / f"{split.pairs[2].id}.json")
    assert sidecar is not None
    assert sidecar.provenance["seed"] == sidecar.request.seed == 7
    assert not (folder / f"{split.pairs[1].id}.mp4").exists()
    again = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1)
    assert (again.made, again.kept, len(again.failures)) == (0, 2, 1)
    module.write_text(module.read_text().replace(f"FAILS = {split.pairs[1].id!r}", "FAILS = None"))
    mended = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1, overwrite="failed")
    assert (mended.made, mended.kept, mended.failures) == (1, 2, [])


def test_clips_of_another_request_are_not_taken_for_done(demo: Demo, tmp_path: Path) -> None:
    split = load_split("demo")
    generate(split, ["truth"], tmp_path, limit=1, workers=1)
    sidecar = tmp_path / "truth" / "demo" / f"{split.pairs[0].id}.json"
    sidecar.write_text(sidecar.read_text().replace(split.label, "demo@00000000"))
    with pytest.raises(Incomparable, match=f"demo@00000000.*{split.label}"):
        generate(split, ["truth"], tmp_path, limit=1, workers=1)
    done = generate(split, ["truth"], tmp_path, limit=1, workers=1, overwrite="all")
    assert (done.made, done.kept) == (1, 0)


def test_somebodys_clips_are_not_made_again(demo: Demo, tmp_path: Path) -> None:
    split = load_split("demo")
    clip = tmp_path / "truth" / "demo" / f"{split.pairs[0].id}.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"mine")
    done = generate(split, ["truth"], tmp_path, limit=1, workers=1)
    assert (done.made, done.kept) == (0, 1)
    assert clip.read_bytes() == b"mine"


def clip_of(demo: Demo, method: str, number: int = 0) -> Path:
    return demo.runs / method / "demo" / f"{load_split('demo').pairs[number].id}.mp4"


def test_the_truth_is_the_target_byte_for_byte(demo: Demo) -> None:
    split = load_split("demo")
    assert sha256(clip_of(demo, "truth")) == sha256(media_path(split, split.pairs[0], "target"))


def test_controls_leave_the_other_stream_alone(demo: Demo) -> None:
    truth = clip_of(demo, "truth")
    for method in ("replay", "shifted@frames=2"):
        assert stream_sha256(clip_of(demo, method), "video") == stream_sha256(truth, "video")
        assert stream_sha256(clip_of(demo, method), "audio") != stream_sha256(truth, "audio")
    assert stream_sha256(clip_of(demo, "still"), "audio") == stream_sha256(truth, "audio")


def test_a_still_shows_the_first_frame_and_nothing_else(demo: Demo) -> None:
    frames = read_video(clip_of(demo, "still")).astype(np.int16)
    first = read_video(clip_of(demo, "truth"))[0].astype(np.int16)
    assert frames.shape[0] == 121
    assert np.abs(frames - first).mean() < 2.0
    assert np.abs(np.diff(frames, axis=0)).max() <= 12  # the coder settling


def test_a_still_of_a_clip_of_odd_size_loses_a_row_and_a_column(tmp_path: Path) -> None:
    real = tmp_path / "odd.mp4"
    with av.open(str(real), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 65, 63, "yuv444p"
        sound: Any = container.add_stream("aac", rate=48000, layout="mono")
        packets = []
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((63, 65, 3), 90, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            packets += stream.encode(picture)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = 48000, 0, Fraction(1, 48000)
        container.mux([*packets, *stream.encode(None), *sound.encode(heard), *sound.encode(None)])
    prompt = Prompt(visual="", speech="", manner="", environment="")
    item = Item("a", "ann", prompt, "", "en", real, real, seed=0, frames=5, width=65, height=63, truth=real)
    resolve("still").method.make(item, tmp_path / "still.mp4")
    assert read_video(tmp_path / "still.mp4").shape == (5, 62, 64, 3)


@pytest.mark.parametrize("frames", [8, -8])
def test_a_shift_is_exact_to_the_sample_but_for_the_codec(demo: Demo, tmp_path: Path, frames: int) -> None:
    split = load_split("demo")
    generate(split, [f"shifted@frames={frames}"], tmp_path, limit=1, workers=1)
    moved = read_audio(tmp_path / f"shifted@frames={frames}" / "demo" / f"{split.pairs[0].id}.mp4")
    sound = read_audio(clip_of(demo, "truth"))
    late = frames * sound.rate // FRAME_RATE
    kept = slice(max(0, -late), len(sound.samples) - max(0, late))
    there = slice(max(0, late), len(sound.samples) + min(0, late))
    correlation = np.corrcoef(sound.samples[kept][2000:-2000], moved.samples[there][2000:-2000])[0, 1]
    assert correlation > 0.98
    gap = moved.samples[: late - 1024] if late > 0 else moved.samples[late + 1024 :]
    assert np.abs(gap).max() < 0.02


def test_a_stranger_differs_in_face_and_voice(demo: Demo) -> None:
    split = load_split("demo")
    by_digest = {sha256(media_path(split, pair, "target")): pair for pair in split.pairs}
    for number, pair in enumerate(split.pairs):
        other = by_digest[sha256(clip_of(demo, "stranger", number))]
        assert other.speaker != pair.speaker
        assert split.speaker(other.speaker).face != split.speaker(pair.speaker).face
        assert split.speaker(other.speaker).voice != split.speaker(pair.speaker).voice


def test_a_method_in_the_working_folder_is_found_by_the_command(demo: Demo, somebodys: str, tmp_path: Path) -> None:
    avbench(
        "generate", "--method", f"{somebodys}:fixed", "--runs", "mine", "--limit", 1, home=demo.home, folder=tmp_path
    )
    assert len(list((tmp_path / "mine" / "fixed" / "demo").glob("*.mp4"))) == 1


# Without the demo: media of a few bytes, and methods that copy or fail ---------------------------------------------

TROUBLE = """
import errno
import os
import shutil
from pathlib import Path

import numpy as np

from avbench.clip import write_clip
from avbench.methods import Method


def copied(item, out):
    shutil.copyfile(item.voice, out)


def switched(item, out):
    if Path(__file__).with_name("switch").exists():
        raise ValueError("switched off")
    shutil.copyfile(item.voice, out)


def missing(item, out):
    open(out.with_name("nothing.bin"))


def odd(item, out):
    write_clip(out, np.zeros((2, 31, 33, 3), np.uint8), None)


def leaves(item, out):
    raise SystemExit(3)


def piped(item, out):
    raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def taken(item, out):
    Path(__file__).with_name("taken").mkdir(exist_ok=True)
    Path(__file__).with_name("taken").mkdir()


def answers(item, out):
    shutil.copyfile(item.voice, out)
    return 3


def counts(item, out):
    shutil.copyfile(item.voice, out)
    return {"mean": np.float32(0.5)}


def garbled(item, out):
    raise ValueError("caf\\udce9")


def tells(item, out):
    raise ValueError(f"{out} in {out.parent} from {item.voice}, {out.with_name(f'.{out.name}.{os.getpid()}.part')}")


def dies(item, out):
    if item.pair != "b":
        shutil.copyfile(item.voice, out)
        return {"where": str(out), "heard": str(item.voice)}
    os._exit(9)


def full(item, out):
    raise OSError(errno.ENOSPC, "No space left on device")


def heavy(item, out):
    raise MemoryError


def moves(item, out):
    os.chdir("/")
    shutil.copyfile(item.voice, out)


def two(strength: float, mode: str) -> Method:
    return Method(label=f"two {strength:g} {mode}", make=copied)


def raises(strength: float = 1.0):
    raise ValueError("not like\\nthis")


def leaving():
    raise SystemExit(1)


def text():
    return "a method"


def nameless():
    return Method(label=3, make=copied)


def lost(strength: "Nowhere" = 1) -> Method:
    return Method(label="lost", make=copied)


def free(strength: str) -> Method:
    return Method(label="free", make=copied)
"""


class Place:
    """A split of two speakers with media of a few bytes, and a module of troublesome methods beside it."""

    def __init__(self, folder: Path, module: str) -> None:
        self.folder = folder
        self.module = module
        self.split: Split = make_split(folder, {"a": "ann", "b": "bob"})
        self.media = folder / "data" / "mini"
        self.media.mkdir(parents=True)
        for pair in self.split.pairs:
            for medium in (pair.voice, pair.face, pair.target):
                (self.media / medium).write_bytes(f"bytes of {medium}".encode())

    def generate(self, *methods: str, overwrite: Overwrite = "never", workers: int = 1) -> Generated:
        """Runs it; a name that starts with ':' is of the module."""
        named = [f"{self.module}{method}" if method.startswith(":") else method for method in methods]
        data = self.folder / "data"
        return generate(self.split, named, self.folder / "runs", data=data, overwrite=overwrite, workers=workers)

    def file(self, method: str, name: str) -> Path:
        return self.folder / "runs" / method / "mini" / name

    def sidecar(self, method: str, pair: str) -> Sidecar:
        sidecar = read_sidecar(self.file(method, f"{pair}.json"))
        assert sidecar is not None
        return sidecar


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Place:
    module = f"trouble_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(TROUBLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, module)


@pytest.mark.parametrize("changed", ["a.mp4", "b.mp4"])
def test_a_control_knows_the_real_clips_that_it_is_made_of(place: Place, changed: str) -> None:
    assert place.generate("stranger").made == 2
    (place.media / changed).write_bytes(b"another take")
    with pytest.raises(Incomparable, match="target_sha256"):
        place.generate("stranger")


def test_a_control_is_made_once_its_target_is_there(place: Place) -> None:
    (place.media / "a.mp4").rename(place.media / "elsewhere.mp4")
    assert {failure[1] for failure in place.generate("truth").failures} == {"a", "b"}  # each is the other's stranger
    (place.media / "elsewhere.mp4").rename(place.media / "a.mp4")
    assert place.generate("truth") == Generated(2, 0, [])


def test_a_model_does_not_depend_on_the_targets(place: Place) -> None:
    place.generate(":copied")
    (place.media / "a.mp4").unlink()
    assert place.generate(":copied") == Generated(0, 2, [])
    assert place.sidecar("copied", "a").request.target_sha256 == ""


def test_sidecars_written_before_targets_were_recorded_can_be_read(place: Place) -> None:
    place.generate(":copied")
    path = place.file("copied", "a.json")
    assert "target_sha256" not in json.loads(path.read_text())["request"]
    assert msgspec.json.decode(path.read_bytes(), type=Sidecar).request == place.sidecar("copied", "a").request
    assert Request("m", "s", "p", 0, "v", "f").target_sha256 == ""


def test_a_method_that_is_asked_for_twice_is_made_once(place: Place) -> None:
    assert place.generate("truth", "truth@seed=0", "truth") == Generated(2, 0, [])
    assert len(place.file("truth", "costs.jsonl").read_text().splitlines()) == 2


def test_two_methods_of_one_folder_are_refused(place: Place) -> None:
    shutil.copyfile(f"{place.module}.py", f"{place.module}_b.py")
    with pytest.raises(UsageError, match="would both write to"):
        place.generate(":copied", f"{place.module}_b:copied")
    assert not (place.folder / "runs").exists()


def test_clips_of_another_module_are_not_taken_for_done(place: Place) -> None:
    place.generate(":copied")
    shutil.copyfile(f"{place.module}.py", f"{place.module}_b.py")
    with pytest.raises(Incomparable, match=rf"method '{place.module}:copied', and now it is '{place.module}_b:copied'"):
        place.generate(f"{place.module}_b:copied")


def test_a_remake_that_fails_takes_our_clip_and_leaves_somebodys(place: Place) -> None:
    place.generate(":switched")
    record = place.file("switched", "b.json")
    record.unlink()  # now b is somebody's
    (place.folder / "switch").touch()
    done = place.generate(":switched", overwrite="all")
    assert done.failures == [("switched", pair, "ValueError: switched off") for pair in "ab"]
    assert not place.file("switched", "a.mp4").exists()
    assert place.sidecar("switched", "a").failure
    assert place.file("switched", "b.mp4").read_bytes() == b"bytes of b.wav"
    assert not record.exists()


def test_a_good_clip_stays_until_the_new_outcome_is_known(place: Place) -> None:
    place.generate(":switched")
    module = place.folder / f"{place.module}.py"
    module.write_text(TROUBLE.replace('raise ValueError("switched off")', "raise MemoryError"))
    (place.folder / "switch").touch()
    with pytest.raises(WorkerDied, match="out of memory"):
        place.generate(":switched", overwrite="all")
    assert place.generate(":switched") == Generated(0, 2, [])


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (":missing", "FileNotFoundError: [Errno 2] No such file or directory: 'nothing.bin'"),
        (":odd", "33"),
        (":leaves", "SystemExit: 3"),
        (":piped", "BrokenPipeError: [Errno 32] Broken pipe"),
        (":taken", "FileExistsError"),
        (":answers", "make returned int; expected None or a mapping"),
        (":counts", "cannot be written as JSON"),
        (":garbled", "ValueError: caf?"),
        (":tells", "ValueError: a.mp4 in .part from a.wav, a.mp4"),
    ],
)
def test_what_somebodys_method_does_to_a_pair_is_recorded_with_it(place: Place, method: str, says: str) -> None:
    done = place.generate(method)
    assert (done.made, [failure[1] for failure in done.failures]) == (0, ["a", "b"])
    assert says in done.failures[0][2]
    assert str(place.folder) not in done.failures[0][2] or method == ":taken"
    assert place.sidecar(method[1:], "a").failure == done.failures[0][2]
    assert not list((place.folder / "runs").rglob("*.mp4"))
    assert not list((place.folder / "runs").rglob(".part*"))


def test_a_method_that_kills_its_worker_fails_on_that_pair_alone(place: Place) -> None:
    done = place.generate(":dies", "truth", workers=2)
    assert (done.made, done.failures) == (3, [("dies", "b", "the worker process died while making this clip")])
    assert place.sidecar("dies", "a").provenance["where"] == "a.mp4"
    assert place.sidecar("dies", "a").provenance["heard"] == "a.wav"


def test_a_bundled_method_that_kills_its_worker_stops_the_run(place: Place) -> None:
    from avbench import generate as module

    job = module._Job("truth", place.folder, None, None, place.folder, place.folder)  # type: ignore[arg-type]
    with pytest.raises(WorkerDied):
        module._died(job)


@pytest.mark.parametrize(("method", "error"), [(":full", FolderError), (":heavy", WorkerDied)])
def test_a_fault_of_the_machine_stops_the_run(place: Place, method: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="the disk is full" if error is FolderError else "out of memory"):
        place.generate(method)
    assert not place.file(method[1:], "a.json").exists()


def test_relative_folders_serve_a_method_that_moves_away(place: Place) -> None:
    done = generate(place.split, [f"{place.module}:moves"], Path("runs"), data=Path("data"), workers=1)
    assert done == Generated(2, 0, [])


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_writes_is_not(place: Place) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = place.file("truth", "")
    folder.mkdir(parents=True)
    for process in (ended.pid, living.pid):
        (folder / f".a.json.{process}.part").touch()
    try:
        place.generate("truth")
        assert [path.name for path in folder.glob(".*.part")] == [f".a.json.{living.pid}.part"]
    finally:
        living.communicate()


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused_before_anything_is_done(place: Place, workers: int) -> None:
    with pytest.raises(UsageError, match=f"workers = {workers}"):
        place.generate("truth", workers=workers)
    assert not (place.folder / "runs").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (":foo", "module ''; expected MODULE:NAME"),
        ("..foo:bar", r"module '\.\.foo'; expected MODULE:NAME"),
        ("MODULE:raises", "its factory raised ValueError: not like this; expected a Method"),
        ("MODULE:leaving", "its factory raised SystemExit: 1; expected a Method"),
        ("MODULE:text", "its factory returned str; expected a Method"),
        ("MODULE:nameless", "expected a label of text"),
        ("MODULE:lost", "its parameters cannot be read .NameError"),
        (f"MODULE:free@strength={'1' * 180}", "expected at most 200"),
        (f"shifted@frames={'0' * 300}1", "expected at most 200"),
        ("truth@seed=9000000000000000000", "expected a whole number of at most"),
    ],
)
def test_what_is_wrong_with_somebodys_method_is_said_in_a_line(place: Place, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        resolve(text.replace("MODULE", place.module))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(:", "raised SyntaxError"),
        ("raise RuntimeError('not\\nnow')", "raised RuntimeError: not now; expected a module"),
        ("raise SystemExit", "raised SystemExit"),
        ("import os; os.no_such_thing", "raised AttributeError: module 'os' has no attribute 'no_such_thing'"),
    ],
)
def test_what_a_module_does_at_import_is_said_in_a_line(place: Place, code: str, says: str) -> None:
    (place.folder / f"{place.module}_broken.py").write_text(code)
    with pytest.raises(UsageError, match=says) as caught:
        resolve(f"{place.module}_broken:f")
    assert "\n" not in str(caught.value)


def test_two_parameters_make_a_method_and_a_promise_of_a_method_a_factory(place: Place) -> None:
    assert resolve(f"{place.module}:copied").method.label == "copied"
    assert resolve(f"{place.module}:two@strength=0.5,mode=hard").method.label == "two 0.5 hard"


# The classical cascade -------------------------------------------------------------------------------------------


def cascade_item(folder: Path, **changes: Any) -> Item:
    """A pair of a grey picture without a face and a silent reference, half a second long."""
    write_image(folder / "face.png", np.full((70, 51, 3), 128, np.uint8))
    write_audio(folder / "voice.wav", Sound(np.zeros(16_000, np.float32), 16_000))
    fields: dict[str, Any] = {
        "pair": "one",
        "speaker": "anna",
        "prompt": Prompt(visual="", speech="Yes.", manner="", environment="Rain."),
        "transcript": "Yes.",
        "language": "en",
        "voice": folder / "voice.wav",
        "face": folder / "face.png",
        "seed": 0,
        "frames": 25,
        "width": 64,
        "height": 48,
    }
    return Item(**{**fields, **changes})


@pytest.mark.parametrize(
    ("method", "changes", "error", "says"),
    [
        ("classical", {}, MediaError, "voice.wav: no voiced speech"),
        ("classical@mouth=frozen", {}, MediaError, "voice.wav: no voiced speech"),
        ("classical@voice=plain", {}, MediaError, "face.png: no face"),
        ("classical@mouth=frozen,voice=plain", {"frames": 5}, SplitError, "shorten the line"),
        ("classical@mouth=frozen,voice=plain", {"language": "xx"}, SplitError, "no language 'xx'"),
    ],
)
def test_what_the_cascade_cannot_make_is_the_pairs_failure(
    tmp_path: Path, method: str, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        resolve(method).method.make(cascade_item(tmp_path, **changes), tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()


def test_a_failure_of_the_cascade_is_recorded_and_the_other_pairs_go_on(tmp_path: Path) -> None:
    split = make_split(tmp_path, {"one": "ann", "two": "bob"}, frames=25)
    for pair in split.pairs:
        for medium in ("voice", "face"):
            media_path(split, pair, medium, tmp_path / "media").parent.mkdir(parents=True, exist_ok=True)
        write_audio(media_path(split, pair, "voice", tmp_path / "media"), Sound(np.zeros(16_000, np.float32), 16_000))
        write_image(media_path(split, pair, "face", tmp_path / "media"), np.zeros((8, 8, 3), np.uint8))
    done = generate(split, ["classical"], tmp_path / "runs", data=tmp_path / "media", workers=1)
    assert (done.made, len(done.failures)) == (0, 2)
    assert all("no voiced speech" in reason for _, _, reason in done.failures)


@pytest.mark.parametrize("size", [(70, 51), (48, 64), (301, 97), (12, 12)])
def test_the_cascade_cuts_a_first_frame_of_any_shape_to_the_clips(tmp_path: Path, size: tuple[int, int]) -> None:
    rows, columns = size
    item = cascade_item(tmp_path, width=65)
    shade = np.broadcast_to(np.linspace(0, 255, columns)[None, :, None], (rows, columns, 3)).astype(np.uint8)
    write_image(item.face, shade)
    resolve("classical@mouth=frozen,voice=plain").method.make(item, tmp_path / "clip.mp4")
    frames = read_video(tmp_path / "clip.mp4")
    assert frames.shape == (25, 48, 64, 3)  # H.264 needs even sides
    cut = min(columns, rows * 64 / 48) / columns  # the share of the width that is kept, around the middle
    shown = frames[0, 24].mean(axis=1)
    assert shown[32] == pytest.approx(127.5, abs=10)
    assert shown[-2] - shown[1] == pytest.approx(255 * cut, abs=255 * cut * 0.1 + 8)


def test_the_cascade_says_how_it_spoke_and_that_it_is_synthetic(demo: Demo) -> None:
    split = load_split("demo")
    for method, keys in (("classical", 10), ("classical@voice=plain", 10), ("classical@mouth=frozen", 10)):
        folder = demo.runs / method / "demo"
        assert read_run(folder).kind == "baseline"
        sidecar = read_sidecar(folder / f"{split.pairs[0].id}.json")
        assert sidecar is not None
        said = {key: value for key, value in sidecar.provenance.items() if key not in ("label", "kind", "untrained")}
        assert len(said) == keys
        with av.open(str(folder / f"{split.pairs[0].id}.mp4")) as clip:
            assert clip.metadata["comment"].startswith("Synthetic")
    matched = read_sidecar(demo.runs / "classical" / "demo" / f"{split.pairs[0].id}.json")
    assert matched is not None
    assert matched.provenance["hertz"] == pytest.approx(matched.provenance["reference_hertz"], rel=0.03)


@pytest.mark.slow
def test_the_cascade_makes_the_same_bytes_again(demo: Demo, tmp_path: Path) -> None:
    split = load_split("demo")
    generate(split, ["classical"], tmp_path, limit=1, workers=1)
    clip = f"classical/demo/{split.pairs[0].id}.mp4"
    assert sha256(tmp_path / clip) == sha256(demo.runs / clip)


def test_a_cascade_of_unknown_parts_is_refused() -> None:
    with pytest.raises(UsageError, match="voice=cloned"):
        resolve("classical@voice=cloned")
    both = resolve("classical@voice=plain,mouth=frozen")
    assert (both.name, both.method.label) == (
        "classical@mouth=frozen,voice=plain",
        "classical, plain voice, frozen mouth",
    )
    orders = [resolve(name).method.order for name in ("classical", "classical@voice=plain", "classical@mouth=frozen")]
    assert orders == sorted(set(orders))
