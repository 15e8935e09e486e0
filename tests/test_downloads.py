"""Files from the web: a server that cuts, stalls, lies or changes its mind ends in a right file or a clear line."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from avbench import weights
from avbench.errors import FolderError, UsageError, WeightsError
from avbench.weights import UNLOCKED, Download, Repository, Terms, Weight, books, downloads
from avbench.weights.downloads import Limits, Wanted, download

from .line import avbench

CONTENT = bytes(range(256)) * 8000  # 2 MB: two blocks
OTHER = CONTENT[::-1]
QUICK = Limits(stall_seconds=0.4, tries=3, pause_seconds=0.01)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass
class File:
    """What the server does with one path; each list is used up from the front, one entry a request."""

    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    coding: str = ""  # Content-Encoding
    length: bool = True
    cuts: list[int] = dataclasses.field(default_factory=list)  # bytes after which it closes the line
    stalls: list[int] = dataclasses.field(default_factory=list)  # bytes after which it says no more
    answers: list[int] = dataclasses.field(default_factory=list)  # statuses in place of the file
    drip_seconds: float = 0.0  # between pieces
    piece: int = 1 << 16  # bytes
    html: bool = False
    leads_to: str = ""


class Local:
    """A web server on this machine; what it says to a request, and to one for the head alone, is `answer`."""

    protocol = "HTTP/1.0"

    def __init__(self) -> None:
        self.closing = threading.Event()
        local = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = local.protocol

            def do_GET(self) -> None:
                local.answer(self, True)

            def do_HEAD(self) -> None:
                local.answer(self, False)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler, wanted: bool) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class Server(Local):
    """Has files; remembers which ranges were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, str]] = []
        super().__init__()

    def offer(self, path: str = "/net.bin", **settings: Any) -> str:
        self.files[path] = dataclasses.replace(File(), **settings)
        return f"{self.address}{path}"

    def ranges(self) -> list[str]:
        return [asked for _, asked in self.asked]

    def answer(self, request: BaseHTTPRequestHandler, wanted: bool) -> None:
        if not wanted:
            request.send_error(501)
            return
        self.asked.append((request.path, request.headers.get("Range", "")))
        file = self.files.get(request.path.partition("?")[0])
        if file is None or file.answers:
            request.send_error(file.answers.pop(0) if file else 404)
            return
        if file.leads_to:
            request.send_response(302)
            request.send_header("Location", file.leads_to)
            request.end_headers()
            return
        start, asked = 0, request.headers.get("Range")
        same = request.headers.get("If-Range", file.etag) == file.etag
        if asked and file.ranges and same:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(file.content):
                request.send_error(416)
                return
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", "text/html" if file.html else "application/octet-stream")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        if file.length:
            request.send_header("Content-Length", str(len(file.content) - start))
        if file.etag:
            request.send_header("ETag", file.etag)
        if file.coding:
            request.send_header("Content-Encoding", file.coding)
        request.end_headers()
        with contextlib.suppress(ConnectionError):
            self._send(request, file, start)

    def _send(self, request: BaseHTTPRequestHandler, file: File, start: int) -> None:
        body = file.content[start:]
        if file.cuts:
            body = body[: file.cuts.pop(0)]
        stall = file.stalls.pop(0) if file.stalls else None
        for at in range(0, len(body[:stall]), file.piece):
            request.wfile.write(body[:stall][at : at + file.piece])
            if file.drip_seconds and self.closing.wait(file.drip_seconds):
                return
        if stall is not None:
            self.closing.wait(5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / ".net.bin.part"


WANTED = Wanted("toy", len(CONTENT), digest(CONTENT))


def left(part: Path) -> list[str]:
    return sorted(path.name for path in part.parent.iterdir())


# One file --------------------------------------------------------------------------------------------------------


def test_a_file_comes_whole_and_its_progress_is_told(server: Server, part: Path) -> None:
    told: list[tuple[int, int]] = []
    address = server.offer()
    assert download([address], part, WANTED, lambda *now: told.append(now), QUICK) == address
    assert part.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_cut_line_is_taken_up_where_it_broke(server: Server, part: Path) -> None:
    download([server.offer(cuts=[700_000, 300_000])], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.ranges() == ["", "bytes=700000-", "bytes=1000000-"]


def test_bytes_that_keep_coming_are_never_given_up(server: Server, part: Path) -> None:
    download([server.offer(cuts=[100_000] * 15)], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT
    assert len(server.asked) == 16


def test_a_server_that_stalls_is_asked_again(server: Server, part: Path) -> None:
    download([server.offer(stalls=[500_000])], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.ranges() == ["", "bytes=500000-"]


def test_a_server_that_only_drips_is_asked_again_and_goes_on(server: Server, part: Path) -> None:
    content = CONTENT[:600]
    address = server.offer(content=content, drip_seconds=0.05, piece=20)  # 400 bytes a second
    download([address], part, Wanted("toy", len(content), digest(content)), None, QUICK)
    assert part.read_bytes() == content
    assert len(server.asked) > 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.files["/net.bin"], "cuts", [0] * 9)
        downloads.discard(part)
        with pytest.raises(WeightsError, match="broke off after 0 of 600 bytes, 3 times in a row"):
            download([address], part, Wanted("toy", len(content), digest(content)), None, QUICK)


def test_a_server_that_never_sends_is_given_up_with_a_clear_line(server: Server, part: Path) -> None:
    with pytest.raises(WeightsError, match=r"toy: http\S+ sends nothing for 0\.4 s, 3 times in a row") as caught:
        download([server.offer(stalls=[0] * 9)], part, WANTED, None, QUICK)
    assert "\n" not in str(caught.value)
    assert "goes on where this one stopped" in str(caught.value)
    assert len(server.asked) == 3


def test_a_server_that_ignores_ranges_is_asked_for_everything_again(server: Server, part: Path) -> None:
    download([server.offer(ranges=False, cuts=[700_000])], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"two"', ""], ids=["another tag", "no tag"])
def test_a_file_that_changes_between_two_attempts_is_not_glued_together(server: Server, part: Path, etag: str) -> None:
    """Without tags only the digest can tell, and does."""
    first = '"one"' if etag else ""
    address = server.offer(content=OTHER, etag=first, cuts=[700_000, 0, 0, 0])
    with pytest.raises(WeightsError):
        download([address], part, WANTED, None, QUICK)
    assert part.stat().st_size == 700_000
    server.offer(content=CONTENT, etag=etag)
    download([address], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT


def test_without_any_digest_a_part_without_a_tag_is_not_continued(server: Server, part: Path) -> None:
    unpinned = Wanted("toy")
    address = server.offer(content=OTHER, etag="", cuts=[700_000, 0, 0, 0])
    with pytest.raises(WeightsError):
        download([address], part, unpinned, None, QUICK)
    server.offer(content=CONTENT, etag="")
    server.asked.clear()
    download([address], part, unpinned, None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.ranges() == [""]


def test_a_file_that_has_become_shorter_begins_anew(server: Server, part: Path) -> None:
    address = server.offer(content=CONTENT * 2, etag='W/"x"', cuts=[3_000_000, 0, 0, 0])
    with pytest.raises(WeightsError):
        download([address], part, Wanted("toy"), None, QUICK)
    server.offer(content=CONTENT, etag='W/"x"')
    download([address], part, Wanted("toy"), None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.ranges()[-2:] == ["bytes=3000000-", ""]


def test_a_weak_tag_that_changes_is_another_file(server: Server, part: Path) -> None:
    """If-Range may not be asked with a weak tag: the server sends the rest, and what it is the rest of is compared."""
    address = server.offer(content=OTHER, etag='W/"x"', cuts=[700_000, 0, 0, 0])
    with pytest.raises(WeightsError):
        download([address], part, Wanted("toy"), None, QUICK)
    server.offer(content=CONTENT, etag='W/"y"')
    download([address], part, Wanted("toy"), None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.ranges()[-2:] == ["bytes=700000-", ""]


def test_a_finished_part_is_not_asked_for_again(server: Server, part: Path) -> None:
    address = server.offer()
    download([address], part, WANTED, None, QUICK)
    download([address], part, WANTED, None, QUICK)
    assert len(server.asked) == 1


# What the server says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"content": OTHER}, "sha256"),
        ({"content": CONTENT[:-1]}, "offers 2047999 bytes"),
        ({"content": CONTENT + b"x"}, "offers 2048001 bytes"),
        ({"html": True}, "answers with a web page"),
        ({"answers": [404] * 9}, "answers 404"),
        ({"answers": [403] * 9}, "answers 403"),
        ({"answers": [503] * 9}, "answers 503 Service Unavailable, 3 times in a row"),
        ({"leads_to": "file:///etc/hostname"}, "Redirection to url 'file:///etc/hostname' is not allowed"),
    ],
    ids=["digest", "short", "long", "page", "absent", "forbidden", "busy", "local"],
)
def test_what_is_not_the_file_is_named_and_not_kept(
    server: Server, part: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        download([server.offer(**settings)], part, WANTED, None, QUICK)
    assert digest(CONTENT) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(part) == []


def test_the_next_address_is_asked_where_one_refuses(server: Server, part: Path) -> None:
    addresses = [
        server.offer("/a", answers=[404]),
        server.offer("/b", content=OTHER),
        server.offer("/c", html=True),
        "http://127.0.0.1:1/nobody-listens",
        server.offer("/d"),
    ]
    assert download(addresses, part, WANTED, None, QUICK) == addresses[-1]
    assert part.read_bytes() == CONTENT


def test_a_mirror_continues_only_the_same_file(server: Server, part: Path) -> None:
    first = server.offer("/a", cuts=[700_000], answers=[])
    server.files["/a"].cuts += [0] * 9
    same, different = server.offer("/same"), server.offer("/different", etag='"three"')
    with pytest.raises(WeightsError):
        download([first], part, WANTED, None, QUICK)
    begun = {path: path.read_bytes() for path in part.parent.iterdir()}
    download([same], part, WANTED, None, QUICK)
    assert server.asked[-1] == ("/same", "bytes=700000-")
    assert part.read_bytes() == CONTENT
    for path, content in begun.items():
        path.write_bytes(content)
    server.asked.clear()
    download([different], part, WANTED, None, QUICK)
    assert server.asked == [("/different", "bytes=700000-")]  # answered with all of it
    assert part.read_bytes() == CONTENT


def test_a_redirection_is_followed_and_keeps_the_range(server: Server, part: Path) -> None:
    server.offer("/real", cuts=[700_000])
    download([server.offer("/alias", leads_to="/real")], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT
    assert server.asked[-1] == ("/real", "bytes=700000-")


def test_a_busy_server_is_asked_again(server: Server, part: Path) -> None:
    download([server.offer(answers=[503, 429])], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT


def test_a_file_of_unsaid_length_needs_a_published_size(server: Server, part: Path) -> None:
    download([server.offer(length=False)], part, WANTED, None, QUICK)
    assert part.read_bytes() == CONTENT
    downloads.discard(part)
    with pytest.raises(WeightsError, match="does not say how long the file is"):
        download([server.offer(length=False)], part, Wanted("toy"), None, QUICK)


def test_bytes_that_are_coded_are_not_taken_for_the_file(server: Server, part: Path) -> None:
    with pytest.raises(WeightsError, match="coded as gzip"):
        download([server.offer(coding="gzip")], part, Wanted("toy"))
    assert left(part) == []


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_a_network_that_goes_away_is_a_line_that_broke(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    read = http.client.HTTPResponse.read1
    breaks = [number]

    def cut(answer: http.client.HTTPResponse, most: int = -1) -> bytes:
        if not breaks:
            return read(answer, most)
        raise OSError(breaks[0], os.strerror(breaks.pop()))

    monkeypatch.setattr(http.client.HTTPResponse, "read1", cut)
    download([server.offer()], part, WANTED, limits=QUICK)
    assert part.read_bytes() == CONTENT


def test_a_protected_address_does_not_lead_to_an_open_one() -> None:
    import urllib.request

    handler = downloads._Redirects()
    request = urllib.request.Request("https://example.org/net.bin")
    with pytest.raises(Exception, match=r"leads to http://example.com/x, which is not protected"):
        handler.redirect_request(request, BytesIO(), 302, "", {}, "http://example.com/x?secret")
    assert handler.redirect_request(request, BytesIO(), 302, "", {}, "https://example.com/x") is not None


# Disks and kills -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_room_is_asked_for_before_the_first_byte(server: Server, small_disk: Path) -> None:
    with pytest.raises(FolderError, match=r"1 MB free; expected 3 MB for the download"):
        download([server.offer()], small_disk / "part", WANTED, None, QUICK)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_is_told_and_the_download_goes_on_when_there_is_room(
    server: Server, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CONTENT[:900_000]
    wanted, filler = Wanted("toy", len(content), digest(content)), small_disk / "filler"
    address = server.offer(content=content)
    filler.write_bytes(bytes(600_000))
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "require_room", lambda *_: None)  # somebody else fills the disk meanwhile
        with pytest.raises(FolderError, match="the disk is full"):
            download([address], small_disk / "part", wanted, None, QUICK)
    assert 0 < (small_disk / "part").stat().st_size < len(content)
    filler.unlink()
    download([address], small_disk / "part", wanted, None, QUICK)
    assert (small_disk / "part").read_bytes() == content
    assert server.ranges()[1].startswith("bytes=")


def test_a_killed_download_is_resumed(server: Server, home: Path, register: Register) -> None:
    source = Download((server.offer(drip_seconds=0.05),))
    weight = register(toy(source))
    code = (
        "from avbench import weights; from avbench.weights import *; "
        f"weights.WEIGHTS.clear(); weights.WEIGHTS['toy'] = {weight!r}; weights.fetch('toy')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part = weights.where("toy").with_name(f".{weights.where('toy').name}.part")
    while not (part.exists() and part.stat().st_size > 300_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert re.fullmatch(r"begun, (\d{3} kB|1\.\d MB) there", weights.state("toy"))
    server.files["/net.bin"].drip_seconds = 0
    assert weights.fetch("toy").read_bytes() == CONTENT
    assert int(server.ranges()[-1].removeprefix("bytes=").rstrip("-")) > 300_000
    assert leftovers(home) == [weights.where("toy").name]


# Weights from the web --------------------------------------------------------------------------------------------

Register = Callable[..., Weight]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AVBENCH_OFFLINE", raising=False)
    monkeypatch.delenv("AVBENCH_ACCEPT_LICENCES", raising=False)
    return tmp_path / "home"


@pytest.fixture
def register(home: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Makes these the only weights that there are, and patience short; the first is returned."""

    def do(*all_: Weight) -> Weight:
        table = {weight.name: weight for weight in all_}
        for module in (weights, weights.registry):
            monkeypatch.setattr(module, "WEIGHTS", table)
        return all_[0]

    monkeypatch.setattr(downloads, "Limits", lambda: QUICK)
    return do


def toy(source: Download, content: bytes = CONTENT, **settings: Any) -> Weight:
    weight = Weight("toy", source, len(content), digest(content), "MIT", True, "", "https://example.org", ("none",))
    return dataclasses.replace(weight, **settings)


def leftovers(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "weights").iterdir() if not path.name.endswith(".lock"))


def test_a_download_is_never_begun_by_what_only_needs_the_file(server: Server, register: Register) -> None:
    register(toy(Download((server.offer(),))), toy(Download((server.offer(),)), name="other", size=0, sha256=""))
    with pytest.raises(WeightsError, match=r"is not there\. Run: avbench weights fetch toy$"):
        weights.path("toy")
    with pytest.raises(WeightsError) as caught:
        weights.ensure(["toy", "other"])
    assert str(caught.value).splitlines() == [
        "network files to fetch, about 2 MB:",
        "    toy: 2 MB; https://example.org; MIT",
        "    other: size unknown; https://example.org; MIT",
        "Run: avbench weights fetch toy other",
    ]
    assert server.asked == []
    weights.fetch("toy")
    weights.fetch("other")
    weights.ensure(["toy", "other"])
    assert weights.path("toy").read_bytes() == CONTENT


def test_offline_nothing_is_downloaded_and_what_is_here_works(
    server: Server, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(toy(Download((server.offer(),))))
    monkeypatch.setenv("AVBENCH_OFFLINE", "1")
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        weights.fetch("toy")
    assert server.asked == []
    monkeypatch.setenv("AVBENCH_OFFLINE", "0")
    weights.fetch("toy")
    monkeypatch.setenv("AVBENCH_OFFLINE", "1")
    assert weights.fetch("toy").read_bytes() == CONTENT


def test_a_file_that_is_not_the_pinned_one_never_takes_its_name(server: Server, register: Register, home: Path) -> None:
    register(toy(Download((server.offer(content=OTHER),))))
    with pytest.raises(WeightsError, match=digest(OTHER)):
        weights.fetch("toy")
    assert leftovers(home) == []


def test_three_that_fetch_at_once_download_once(server: Server, register: Register) -> None:
    register(toy(Download((server.offer(drip_seconds=0.01),))))
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(weights.fetch("toy").read_bytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 3
    assert len(server.asked) == 1


# Locked on first use ---------------------------------------------------------------------------------------------


def unpinned(server: Server, content: bytes = CONTENT) -> Weight:
    return toy(Download((server.offer(content=content),)), size=0, sha256="")


def test_a_file_without_a_published_digest_is_locked_as_it_first_came(
    server: Server, register: Register, home: Path
) -> None:
    weight = register(unpinned(server))
    assert weights.digest8(["toy"]) == UNLOCKED
    assert "not locked yet" in weights.state("toy")
    place = weights.fetch("toy")
    entry = json.loads((home / "weights" / "weights.lock").read_text())["toy"]
    assert entry["size"] == len(CONTENT)
    assert entry["sha256"] == digest(CONTENT)
    assert isinstance(weight.source, Download)
    assert entry["address"] == weight.source.addresses[0]
    assert weights.digest8(["toy"]) == digest(digest(CONTENT).encode())[:8]
    assert weights.verify("toy") == place
    time.sleep(0.01)
    place.write_bytes(OTHER)
    with pytest.raises(WeightsError, match="damaged or another file"):
        weights.path("toy")
    assert weights.fetch("toy").read_bytes() == CONTENT


def test_another_file_than_the_locked_one_is_refused_until_the_lock_is_removed(
    server: Server, register: Register, home: Path
) -> None:
    register(unpinned(server))
    place = weights.fetch("toy")
    server.files["/net.bin"].content = OTHER
    place.unlink()
    with pytest.raises(WeightsError, match=r"if you trust the new one: avbench weights unlock toy$"):
        weights.fetch("toy")
    assert not place.exists()
    assert weights.unlock("toy")
    assert not weights.unlock("toy")
    assert weights.fetch("toy").read_bytes() == OTHER


def test_a_file_that_somebody_put_there_is_locked_when_first_used(server: Server, register: Register) -> None:
    register(unpinned(server))
    weights.where("toy").parent.mkdir(parents=True)
    weights.where("toy").write_bytes(OTHER)
    with pytest.raises(WeightsError, match="nothing is known yet"):
        weights.verify("toy")
    weights.ensure(["toy"])
    assert weights.digest8(["toy"]) != UNLOCKED
    weights.verify("toy")
    weights.where("toy").write_bytes(b"")
    with pytest.raises(WeightsError, match="holds 0 bytes"):
        weights.path("toy")


def test_another_file_in_the_place_of_the_locked_one_is_told_from_none(server: Server, register: Register) -> None:
    register(unpinned(server), dataclasses.replace(unpinned(server), name="other"))
    place = weights.fetch("toy")
    place.write_bytes(b"another")
    with pytest.raises(WeightsError) as caught:
        weights.ensure(["toy", "other"])
    *absent, replaced = str(caught.value).splitlines()
    assert absent[-1] == "Run: avbench weights fetch other"
    assert re.fullmatch(
        rf"toy: {place} holds 7 bytes; expected {len(CONTENT)}, as it was locked \d{{4}}-\d\d-\d\d. Run: avbench weights "
        "fetch toy (.the locked one.); or, if you trust what is there, remove the lock: avbench weights unlock toy",
        replaced,
    )
    assert weights.unlock("toy")
    assert weights.path("toy").read_bytes() == b"another"
    place.write_bytes(b"ANOTHER")
    weights._digest.cache_clear()
    with pytest.raises(WeightsError, match=r"another file; .* which was locked .* weights unlock toy"):
        weights.path("toy")


WEB_PAGE = b"<html>not found</html>"
NO_NUMBERS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file of no tensors


@pytest.mark.parametrize(
    ("suffix", "wrong", "right"),
    [(".safetensors", WEB_PAGE, NO_NUMBERS), (".safetensors", NO_NUMBERS[:-1], NO_NUMBERS), (".json", WEB_PAGE, b"{}")],
)
def test_only_what_is_of_its_kind_is_locked(
    server: Server, register: Register, home: Path, suffix: str, wrong: bytes, right: bytes
) -> None:
    address = server.offer(f"/net{suffix}", content=wrong)
    register(toy(Download((address,)), size=0, sha256=""))
    place = weights.where("toy")
    place.parent.mkdir(parents=True)
    place.write_bytes(wrong)
    for do in (lambda: weights.path("toy"), lambda: weights.ensure(["toy"]), lambda: weights.fetch("toy")):
        with pytest.raises(WeightsError, match=f"is no {suffix[1:].replace('json', 'JSON')} file .*; expected one"):
            do()
        assert books.locked("toy") is None
    place.unlink()
    with pytest.raises(WeightsError, match="It was not locked"):
        weights.fetch("toy")
    assert leftovers(home) == []
    server.files[f"/net{suffix}"].content = right
    assert weights.fetch("toy").read_bytes() == right
    assert weights.verify("toy") == place


def test_a_wrong_file_that_an_earlier_version_locked_is_told(server: Server, register: Register) -> None:
    register(toy(Download((server.offer("/net.safetensors"),)), size=0, sha256=""))
    place = weights.where("toy")
    place.parent.mkdir(parents=True)
    place.write_bytes(WEB_PAGE)
    books.lock("toy", len(WEB_PAGE), digest(WEB_PAGE), "")
    with pytest.raises(WeightsError, match=r"is no safetensors file .* weights unlock toy"):
        weights.verify("toy")


@pytest.mark.parametrize("content", ["", "[]", '{"toy": {}}', '{"toy": {"size": "x"}}', "\xff", '{"\xff": {}}'])
def test_a_lock_file_that_cannot_be_read_is_never_taken_for_an_empty_one(
    server: Server, register: Register, home: Path, content: str
) -> None:
    register(unpinned(server))
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "weights.lock").write_text(content, encoding="latin-1")
    with pytest.raises(WeightsError, match=r"weights\.lock: cannot be read"):
        weights.fetch("toy")


# Licences --------------------------------------------------------------------------------------------------------


CLUB, INN = Terms("club", "research only"), Terms("inn", "no dogs")


def restricted(server: Server, name: str = "toy") -> Weight:
    return toy(Download((server.offer(),)), name=name, licence="research only", commercial=False, terms=(CLUB,))


def test_a_restricted_file_is_neither_fetched_nor_used_before_its_licence_is_accepted(
    server: Server, register: Register, home: Path
) -> None:
    register(restricted(server), restricted(server, "other"))
    for do in (weights.path, weights.fetch):
        with pytest.raises(WeightsError, match=r"research only.*avbench weights fetch toy --accept-licence club"):
            do("toy")
    with pytest.raises(WeightsError, match=r"Run: avbench weights fetch toy other --accept-licence club$"):
        weights.ensure(["toy", "other"])
    assert server.asked == []
    with pytest.raises(UsageError, match="Known: club"):
        weights.accept("clubs")
    weights.accept("club")
    assert weights.fetch("toy").read_bytes() == CONTENT
    recorded = json.loads((home / "weights" / "licences.json").read_text())["club"]
    assert recorded["weights"] == ["toy", "other"]
    assert recorded["licence"] == "research only"
    assert weights.state("toy") == f"there, accepted {recorded['date']}"
    (home / "weights" / "licences.json").unlink()
    with pytest.raises(WeightsError, match="licence"):
        weights.path("toy")


def test_only_the_terms_that_are_named_are_accepted(server: Server, register: Register, home: Path) -> None:
    adapter = restricted(server)
    register(adapter, dataclasses.replace(adapter, name="base", terms=(CLUB, INN), licence="research only; no dogs"))
    weights.accept("club")
    assert weights.fetch("toy").read_bytes() == CONTENT
    with pytest.raises(WeightsError, match=r"no dogs.*weights fetch base --accept-licence inn$"):
        weights.fetch("base")
    recorded = json.loads((home / "weights" / "licences.json").read_text())
    assert {name: (entry["licence"], entry["weights"]) for name, entry in recorded.items()} == {
        "club": ("research only", ["toy", "base"])
    }
    with pytest.raises(WeightsError) as caught:
        weights.ensure(["toy", "base"])
    assert str(caught.value).splitlines()[1:] == [
        "    base: 2 MB; https://example.org; research only; no dogs",
        "Run: avbench weights fetch base --accept-licence inn",
    ]
    weights.accept("inn")
    weights.fetch("base")
    weights.ensure(["toy", "base"])


def test_a_file_that_only_waits_for_consent_is_said_to_be_there(server: Server, register: Register, home: Path) -> None:
    register(restricted(server))
    weights.accept("club")
    weights.fetch("toy")
    (home / "weights" / "licences.json").unlink()
    with pytest.raises(WeightsError) as caught:
        weights.ensure(["toy"])
    assert str(caught.value).splitlines() == [
        "network files whose licence is not accepted:",
        "    toy: there, needs --accept-licence club; https://example.org; research only",
        "Run: avbench weights fetch toy --accept-licence club",
    ]


def test_the_environment_can_accept_for_machines_without_people(
    server: Server, register: Register, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(restricted(server))
    monkeypatch.setenv("AVBENCH_ACCEPT_LICENCES", "other, club")
    assert weights.fetch("toy").read_bytes() == CONTENT
    assert not (home / "weights" / "licences.json").exists()
    monkeypatch.setenv("AVBENCH_ACCEPT_LICENCES", "other")
    with pytest.raises(WeightsError, match="licence"):
        weights.path("toy")


# Zips ------------------------------------------------------------------------------------------------------------


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def of_zip(server: Server, archive: bytes, name: str = "toy", member: str = "net.bin", **settings: Any) -> Weight:
    source = Download((server.offer("/all.zip", content=archive),), member, len(archive), digest(archive))
    return toy(source, name=name, **settings)


def test_several_files_of_one_zip_are_downloaded_once_and_the_zip_is_not_kept(
    server: Server, register: Register, home: Path
) -> None:
    archive = zipped([("net.bin", CONTENT), ("more.bin", OTHER), ("../escape", b"x")])
    register(
        of_zip(server, archive),
        of_zip(server, archive, "more", "more.bin", sha256=digest(OTHER)),
        of_zip(server, archive, "closed", "more.bin", sha256=digest(OTHER), terms=(CLUB,)),
    )
    assert weights.fetch("toy").read_bytes() == CONTENT
    assert weights.fetch("more").read_bytes() == OTHER
    assert len(server.asked) == 1
    assert leftovers(home) == sorted([weights.where("toy").name, weights.where("more").name])
    assert not (home / "escape").exists()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "member", "said"),
    [
        ([("other.bin", CONTENT)], "net.bin", "has no member"),
        ([("net.bin", CONTENT), ("net.bin", OTHER)], "net.bin", "has 2 members"),
        ([(link("net.bin"), b"/etc/passwd")], "net.bin", "is no plain file"),
        ([("net.bin/", b"")], "net.bin/", "is no plain file"),
        ([("net.bin", bytes(50_000_000))], "net.bin", "is not the pinned file"),
        ([("net.bin", CONTENT[:-1])], "net.bin", "is not the pinned file"),
        ([("../net.bin", CONTENT)], "net.bin", "has no member"),
    ],
    ids=["absent", "twice", "link", "folder", "bomb", "short", "outside"],
)
def test_a_zip_that_holds_something_else_is_refused(
    server: Server,
    register: Register,
    home: Path,
    members: list[tuple[str | zipfile.ZipInfo, bytes]],
    member: str,
    said: str,
) -> None:
    register(of_zip(server, zipped(members), member=member))
    with pytest.raises(WeightsError, match=said):
        weights.fetch("toy")
    assert leftovers(home) == []
    assert sorted(path.name for path in home.parent.iterdir()) == ["home"]


def test_no_more_is_unpacked_than_is_expected() -> None:
    target = BytesIO()
    assert weights._copy(BytesIO(bytes(5_000_000)), target, 3_000_000) == (3_000_000, "")
    assert len(target.getvalue()) == 3_000_000
    assert weights._copy(BytesIO(CONTENT), BytesIO(), len(CONTENT)) == (len(CONTENT), digest(CONTENT))


def test_a_member_that_would_climb_out_is_written_to_its_own_place(
    server: Server, register: Register, home: Path
) -> None:
    register(of_zip(server, zipped([("../../escape.bin", CONTENT)]), member="../../escape.bin"))
    assert weights.fetch("toy").parent == home / "weights"
    assert sorted(path.name for path in home.parent.iterdir()) == ["home"]


def test_a_zip_that_is_none_or_is_encrypted_is_told(server: Server, register: Register, home: Path) -> None:
    register(of_zip(server, b"not a zip"))
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        weights.fetch("toy")
    archive = bytearray(zipped([("net.bin", CONTENT)]))
    archive[6] |= 1  # the flag of the file's own head, and of the table at the end
    archive[archive.rindex(b"PK\x01\x02") + 8] |= 1
    register(of_zip(server, bytes(archive)))
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        weights.fetch("toy")
    assert leftovers(home) == []


def test_another_zip_than_the_pinned_one_is_not_opened(
    server: Server, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = of_zip(server, zipped([("net.bin", CONTENT)]))
    server.files["/all.zip"].content = zipped([("net.bin", OTHER)])
    register(weight)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(WeightsError, match="it was not kept"):
        weights.fetch("toy")


# Models of many files, from a model repository ---------------------------------------------------------------------


@dataclasses.dataclass
class Repo:
    """What the hub has of one repository."""

    files: dict[str, bytes]
    closed: dict[str, str] = dataclasses.field(default_factory=dict)  # file, or "" for all: what it answers instead
    drip: dict[str, float] = dataclasses.field(default_factory=dict)  # seconds between pieces of a file


def commit(repository: str) -> str:
    return hashlib.sha1(repository.encode()).hexdigest()


class Hub(Local):
    """A model hub, as huggingface_hub speaks with it; remembers which files were asked for."""

    protocol = "HTTP/1.1"

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[str] = []
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, wanted: bool) -> None:
        parts = request.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._list("/".join(parts[2:4]), parts[4], request)
            return
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        repo = self.repos.get(name, Repo({}))
        if wanted and file in repo.files:
            self.asked.append(file)
        if file in repo.closed or file not in repo.files:
            self._refuse(request, repo.closed.get(file, "EntryNotFound"))
            return
        content = repo.files[file]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("ETag", f'"{digest(content)}"')
        request.send_header("X-Repo-Commit", commit(name))
        request.end_headers()
        if wanted:
            with contextlib.suppress(ConnectionError):
                for at in range(0, len(content), 1 << 12):
                    request.wfile.write(content[at : at + (1 << 12)])
                    if file in repo.drip and self.closing.wait(repo.drip[file]):
                        return

    def _list(self, name: str, what: str, request: BaseHTTPRequestHandler) -> None:
        repo = self.repos.get(name, Repo({}, {"": "RepoNotFound"}))
        if "" in repo.closed:
            self._refuse(request, repo.closed[""])
            return
        body: Any = {
            "id": name,
            "sha": commit(name),
            "siblings": [{"rfilename": file, "size": len(content)} for file, content in repo.files.items()],
        }
        if what == "tree":
            body = [
                {"type": "file", "path": file, "size": len(content), "oid": digest(content)[:40]}
                for file, content in repo.files.items()
            ]
        text = json.dumps(body).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _refuse(self, request: BaseHTTPRequestHandler, code: str) -> None:
        request.send_response({"GatedRepo": 403, "Forbidden": 403}.get(code, 404))
        request.send_header("X-Error-Code", code)
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def model_hub(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    import huggingface_hub

    hub_ = Hub()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub_.address)
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub_.address + "".join(template[1:]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    huggingface_hub.close_session()
    yield hub_
    hub_.close()
    huggingface_hub.close_session()


def numbers(count: int) -> bytes:
    """A safetensors file of one tensor."""
    head = json.dumps({"a": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(count)


MODEL = {
    "model_index.json": b"{}",
    "transformer/config.json": b"{}",
    "transformer/a-1.safetensors": numbers(1),
    "transformer/a-2.safetensors": numbers(200_000),
    "transformer/a.safetensors.index.json": b'{"weight_map": {"x": "a-1.safetensors", "y": "a-2.safetensors"}}',
    "scheduler/scheduler_config.json": b"{}",
    "readme.md": b"not wanted",
}
UPSAMPLER = {"up/config.json": b"{}", "up/b.safetensors": numbers(9), "model_index.json": b'{"another": 1}'}
BIG = "transformer/a-2.safetensors"


@pytest.fixture
def model(model_hub: Hub, register: Register) -> Path:
    """A model of which one part is another repository's; the place where it will lie."""
    model_hub.repos = {"some/toy": Repo(dict(MODEL)), "other/up": Repo(dict(UPSAMPLER))}
    page = "https://example.org/toy"
    source = Repository((page,), repository="some/toy", folders=("transformer", "scheduler", "up"))
    source = dataclasses.replace(source, borrowed=(("up", "other/up"),))
    register(Weight("toy", source, 0, "", "MIT", True, "A toy.", page, ("none",), about_bytes=200_000))
    return weights.where("toy")


def test_a_model_comes_from_all_its_repositories_and_is_locked_with_all_its_parts(model_hub: Hub, model: Path) -> None:
    told: list[tuple[str, int, int]] = []
    assert weights.fetch("toy", lambda *what: told.append(what)) == model
    wanted = {name: content for name, content in {**UPSAMPLER, **MODEL}.items() if name != "readme.md"}
    found = {path.relative_to(model).as_posix(): path for path in model.rglob("[!.]*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items() if not name.startswith(".")} == wanted
    total = sum(map(len, wanted.values()))
    assert told[-1] == ("toy", total, total)
    entry = books.locked("toy")
    assert entry is not None
    assert entry.size == total
    assert entry.address == f"https://huggingface.co/some/toy/tree/{commit('some/toy')}"
    (model / "up" / "b.safetensors").write_bytes(numbers(8))
    with pytest.raises(WeightsError, match=r"holds .* locked .* Remove that folder, or mend it.* weights unlock toy"):
        weights.path("toy")


def test_a_part_that_a_model_lacks_is_fetched_beside_those_that_are_there(model_hub: Hub, model: Path) -> None:
    for name, content in MODEL.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    assert not weights.present("toy")
    assert weights.state("toy") == "without up, not locked yet"
    for do in (weights.path, weights.verify):
        with pytest.raises(WeightsError, match=r"has no up\. Run: avbench weights fetch toy$"):
            do("toy")
    assert weights.fetch("toy") == model == weights.path("toy")
    assert sorted(model_hub.asked) == ["up/b.safetensors", "up/config.json"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("transformer/a-1.safetensors", WEB_PAGE, "a-1.safetensors is no safetensors file"),
        ("transformer/a-1.safetensors", None, r"transformer has no a-1\.safetensors; expected all shards"),
        ("transformer/config.json", None, "transformer has none of config.json"),
        ("transformer/a.safetensors.index.json", b"[]", "has no weight_map"),
        ("up/b.safetensors", None, "up has no safetensors file"),
        ("model_index.json", b"<", "model_index.json is no JSON file"),
    ],
)
def test_a_model_that_is_not_whole_is_neither_taken_nor_locked(
    model_hub: Hub, model: Path, name: str, content: bytes | None, says: str
) -> None:
    for repo in model_hub.repos.values():
        if name in repo.files and (name != "model_index.json" or "readme.md" in repo.files):
            repo.files = {**repo.files, name: content} if content is not None else {
                key: value for key, value in repo.files.items() if key != name
            }  # fmt: skip
    with pytest.raises(WeightsError, match=f"{says}.* It was not taken"):
        weights.fetch("toy")
    assert not model.exists()
    model.with_name(".toy.part").rename(model)  # by hand
    with pytest.raises(WeightsError, match=f"{says}.*Remove that folder, or mend it; then run"):
        weights.ensure(["toy"]) if weights.present("toy") else weights.path("toy")
    assert books.locked("toy") is None


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("", "GatedRepo", "only to those who agree to its terms there.*hf auth login"),
        (BIG, "GatedRepo", "only to those who agree to its terms there.*hf auth login"),
        ("", "RepoNotFound", "is not there, or is closed to you"),
        ("", "RevisionNotFound", "has no revision main"),
        ("", "Forbidden", "answers 403"),
    ],
)
def test_why_a_repository_gives_nothing_is_told_apart(
    model_hub: Hub, model: Path, file: str, code: str, says: str
) -> None:
    model_hub.repos["some/toy"].closed = {file: code}
    with pytest.raises(WeightsError, match=rf"toy: https://huggingface\.co/some/toy .*{says}"):
        weights.fetch("toy")
    assert not model.exists()
    model_hub.repos["some/toy"].closed = {}
    asked = set(model_hub.asked) - {BIG}
    model_hub.asked.clear()
    assert weights.fetch("toy") == model
    assert not (asked & set(model_hub.asked) - {BIG}) or not file


def test_a_hub_that_cannot_be_reached_is_told_and_no_half_model_is_taken(model_hub: Hub, model: Path) -> None:
    part = model.with_name(".toy.part")
    for name, content in {**MODEL, **UPSAMPLER}.items():  # as a kill would leave it, but for one shard
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_bytes(content)
    (part / BIG).unlink()
    model_hub.close()
    with pytest.raises(
        WeightsError, match=r"cannot be reached.*Check the network, then run: avbench weights fetch toy$"
    ):
        weights.fetch("toy")
    assert not model.exists()


def test_room_for_a_model_is_asked_for_before_the_first_byte(
    model_hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 150_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(FolderError, match="0 MB free; expected 1 MB for the download"):
        weights.fetch("toy")
    assert model_hub.asked == []


def test_a_disk_that_fills_is_not_taken_for_a_closed_repository(
    model_hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fill)
    with pytest.raises(FolderError, match="the disk is full"):
        weights.fetch("toy")


def test_a_file_that_came_short_is_told(model_hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shorten(_: str, **asked: Any) -> None:
        (Path(asked["local_dir"]) / "model_index.json").write_bytes(b"{")

    monkeypatch.setattr("huggingface_hub.snapshot_download", shorten)
    with pytest.raises(WeightsError, match=r"model_index\.json of some/toy has 1 bytes; expected 2 bytes"):
        weights.fetch("toy")


def test_a_killed_download_of_a_model_keeps_what_was_whole(model_hub: Hub, model: Path) -> None:
    model_hub.repos["some/toy"].drip = {BIG: 0.2}
    code = (
        "from avbench import weights; from avbench.weights import *; "
        f"weights.WEIGHTS.clear(); weights.WEIGHTS['toy'] = {weights.WEIGHTS['toy']!r}; weights.fetch('toy')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "HF_ENDPOINT": model_hub.address})
    part = model.with_name(".toy.part")
    whole = [name for name in MODEL if name not in (BIG, "readme.md")]
    while not (all((part / name).exists() for name in whole) and list(part.rglob("*.incomplete"))):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert re.match(r"begun, \d+ kB there", weights.state("toy"))
    model_hub.repos["some/toy"].drip = {}
    model_hub.asked.clear()
    assert weights.fetch("toy") == model
    assert sorted(model_hub.asked) == [BIG, "up/b.safetensors", "up/config.json"]
    assert not list(model.rglob("*.incomplete"))


# The command line ------------------------------------------------------------------------------------------------


def test_the_command_line_says_what_is_needed_and_fetches_nothing_offline(home: Path) -> None:
    listed = avbench("weights", "ls", home=home).stdout
    assert max(map(len, listed.splitlines())) <= 80
    assert "needs --accept-licence insightface" in listed
    assert "absent, not locked yet" in listed
    assert not home.exists()
    done = avbench("weights", "fetch", "s3fd", "clap-tokenizer", "--offline", home=home, expect=2)
    assert "avbench weights fetch s3fd --accept-licence syncnet" in done.stderr
    assert "clap-tokenizer" in done.stderr
    done = avbench("weights", "fetch", "s3fd", "--offline", "--accept-licence", "syncnet", home=home, expect=2)
    assert "nothing is downloaded" in done.stderr
    assert "accepted 2" in avbench("weights", "ls", home=home).stdout
    avbench("weights", "fetch", "--accept-licence", "nobody", home=home, expect=2)
    avbench("weights", "fetch", "--profile", "nobody", home=home, expect=2)
    done = avbench("weights", "verify", "s3fd", home=home, expect=1)
    assert "avbench weights fetch s3fd" in done.stdout
    assert "absent" in avbench("weights", "verify", home=home).stdout
    weights.where("s3fd").write_bytes(b"torn")
    assert "has 4 bytes; expected 89844381" in avbench("weights", "verify", home=home, expect=1).stdout
    assert "was not locked" in avbench("weights", "unlock", "s3fd", home=home).stdout


def test_the_command_line_shows_progress_and_prints_the_place(server: Server, register: Register, home: Path) -> None:
    weight = register(toy(Download((server.offer(cuts=[300_000]),))))
    code = (
        "from avbench import weights; from avbench.weights import *; from avbench.cli import main; import sys; "
        f"weights.WEIGHTS.clear(); weights.WEIGHTS['toy'] = {weight!r}; "
        "sys.argv = ['avbench', 'weights', 'fetch', 'toy']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["toy", str(weights.where("toy"))]
    assert "2.05M/2.05M" in done.stderr
