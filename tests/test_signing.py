"""Content credentials: certificates made here, clips signed, read back, altered and refused."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import pickle
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import avbench
from avbench.clip import Sound, probe, read_audio, read_video, stream_sha256, write_clip
from avbench.errors import FolderError, MediaError, UsageError
from avbench.signing import ASSERTION, Generation, Manifest, Signer, Source, read_manifest, read_signer, sign

COMMENT = "synthetic clip: avbench, made by a test"
GENERATION = Generation("idlora@identity_scale=6", 41, "ab" * 32)
DAY = timedelta(days=1)
WAV = struct.pack("<4sI8sIHHIIHH4sI2s", b"RIFF", 38, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 2, b"\0\0")
BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of C2PA in an mp4: specification, "Embedding in BMFF"


# Certificates --------------------------------------------------------------------------------------------------


class Files(NamedTuple):
    certificate: Path
    key: Path
    root: Path


def certificate(
    subject: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    ca: bool = False,
    use: ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    begin: timedelta = -DAY,
    end: timedelta = 30 * DAY,
) -> bytes:
    now = datetime.now(UTC)
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = (
        x509.CertificateBuilder(subject_name=named[0], issuer_name=named[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if use is not None and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest).public_bytes(Encoding.PEM)


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return cast(bytes, key.private_bytes(Encoding.PEM, form, NoEncryption()))


def credentials(folder: Path, key: Any, **options: Any) -> Files:
    """The files of somebody whose certificate a root of their own has issued."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = certificate("Root", root_key, "Root", root_key, ca=True)
    files = Files(folder / "chain.pem", folder / "key.pem", folder / "root.pem")
    files.certificate.write_bytes(certificate("Signer", key, "Root", root_key, **options) + root)
    files.key.write_bytes(pem(key))
    files.root.write_bytes(root)
    return files


KEYS: dict[str, Callable[[], Any]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return credentials(tmp_path_factory.mktemp("signer"), KEYS["es256"]())


@pytest.fixture(scope="module")
def signer(files: Files) -> Signer:
    return read_signer(files.certificate, files.key)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A clip of half a second, unsigned."""
    path = tmp_path_factory.mktemp("plain") / "p.mp4"
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    write_clip(path, frames, Sound((0.1 * rng.standard_normal(8000)).astype(np.float32), 16_000), COMMENT)
    return path.read_bytes()


@pytest.fixture
def clip(tmp_path: Path, plain: bytes) -> Path:
    path = tmp_path / "pair-1.mp4"
    path.write_bytes(plain)
    return path


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, plain: bytes, signer: Signer) -> bytes:
    path = tmp_path_factory.mktemp("signed") / "pair-1.mp4"
    path.write_bytes(plain)
    sign(path, signer, GENERATION)
    return path.read_bytes()


def manifest_of(path: Path, anchors: Path | None = None) -> Manifest:
    manifest = read_manifest(path, anchors)
    assert manifest is not None
    return manifest


def boxes(content: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the boxes of an mp4, those with 32-bit lengths."""
    end = len(content) if end is None else end
    while start < end:
        length = int.from_bytes(content[start : start + 4], "big")
        assert 8 <= length <= end - start
        yield content[start + 4 : start + 8], start, start + length
        start += length


def box(content: bytes, *path: bytes) -> tuple[int, int]:
    """Where the body of a nested box lies."""
    start, end = 0, len(content)
    for kind in path:
        start, end = next((begin + 8, stop) for name, begin, stop in boxes(content, start, end) if name == kind)
    return start, end


# What a manifest says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_algorithm_follows_from_the_key_and_its_signature_holds(algorithm: str, tmp_path: Path, clip: Path) -> None:
    own = credentials(tmp_path / "own", KEYS[algorithm]())
    signer = read_signer(own.certificate, own.key)
    assert signer.algorithm == algorithm
    record = sign(clip, signer, GENERATION)
    manifest = manifest_of(clip)
    assert (manifest.valid, manifest.algorithm, record["algorithm"]) == (True, algorithm, algorithm)


def test_a_manifest_is_trusted_where_its_root_is_given_and_valid_everywhere(
    clip: Path, signer: Signer, files: Files, tmp_path: Path
) -> None:
    sign(clip, signer, GENERATION)
    stranger = credentials(tmp_path / "stranger", KEYS["es256"]())
    states = [manifest_of(clip, anchors) for anchors in (None, files.root, stranger.root)]
    assert [(state.valid, state.trusted) for state in states] == [(True, False), (True, True), (True, False)]
    assert [state.problems for state in states] == [
        ("signingCredential.untrusted",),
        (),
        ("signingCredential.untrusted",),
    ]


@pytest.mark.parametrize(
    "source",
    ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia"],
)
def test_a_manifest_says_what_it_was_given(source: Source, clip: Path, signer: Signer) -> None:
    given_ = Generation("classical@voice=plain", 7, "cd" * 32, source, untrained=source == "algorithmicMedia")
    record = sign(clip, signer, given_)
    said = manifest_of(clip)
    expected = given_._asdict()
    assert said.source == expected.pop("source")
    assert said.generation == expected
    assert said.generator == record["claim_generator"] == f"avbench {avbench.__version__}"
    assert (said.label, said.signed_by) == (record["manifest"], "Signer")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.text(min_size=1, max_size=40), seed=st.integers(-(2**63), 2**63 - 1), untrained=st.booleans())
