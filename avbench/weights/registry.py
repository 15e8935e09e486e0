"""The network files that avbench measures and generates with: whose each is, where it comes from, how it is recognised.

A record pins a file by size and sha256. Where nobody publishes a digest, `sha256` is empty and `size` 0: the file is
locked on first use (`books.py`) and enforced from then on; `about_bytes` says how much there is to download. Digests
of files on the web are those that several projects, each on its own, measured and published.

A file whose licence forbids or limits commercial use, or that comes without a licence, is used only by those who accept its
`terms`, each on its own: who accepts those of LTX-2 has not accepted those of the text encoder that comes with it.
`dlib-68-landmarks` has none to accept: it arrives with a package that its user installed by name, as a dependency of
the extra `embedded`, and its licence is shown wherever the file is listed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["WEIGHTS", "Download", "Folder", "Installed", "Repository", "Source", "Terms", "Weight", "Wheel"]


@dataclasses.dataclass(frozen=True)
class Installed:
    """A file inside a distribution that one of avbench's extras installs."""

    distribution: str
    version: str  # the one whose file was pinned
    member: str  # path of the file, relative to where distributions are installed
    extra: str  # the extra of avbench that brings it


@dataclasses.dataclass(frozen=True)
class Folder:
    """A model of several files inside a distribution that one of avbench's extras installs: one record, one digest.

    The digest is that of the list which `sha256sum MEMBERS` prints in the folder.
    """

    distribution: str
    version: str
    folder: str  # relative to where distributions are installed
    members: tuple[str, ...]  # every file that is read, relative to the folder; others may lie beside them
    extra: str


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of the package index. The wheel is data: no dependency, never installed."""

    requirement: str  # NAME==VERSION
    member: str  # path of the file inside the wheel
    sha256: str  # of the wheel


@dataclasses.dataclass(frozen=True)
class Download:
    """A file on the web, or one file of a zip there. Fetched on request only: `avbench weights fetch`."""

    addresses: tuple[str, ...]  # of the same bytes, tried in this order
    member: str = ""  # path of the file inside the zip; empty where the addresses give the file itself
    archive_size: int = 0  # of the zip, bytes; 0 is unknown
    archive_sha256: str = ""  # of the zip


@dataclasses.dataclass(frozen=True)
class Repository(Download):
    """A model of many files in a model repository, in diffusers' layout: tens of gigabytes, fetched on request only.

    `model_index.json` and all files of `folders` belong to it and are hashed together, as those of a Folder are. Which
    they are is known when they have come.
    """

    repository: str = ""  # OWNER/NAME
    revision: str = "main"
    folders: tuple[str, ...] = ()
    borrowed: tuple[tuple[str, str], ...] = ()  # those of `folders` that another repository offers: folder, repository


Source = Installed | Folder | Wheel | Download


@dataclasses.dataclass(frozen=True)
class Terms:
    """A licence that has to be accepted."""

    name: str  # what is given to --accept-licence
    licence: str


@dataclasses.dataclass(frozen=True)
class Weight:
    """One network file, or the files of one model."""

    name: str
    source: Source
    size: int  # bytes, of all files together; 0 is unknown until the file is locked
    sha256: str  # empty: locked on first use
    licence: str
    commercial: bool  # whether the licence allows commercial use
    note: str
    address: str  # the project's page
    used_by: tuple[str, ...]  # extractors, or recipes of the generator
    terms: tuple[Terms, ...] = ()  # all have to be accepted before the file is fetched and used
    about_bytes: int = 0  # what it is likely to have, where `size` is not known


def _models(member: str) -> Installed:
    return Installed(
        distribution="face_recognition_models",
        version="0.3.0",
        member=f"face_recognition_models/models/{member}",
        extra="embedded",
    )


def _hub(repository: str, revision: str, file: str) -> str:
    """The address of one file of a model repository, at one commit of it."""
    return f"https://huggingface.co/{repository}/resolve/{revision}/{file}"


def _model(repository: str, borrowed: tuple[tuple[str, str], ...] = (), folders: tuple[str, ...] = ()) -> Repository:
    """A pipeline of LTX-2 as diffusers has it, with the folders that not all of them have."""
    return Repository(
        addresses=(f"https://huggingface.co/{repository}",),
        repository=repository,
        folders=(*_PARTS, *folders, *(folder for folder, _ in borrowed)),
        borrowed=borrowed,
    )


def _adapter(name: str, repository: str, file: str, **about: Any) -> Weight:
    """A LoRA of one file. No commit of the repository is pinned: what comes first is locked."""
    return Weight(
        name=name,
        source=Download(addresses=(_hub(repository, "main", file),)),
        size=0,
        sha256="",
        commercial=False,
        address=f"https://huggingface.co/{repository}",
        **about,
    )


def _buffalo(member: str) -> Download:
    release = "https://github.com/deepinsight/insightface/releases/download"
    return Download(
        addresses=(f"{release}/v0.7/buffalo_l.zip", f"{release}/model-zoo/buffalo_l.zip"),
        member=member,
        archive_size=288_621_354,
        archive_sha256="80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
    )


_CLAP = ("laion/clap-htsat-unfused", "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a")
_WHISPER = ("openai/whisper-large-v3", "06f233fe06e710322aca913c1bc4249a0d71fce1")
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data"
_UNISPEECH = "https://github.com/microsoft/UniSpeech/tree/main/downstreams/speaker_verification"

_PARTS = ("audio_vae", "connectors", "scheduler", "text_encoder", "tokenizer", "transformer", "vae", "vocoder")
_UPSAMPLER = "latent_upsampler"  # where a recipe has two stages

_INSIGHTFACE = Terms("insightface", "non-commercial research only")
_SYNCNET = Terms("syncnet", "not stated, while the code beside it is MIT")
_LTX = Terms("ltx-2", "LTX-2 Community License (some uses forbidden; companies of $10M a year and more need another)")
_GEMMA = Terms("gemma", "Gemma Terms of Use")
_ID_LORA = Terms("id-lora", "for research only, as its authors say")
_WITH_GEMMA = f"{_LTX.licence}; text encoder: {_GEMMA.licence}"
_RESEARCH = f"{_ID_LORA.licence}, and the LTX-2 Community License"
_OF_ITS_BASE = "that of its base: LTX-2 Community License"

_FACES = ("faces_buffalo", "faces_buffalo_authors")
_SYNC = ("lips_syncnet", "lips_syncnet_every8", "sync_compat")
_WORDS = ("words_whisper", "words_whisper_authors")

_ALL = (
    Weight(
        name="dlib-68-landmarks",
        source=_models("shape_predictor_68_face_landmarks.dat"),
        size=99_693_937,
        sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        licence="non-commercial: trained on iBUG 300-W",
        commercial=False,
        note="68 facial landmarks. The package says MIT, but the data set it was trained on excludes commercial use; "
        "ask Imperial College London before using it in a product.",
        address="https://github.com/davisking/dlib-models",
        used_by=("faces_dlib",),
    ),
    Weight(
        name="dlib-resnet-face",
        source=_models("dlib_face_recognition_resnet_model_v1.dat"),
        size=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        licence="CC0-1.0",
        commercial=True,
        note="ResNet with 29 convolutions, 128 numbers per face; dlib's author placed it in the public domain.",
        address="https://github.com/davisking/dlib-models",
        used_by=("faces_dlib",),
    ),
    Weight(
        name="ge2e-resemblyzer",
        source=Wheel(
            requirement="Resemblyzer==0.1.4",
            member="resemblyzer/pretrained.pt",
            sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        ),
        size=17_090_379,
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        licence="Apache-2.0",
        commercial=True,
        note="GE2E speaker encoder, 256 numbers per voice; trained on LibriSpeech, VoxCeleb1 and VoxCeleb2.",
        address="https://github.com/resemble-ai/Resemblyzer",
        used_by=("voice_ge2e",),
    ),
    Weight(
        name="silero-vad",
        source=Installed(
            distribution="silero-vad",
            version="6.2.3",
            member="silero_vad/data/silero_vad_16k.safetensors",
            extra="embedded",
        ),
        size=1_239_748,
        sha256="c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
        licence="MIT",
        commercial=True,
        note="Voice activity, one probability per 32 ms.",
        address="https://github.com/snakers4/silero-vad",
        used_by=("voice_ge2e",),
    ),
    Weight(
        name="sphinx-en-us",
        source=Folder(
            distribution="pocketsphinx",
            version="5.1.1",
            folder="pocketsphinx/model/en-us",
            members=(
                "cmudict-en-us.dict",
                "en-us/feat.params",
                "en-us/mdef",
                "en-us/means",
                "en-us/noisedict",
                "en-us/sendump",
                "en-us/transition_matrices",
                "en-us/variances",
            ),
            extra="embedded",
        ),
        size=9_883_609,
        sha256="14a825d848fb745776589823f8b93548a7480ca04467fe4d79ab700cee22c9f6",
        licence="BSD-2-Clause",
        commercial=True,
        note="American English: 42 phones in context (Gaussian mixtures, no neural network) and the CMU dictionary.",
        address="https://github.com/cmusphinx/pocketsphinx",
        used_by=("words_sphinx",),
    ),
    Weight(
        name="wavlm-large-finetune",
        source=Download(
            addresses=(
                _hub(
                    "bezzam/wavlm_large_finetune_seed_tts_eval",
                    "f127f699a44abb1c6e05f03522bd1b8c48be3184",
                    "wavlm_large_finetune.pth",
                ),
                "https://drive.usercontent.google.com/download?id=1-aE1NfzpRCLxA4GUxX9ITI3F9LlbtEGP"
                "&export=download&confirm=t",  # where UniSpeech put it; the last part answers its page about viruses
            ),
        ),
        size=1_301_926_579,
        sha256="51f07e3b94d9e0262a6a675ef5a087be3dd09e8c62e9d886827f44f82fe7f94b",
        licence="CC-BY-SA-3.0, that of its repository",
        commercial=True,
        note="WavLM-Large tuned for telling speakers apart, with the ECAPA-TDNN head trained on it (VoxCeleb1 and 2).",
        address=_UNISPEECH,
        used_by=("voice_wavlm", "voice_wavlm_pretrained"),
    ),
    Weight(
        name="wavlm-large",
        source=Download(
            addresses=(_hub("microsoft/wavlm-large", "c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c", "pytorch_model.bin"),),
        ),
        size=1_261_990_257,
        sha256="fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d",
        licence="CC-BY-SA-3.0",
        commercial=True,
        note="WavLM-Large as pre-trained on 94,000 hours of speech, without any speaker labels.",
        address="https://huggingface.co/microsoft/wavlm-large",
        used_by=("voice_wavlm_pretrained",),
    ),
    Weight(
        name="ecapa-voxceleb",
        source=Download(
            addresses=(
                _hub(
                    "speechbrain/spkrec-ecapa-voxceleb",
                    "0f99f2d0ebe89ac095bcc5903c4dd8f72b367286",
                    "embedding_model.ckpt",
                ),
            ),
        ),
        size=83_316_686,
        sha256="0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2",
        licence="Apache-2.0",
        commercial=True,
        note="ECAPA-TDNN of SpeechBrain, 192 numbers per voice; trained on VoxCeleb1 and 2.",
        address="https://huggingface.co/speechbrain/spkrec-ecapa-voxceleb",
        used_by=("voice_ecapa",),
    ),
    Weight(
        name="clap-htsat-unfused",
        source=Download(addresses=(_hub(*_CLAP, "pytorch_model.bin"),)),
        size=614_525_833,
        sha256="1cd3c601bc4afe0fa87be3de4c13dd2cfadd249fac1e29acf74a9b296c3219bb",
        licence="Apache-2.0",
        commercial=True,
        note="LAION's CLAP: sounds (HTSAT-tiny, 48 kHz) and sentences (RoBERTa) in one space of 512 numbers.",
        address="https://huggingface.co/laion/clap-htsat-unfused",
        used_by=("clap_sound", "clap_sound_16k", "clap_text", "clap_text_authors"),
    ),
    Weight(
        name="clap-tokenizer",
        source=Download(addresses=(_hub(*_CLAP, "tokenizer.json"),)),
        size=2_108_746,
        sha256="77ef92283d67f0d97e1454909a964afcbfa2019f0fb9f18f8e88d5c25c3ba729",
        licence="Apache-2.0",
        commercial=True,
        note="How CLAP splits sentences into tokens.",
        address="https://huggingface.co/laion/clap-htsat-unfused",
        used_by=("clap_text", "clap_text_authors"),
    ),
    Weight(
        name="whisper-large-v3",
        source=Download(addresses=(_hub(*_WHISPER, "model.safetensors"),)),
        size=3_087_130_976,
        sha256="a8e94b85976e5864ba3e9525c7e6c83b2a1eca42d4b797a0c7c24d778e40fd95",
        licence="Apache-2.0, or MIT as OpenAI's repository says",
        commercial=True,
        note="Whisper large-v3: speech to text, 1.5 billion numbers in float16.",
        address="https://huggingface.co/openai/whisper-large-v3",
        used_by=_WORDS,
    ),
    Weight(
        name="whisper-tokenizer",
        source=Download(addresses=(_hub(*_WHISPER, "tokenizer.json"),)),
        size=2_480_617,
        sha256="6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
        licence="Apache-2.0, or MIT as OpenAI's repository says",
        commercial=True,
        note="The tokens that Whisper large-v3 writes.",
        address="https://huggingface.co/openai/whisper-large-v3",
        used_by=_WORDS,
    ),
    Weight(
        name="whisper-normalizer",
        source=Download(addresses=(_hub(*_WHISPER, "normalizer.json"),)),
        size=0,
        sha256="",
        licence="Apache-2.0, or MIT as OpenAI's repository says",
        commercial=True,
        note="British spellings and their American ones, which Whisper's English normaliser maps onto each other.",
        address="https://huggingface.co/openai/whisper-large-v3",
        about_bytes=53_000,
        used_by=("wording_whisper", "words_whisper"),
    ),
    Weight(
        name="scrfd-10g",
        source=_buffalo("det_10g.onnx"),
        size=16_923_827,
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        licence=_INSIGHTFACE.licence,
        commercial=False,
        note="SCRFD-10GF: finds faces and five points of each.",
        address="https://github.com/deepinsight/insightface/tree/master/model_zoo",
        used_by=_FACES,
        terms=(_INSIGHTFACE,),
    ),
    Weight(
        name="arcface-r50",
        source=_buffalo("w600k_r50.onnx"),
        size=174_383_860,
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        licence=_INSIGHTFACE.licence,
        commercial=False,
        note="ArcFace, ResNet-50 trained on WebFace600K: 512 numbers per face.",
        address="https://github.com/deepinsight/insightface/tree/master/model_zoo",
        used_by=_FACES,
        terms=(_INSIGHTFACE,),
    ),
    Weight(
        name="landmarks-1k3d68",
        source=_buffalo("1k3d68.onnx"),
        size=143_607_619,
        sha256="df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc",
        licence=_INSIGHTFACE.licence,
        commercial=False,
        note="68 landmarks of a face in three dimensions.",
        address="https://github.com/deepinsight/insightface/tree/master/model_zoo",
        used_by=_FACES,
        terms=(_INSIGHTFACE,),
    ),
    Weight(
        name="syncnet-v2",
        source=Download(
            addresses=(
                f"{_OXFORD}/syncnet_v2.model",
                _hub("lithiumice/syncnet", "345f55fc8d94d74437095b34158c68645e113c01", "syncnet_v2.model"),
            ),
        ),
        size=54_573_114,
        sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        licence=_SYNCNET.licence,
        commercial=False,
        note="SyncNet: lips of five frames and the sound heard with them in one space of 1024 numbers.",
        address="https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        used_by=("lips_syncnet", "lips_syncnet_every8", "sound_syncnet", "sync_compat"),
        terms=(_SYNCNET,),
    ),
    Weight(
        name="s3fd",
        source=Download(
            addresses=(
                f"{_OXFORD}/sfd_face.pth",
                _hub("lithiumice/syncnet", "345f55fc8d94d74437095b34158c68645e113c01", "sfd_face.pth"),
            ),
        ),
        size=89_844_381,
        sha256="d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
        licence=_SYNCNET.licence,
        commercial=False,
        note="S3FD, the face detector of the published SyncNet pipeline; trained on WIDER FACE.",
        address="https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        used_by=_SYNC,
        terms=(_SYNCNET,),
    ),
    Weight(
        name="ltx-2",
        source=_model("Lightricks/LTX-2", folders=(_UPSAMPLER,)),
        size=0,
        sha256="",
        licence=_WITH_GEMMA,
        commercial=False,
        note="LTX-2 19B: transformer, text encoder (Gemma 3 12B), codecs of picture and sound, upsampler.",
        address="https://huggingface.co/Lightricks/LTX-2",
        about_bytes=70_000_000_000,
        used_by=("idlora", "idlora-onestage", "ltx-zeroshot", "just-dub-it"),
        terms=(_LTX, _GEMMA),
    ),
    Weight(
        name="ltx-2.3",
        source=_model(
            "diffusers/LTX-2.3-Diffusers", ((_UPSAMPLER, "rootonchair/LTX-2.3-spatial-upscaler-x2-v1.1-Diffusers"),)
        ),
        size=0,
        sha256="",
        licence=_WITH_GEMMA,
        commercial=False,
        note="LTX-2.3 22B, as ltx-2. Its upsampler comes from another repository, whose owner converted "
        "ltx-2.3-spatial-upscaler-x2-1.1.safetensors of Lightricks/LTX-2.3: that of Lightricks is not in this layout.",
        address="https://huggingface.co/diffusers/LTX-2.3-Diffusers",
        about_bytes=76_000_000_000,
        used_by=("idlora-2.3",),
        terms=(_LTX, _GEMMA),
    ),
    Weight(
        name="ltx-2.3-distilled",
        source=_model("rootonchair/LTX-2.3-Distilled-v1.1-Diffusers"),
        size=0,
        sha256="",
        licence=_WITH_GEMMA,
        commercial=False,
        note="LTX-2.3 22B, distilled: few steps and no guidance. Lightricks published it as one file, "
        "ltx-2.3-22b-distilled-1.1.safetensors of Lightricks/LTX-2.3, which the owner of this repository converted.",
        address="https://huggingface.co/rootonchair/LTX-2.3-Distilled-v1.1-Diffusers",
        about_bytes=75_000_000_000,
        used_by=("audio-ic-lora",),
        terms=(_LTX, _GEMMA),
    ),
    _adapter(
        "ltx-2-distilled-lora",
        "Lightricks/LTX-2",
        "ltx-2-19b-distilled-lora-384.safetensors",
        licence=_LTX.licence,
        note="What stage two adds to LTX-2 19B: few steps and no guidance.",
        about_bytes=7_600_000_000,
        used_by=("idlora", "ltx-zeroshot", "just-dub-it"),
        terms=(_LTX,),
    ),
    _adapter(
        "ltx-2.3-distilled-lora",
        "Lightricks/LTX-2.3",
        "ltx-2.3-22b-distilled-lora-384.safetensors",
        licence=_LTX.licence,
        note="What stage two adds to LTX-2.3.",
        about_bytes=7_600_000_000,
        used_by=("idlora-2.3",),
        terms=(_LTX,),
    ),
    _adapter(
        "id-lora-celebvhq",
        "AviadDahan/ID-LoRA-CelebVHQ",
        "lora_weights.safetensors",
        licence=_RESEARCH,
        note="ID-LoRA for LTX-2 19B, trained on CelebV-HQ for 6000 steps; rank 128.",
        about_bytes=1_160_000_000,
        used_by=("idlora", "idlora-onestage"),
        terms=(_ID_LORA, _LTX),
    ),
    _adapter(
        "id-lora-talkvid",
        "AviadDahan/ID-LoRA-TalkVid",
        "lora_weights.safetensors",
        licence=_RESEARCH,
        note="ID-LoRA for LTX-2 19B, trained on TalkVid for 6000 steps; rank 128.",
        about_bytes=1_160_000_000,
        used_by=("idlora", "idlora-onestage"),
        terms=(_ID_LORA, _LTX),
    ),
    _adapter(
        "id-lora-2.3-celebvhq",
        "AviadDahan/LTX-2.3-ID-LoRA-CelebVHQ-3K",
        "lora_weights.safetensors",
        licence=_RESEARCH,
        note="ID-LoRA for LTX-2.3, trained on CelebV-HQ for 3000 steps; rank 128.",
        about_bytes=1_160_000_000,
        used_by=("idlora-2.3",),
        terms=(_ID_LORA, _LTX),
    ),
    _adapter(
        "id-lora-2.3-talkvid",
        "AviadDahan/LTX-2.3-ID-LoRA-TalkVid-3K",
        "lora_weights.safetensors",
        licence=_RESEARCH,
        note="ID-LoRA for LTX-2.3, trained on TalkVid for 3000 steps; rank 128.",
        about_bytes=1_160_000_000,
        used_by=("idlora-2.3",),
        terms=(_ID_LORA, _LTX),
    ),
    _adapter(
        "just-dub-it",
        "justdubit/justdubit",
        "ltx-2-19b-ic-lora-lipdubbing.safetensors",
        licence=_OF_ITS_BASE,
        note="Just-Dub-It for LTX-2 19B, trained for 2000 steps on clips that LTX-2 made; rank 128. Its repository may "
        "have conditions of its own: agree to them there, and if it does not answer here, download it with a browser.",
        about_bytes=2_470_000_000,  # by rank and layers
        used_by=("just-dub-it",),
        terms=(_LTX,),
    ),
    _adapter(
        "audio-ic-lora-cross-modal",
        "fbjr/LTX-2.3-22b-IC-LoRA-Audio-Only-Context",
        "cross_modal_step_01000.safetensors",
        licence=_OF_ITS_BASE,
        note="A voice in the context of LTX-2.3 distilled; layers of sound and bridges; rank 32.",
        about_bytes=290_000_000,
        used_by=("audio-ic-lora",),
        terms=(_LTX,),
    ),
    _adapter(
        "audio-ic-lora-audio-only",
        "fbjr/LTX-2.3-22b-IC-LoRA-Audio-Only-Context",
        "audio_only_step_01000.safetensors",
        licence=_OF_ITS_BASE,
        note="The same with layers of sound alone.",
        about_bytes=164_000_000,
        used_by=("audio-ic-lora",),
        terms=(_LTX,),
    ),
)

WEIGHTS: dict[str, Weight] = {weight.name: weight for weight in _ALL}