def test_any_name_and_seed_come_back_as_they_were(
    tmp_path: Path, plain: bytes, signer: Signer, method: str, seed: int, untrained: bool
) -> None:
    path = tmp_path / "any.mp4"
    path.write_bytes(plain)
    sign(path, signer, Generation(method, seed, "", untrained=untrained))
    said = manifest_of(path)
    assert said.generation == {"method": method, "seed": seed, "request_sha256": "", "untrained": untrained}


def test_other_programs_find_the_action_its_source_and_its_agent(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "other.mp4"
    path.write_bytes(signed)
    with c2pa.Reader(path) as reader:
        store = json.loads(reader.json())
    assertions = {one["label"]: one["data"] for one in store["manifests"][store["active_manifest"]]["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"] == [
        {
            "action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            "softwareAgent": {"name": GENERATION.method},
        }
    ]
    assert assertions[ASSERTION]["request_sha256"] == GENERATION.request_sha256
    assert set(assertions) == {"c2pa.hash.bmff.v3", "c2pa.actions.v2", ASSERTION}


def test_the_record_names_the_certificate(clip: Path, signer: Signer, files: Files) -> None:
    record = sign(clip, signer, GENERATION)
    (first, *_) = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    assert record["certificate_sha256"] == first.fingerprint(hashes.SHA256()).hex()
    assert (record["subject"], record["issuer"], record["source"]) == ("CN=Signer", "CN=Root", GENERATION.source)
    assert json.loads(json.dumps(record)) == record


# What signing does to a clip -----------------------------------------------------------------------------------


def test_a_signed_clip_shows_and_sounds_as_before(clip: Path, plain: bytes, signer: Signer, tmp_path: Path) -> None:
    before = tmp_path / "before.mp4"
    before.write_bytes(plain)
    sign(clip, signer, GENERATION)
    assert clip.read_bytes() != plain
    np.testing.assert_array_equal(read_video(clip), read_video(before))
    np.testing.assert_array_equal(read_audio(clip).samples, read_audio(before).samples)
    assert probe(clip) == probe(before)
    for sense in ("video", "audio"):
        assert stream_sha256(clip, sense) == stream_sha256(before, sense)
    with av.open(str(clip)) as container:
        assert container.metadata["comment"] == COMMENT


def test_signing_adds_one_box_and_moves_what_lies_behind_it(plain: bytes, signed: bytes) -> None:
    before = {kind: plain[start:end] for kind, start, end in boxes(plain)}
    after = {kind: signed[start:end] for kind, start, end in boxes(signed)}
    added = after.pop(b"uuid")
    assert added[8:24] == BOX
    moov, moved = before.pop(b"moov"), after.pop(b"moov")
    assert before == after
    restored = bytearray(moved)
    for index, (kind, start, end) in enumerate(boxes(moved, 8)):
        if kind == b"trak":
            table, _ = box(moved[start:end], b"trak", b"mdia", b"minf", b"stbl", b"stco")
            (count,) = struct.unpack_from(">I", moved, start + table + 4)
            for entry in range(start + table + 8, start + table + 8 + 4 * count, 4):
                struct.pack_into(">I", restored, entry, struct.unpack_from(">I", moved, entry)[0] - len(added))
        assert index < 10
    assert bytes(restored) == moov


def test_the_digest_that_is_signed_is_that_of_all_boxes_but_the_types_and_the_padding(signed: bytes) -> None:
    digest = hashlib.sha256()
    for kind, start, end in boxes(signed):  # "BMFF-based hash", version 3: each box after its offset, of 64 bits
        if kind not in (b"ftyp", b"uuid", b"free"):
            digest.update(struct.pack(">Q", start))
            digest.update(signed[start:end])
    start, end = next((start, end) for kind, start, end in boxes(signed) if kind == b"uuid")
    assert digest.digest() in signed[start:end]


def test_two_signatures_of_one_clip_differ(tmp_path: Path, plain: bytes, signer: Signer) -> None:
    made = []
    for name in ("one", "two"):
        path = tmp_path / name / "pair-1.mp4"
        path.parent.mkdir()
        path.write_bytes(plain)
        made.append((sign(path, signer, GENERATION)["manifest"], path.read_bytes()))
    (first, one), (second, two) = made
    assert first != second
    assert one != two


def test_a_copy_of_the_packets_has_lost_the_manifest(tmp_path: Path, signed: bytes) -> None:
    path, copy = tmp_path / "signed.mp4", tmp_path / "copy.mp4"
    path.write_bytes(signed)
    write_clip(copy, path, path)
    assert read_manifest(copy) is None


# What is noticed -----------------------------------------------------------------------------------------------


def believed(path: Path) -> bool:
    try:
        manifest = read_manifest(path)
    except MediaError:
        return False
    return manifest is not None and manifest.valid


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_changed_byte_of_picture_sound_or_index_is_noticed(
    tmp_path: Path, signed: bytes, share: float, mask: int
) -> None:
    parts = [range(start, end) for kind, start, end in boxes(signed) if kind in (b"moov", b"mdat")]
    place = int(share * sum(map(len, parts)))
    place = parts[0][place] if place < len(parts[0]) else parts[1][place - len(parts[0])]
    path = tmp_path / "changed.mp4"
    changed = bytearray(signed)
    changed[place] ^= mask
    path.write_bytes(signed)
    assert believed(path)
    path.write_bytes(changed)
    assert not believed(path)


def test_a_changed_statement_is_noticed(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "changed.mp4"
    for said, instead in ((b"identity_scale=6", b"identity_scale=9"), (b"trainedAlgo", b"trainedalgo")):
        assert signed.count(said) >= 1
        path.write_bytes(signed.replace(said, instead))
        assert not believed(path)


def test_a_changed_sound_is_named(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "changed.mp4"
    path.write_bytes(signed[:-1] + bytes([signed[-1] ^ 1]))
    manifest = manifest_of(path)
    assert not manifest.valid
    assert "assertion.bmffHash.mismatch" in manifest.problems


def test_a_changed_type_or_padding_is_not_noticed_as_the_standard_has_it(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "changed.mp4"
    start, end = box(signed, b"ftyp")
    path.write_bytes(signed[:start] + b"mp42" + signed[start + 4 :])
    assert end - start > 4
    assert believed(path)


def test_a_manifest_that_is_cut_out_leaves_none(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "without.mp4"
    start, end = next((start, end) for kind, start, end in boxes(signed) if kind == b"uuid")
    path.write_bytes(signed[:start] + signed[end:])
    assert read_manifest(path) is None


def test_a_clip_without_a_manifest_has_none(clip: Path) -> None:
    assert read_manifest(clip) is None


def test_no_address_is_asked_that_a_file_names(tmp_path: Path, clip: Path, signer: Signer) -> None:
    path = tmp_path / "elsewhere.mp4"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        info = c2pa.C2paSignerInfo(signer.algorithm, signer.certificates, signer.key, None)
        created = {"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}
        definition = {"assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}]}
        with (
            c2pa.Context() as context,
            c2pa.Signer.from_info(info) as own,
            c2pa.Builder(definition, context) as builder,
        ):
            builder.set_remote_url(address)
            builder.set_no_embed()
            with clip.open("rb") as source, path.open("w+b") as target:
                builder.sign(own, "video/mp4", source, target)
        with pytest.raises(MediaError, match=r"elsewhere.mp4: no manifest can be read .*manifest\.c2pa"):
            read_manifest(path)
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()


# What is refused -----------------------------------------------------------------------------------------------


def test_a_clip_with_a_manifest_is_not_signed_again(tmp_path: Path, signed: bytes, signer: Signer) -> None:
    path = tmp_path / "again.mp4"
    path.write_bytes(signed)
    with pytest.raises(MediaError, match=r"carries a C2PA manifest already \(avbench .*expected a clip without one"):
        sign(path, signer, GENERATION)
    assert path.read_bytes() == signed


@pytest.mark.parametrize("content", [b"", b"no media at all", WAV], ids=["empty", "junk", "wav"])
def test_what_is_no_mp4_is_refused_and_left_alone(tmp_path: Path, signer: Signer, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"clip\.mp4: "):
        sign(path, signer, GENERATION)
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_absent_clip_is_a_media_error(tmp_path: Path, signer: Signer) -> None:
    for act in (lambda path: sign(path, signer, GENERATION), read_manifest):
        with pytest.raises(MediaError, match=r"absent\.mp4: cannot be read \(No such file"):
            act(tmp_path / "absent.mp4")


def test_a_cut_clip_is_not_believed(tmp_path: Path, signed: bytes) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(signed[:-100])
    assert not believed(path)


def test_a_full_disk_leaves_the_clip_as_it_was(
    clip: Path, plain: bytes, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FolderError, match="the disk is full"):
        sign(clip, signer, GENERATION)
    assert clip.read_bytes() == plain
    assert [one.name for one in clip.parent.iterdir()] == [clip.name]


def test_a_source_that_is_a_camera_is_refused(clip: Path, plain: bytes, signer: Signer) -> None:
    camera = cast(Source, "digitalCapture")
    with pytest.raises(UsageError, match=r"unknown digital source type 'digitalCapture'.*trainedAlgorithmicMedia"):
        sign(clip, signer, GENERATION._replace(source=camera))
    assert clip.read_bytes() == plain


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_that_would_be_rounded_is_refused(seed: int, clip: Path, signer: Signer) -> None:
    with pytest.raises(UsageError, match="expected at most 64 bits"):
        sign(clip, signer, GENERATION._replace(seed=seed))


def test_a_certificate_that_ends_during_a_run_stops_it(tmp_path: Path, clip: Path, plain: bytes) -> None:
    key = KEYS["es256"]()
    current = credentials(tmp_path / "current", key)
    ended = credentials(tmp_path / "ended", key, begin=-9 * DAY, end=-DAY)
    signer = read_signer(current.certificate, current.key)
    signer = dataclasses.replace(signer, certificates=ended.certificate.read_bytes())
    with pytest.raises(UsageError, match=r"does not accept CN=Signer as a signer \(.*not valid at time of signing"):
        sign(clip, signer, GENERATION)
    assert clip.read_bytes() == plain


# Who may sign --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"begin": -9 * DAY, "end": -DAY}, r"chain\.pem: CN=Signer is valid from .*; expected .*valid now"),
        ({"begin": DAY}, r"chain\.pem: CN=Signer is valid from .*; expected .*valid now"),
        ({"use": ExtendedKeyUsageOID.SERVER_AUTH}, r"does not accept CN=Signer .*emailProtection"),
        ({"use": None}, r"does not accept CN=Signer .*emailProtection"),
        ({"ca": True}, r"does not accept CN=Signer .*end entity"),
    ],
    ids=["ended", "not begun", "of a web server", "for nothing", "of an authority"],
)
def test_a_certificate_that_cannot_sign_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    files = credentials(tmp_path, KEYS["es256"](), **options)
    with pytest.raises(UsageError, match=message):
        read_signer(files.certificate, files.key)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024), "RSA of 1024 bits"),
    ],
    ids=["curve", "short"],
)
def test_a_key_that_c2pa_does_not_sign_with_is_refused(tmp_path: Path, make: Callable[[], Any], found: str) -> None:
    files = credentials(tmp_path, make())
    with pytest.raises(UsageError, match=rf"key\.pem: {found}; expected a key .*P-256, .*2048 bits"):
        read_signer(files.certificate, files.key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, files: Files) -> None:
    other = credentials(tmp_path, KEYS["es256"]())
    with pytest.raises(UsageError, match=r"key\.pem: not the key of the first certificate in .*CN=Signer.*expected"):
        read_signer(files.certificate, other.key)


def test_issuers_that_come_first_are_refused(tmp_path: Path, files: Files) -> None:
    end = b"-----END CERTIFICATE-----\n"
    one, root, _ = files.certificate.read_bytes().split(end)
    turned = tmp_path / "turned.pem"
    turned.write_bytes(root + end + one + end)
    with pytest.raises(
        UsageError, match=r"not the key of the first certificate .*put the certificate of this one first"
    ):
        read_signer(turned, files.key)


def test_an_issuer_that_is_not_is_refused(tmp_path: Path, files: Files) -> None:
    other = credentials(tmp_path / "other", KEYS["es256"]())
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(files.certificate.read_bytes().replace(files.root.read_bytes(), other.root.read_bytes()))
    with pytest.raises(
        UsageError, match=r"mixed\.pem: CN=Signer is not issued by the certificate after it \(CN=Root\)"
    ):
        read_signer(mixed, files.key)


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\x0a", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_hold_something_else_are_refused(tmp_path: Path, files: Files, content: bytes) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(content)
    with pytest.raises(UsageError, match=r"other\.pem: holds no readable certificate .*expected PEM"):
        read_signer(other, files.key)
    with pytest.raises(UsageError, match=r"other\.pem: no readable private key; expected PEM"):
        read_signer(files.certificate, other)
    with pytest.raises(UsageError, match=r"other\.pem: holds no readable certificate"):
        read_manifest(tmp_path / "absent.mp4", anchors=other)


def test_absent_files_are_named(tmp_path: Path, files: Files) -> None:
    with pytest.raises(UsageError, match=r"none\.pem: cannot be read \(No such file.*expected a file of certificates"):
        read_signer(tmp_path / "none.pem", files.key)
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\); expected a private key"):
        read_signer(files.certificate, tmp_path)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    key = KEYS["es256"]()
    files = credentials(tmp_path, key)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(
        UsageError, match=r"key\.pem: a private key with a password; expected one without.*openssl pkey"
    ):
        read_signer(files.certificate, files.key)


@pytest.mark.parametrize("algorithm", ["es256", "ps256"])
def test_keys_in_the_older_forms_are_read_too(algorithm: str, tmp_path: Path) -> None:
    key = KEYS[algorithm]()
    files = credentials(tmp_path, key)
    files.key.write_bytes(pem(key, PrivateFormat.TraditionalOpenSSL))
    assert b"BEGIN PRIVATE KEY" not in files.key.read_bytes()
    assert read_signer(files.certificate, files.key).algorithm == algorithm


def test_a_signer_reaches_a_worker_and_never_shows_its_key(clip: Path, signer: Signer) -> None:
    shown = f"{signer} {signer!r}"
    assert "PRIVATE" not in shown
    assert not any(line in shown for line in signer.key.decode().split("\n") if line)
    sign(clip, pickle.loads(pickle.dumps(signer)), GENERATION)  # noqa: S301 - pickled a word before
    assert manifest_of(clip).valid


def test_without_the_extra_it_is_said_how_to_get_it(
    clip: Path, signer: Signer, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    acts: list[Callable[[], object]] = [
        lambda: read_signer(files.certificate, files.key),
        lambda: sign(clip, signer, GENERATION),
        lambda: read_manifest(clip),
    ]
    for act in acts:
        with pytest.raises(UsageError, match=r"c2pa-python, not installed here\. Run: pip install 'avbench\[c2pa\]'"):
            act()
