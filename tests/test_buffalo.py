"""The networks of insightface's buffalo_l: files, geometry, policies and scales; with tiny files and with rule-built networks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from avbench import weights
from avbench.errors import UsageError, WeightsError
from avbench.extract import faces_buffalo
from avbench.extract.engine import CPU, Engine
from avbench.extract.faces_buffalo import (
    FACES_BUFFALO,
    FACES_BUFFALO_AUTHORS,
    Networks,
    authors_faces,
    authors_frames,
    community_faces,
    faces_of,
    faces_of_authors,
    fill_boxes,
)
from avbench.extract.nets import arcface, landmarks68, onnx_file
from avbench.extract.nets.arcface import align, load_arcface, similarity, untrained_arcface
from avbench.extract.nets.landmarks68 import crop, load_landmarks, onto_frame, untrained_landmarks
from avbench.extract.nets.onnx_file import first_operators, fits, open_onnx
from avbench.extract.nets.scrfd import (
    Canvas,
    Detections,
    decode,
    letterbox,
    load_scrfd,
    suppress,
    untrained_scrfd,
)
from avbench.extract.nets.warp import warp
from avbench.features import Faces, Features
from avbench.metric import Measured, Metric, Sample, Unmeasurable
from avbench.metrics.face_identity import (
    FACE_SIM,
    FACE_SIM_AUTHORS,
    FACE_SIM_NO_FIRST,
    FACE_SIM_NO_FIRST_AUTHORS,
    FACE_SIM_REF,
    FACE_SIM_REF_AUTHORS,
    face_identity,
    require_any,
)
from avbench.metrics.landmarks import face_height, inner_opening
from avbench.metrics.lip_motion import (
    LIP_MOTION,
    LIP_MOTION_AUTHORS,
    NORMS,
    bridged,
    mouth_motion,
)
from avbench.split import Prompt

from .golden import frames as striped
from .golden import golden, unit

UNTRAINED = Engine(untrained=True)
Build = Callable[[Path], Path]


# Tiny files ------------------------------------------------------------------------------------------------------


def tensor(name: str, values: Any, kind: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def random(name: str, *shape: int) -> onnx.TensorProto:
    return tensor(name, unit(name, math.prod(shape)).reshape(shape) / math.sqrt(math.prod(shape[1:])))


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    numbers: Sequence[onnx.TensorProto],
) -> Path:
    def declared(shapes: Mapping[str, Sequence[int | str]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    graph = helper.make_graph(list(nodes), "tiny", declared(inputs), declared(outputs), initializer=list(numbers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def regressor(
    path: Path,
    side: int,
    width: int,
    own_scale: float | None = None,
    batch: int | str = "N",
) -> Path:
    """(N, 3, side, side) → (N, width): pooled to 4 × 4, then linear. With `own_scale` it expects 0 to 255."""
    nodes, numbers, at = [], [], "data"
    if own_scale is not None:
        nodes += [helper.make_node("Sub", ["data", "mean"], ["centred"], name="_minusscalar0")]
        nodes += [helper.make_node("Mul", ["centred", "factor"], ["scaled"], name="_mulscalar0")]
        numbers += [tensor("mean", 127.5), tensor("factor", 1 / own_scale)]
        at = "scaled"
    nodes += [
        helper.make_node("AveragePool", [at], ["pooled"], kernel_shape=[side // 4] * 2, strides=[side // 4] * 2),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", f"linear{width}"], ["fc1"]),
    ]
    numbers += [random(f"linear{width}", 48, width)]
    return saved(path, nodes, {"data": (batch, 3, side, side)}, {"fc1": (batch, width)}, numbers)


def recogniser(path: Path) -> Path:
    return regressor(path, 112, 512)


def landmarker(path: Path) -> Path:
    return regressor(path, 192, 3309, own_scale=128)


HEADS = {"score": 1, "box": 4, "points": 10}
ORDER = [(head, stride) for head in HEADS for stride in (8, 16, 32)]


def detector(
    path: Path,
    order: Sequence[tuple[str, int]] = ORDER,
    spot: bool = False,
    batched: bool = False,
    points: int = 10,
) -> Path:
    """As det_10g: per stride cells are pooled and go through 1 × 1 convolutions; here the outputs stand in any order.

    Random, with few scores above 0.3; or, as `spot`, sure of a face where a cell of 32 pixels is brighter than grey.
    """
    nodes, numbers, outputs = [], [], {}
    for head, stride in order:
        count = {**HEADS, "points": points}[head]
        name = f"{head}{stride}"
        kernel = random(f"{name}.weight", 2 * count, 3, 1, 1)
        bias = tensor(f"{name}.bias", unit(f"{name}.bias", 2 * count) + (-3.2 if head == "score" else 2.5))
        if spot:
            strength = 20 if head == "score" and stride == 32 else 0
            kernel = tensor(f"{name}.weight", np.full((2 * count, 3, 1, 1), strength / 3))
            bias = tensor(f"{name}.bias", np.full(2 * count, -5 if head == "score" else 1.0))
        nodes += [
            helper.make_node(
                "AveragePool", ["input.1"], [f"{name}.p"], kernel_shape=[stride] * 2, strides=[stride] * 2
            ),
            helper.make_node("Conv", [f"{name}.p", f"{name}.weight", f"{name}.bias"], [f"{name}.c"]),
            helper.make_node("Transpose", [f"{name}.c"], [f"{name}.t"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{name}.t", f"{name}.shape"], [f"{name}.r"]),
            helper.make_node("Sigmoid" if head == "score" else "Identity", [f"{name}.r"], [name]),
        ]
        numbers += [kernel, bias, tensor(f"{name}.shape", [1, -1, count] if batched else [-1, count], np.int64)]
        rows = 2 * (640 // stride) ** 2  # as the real file declares, for whatever size it is given
        outputs[name] = (1, rows, count) if batched else (rows, count)
    return saved(path, nodes, {"input.1": (1, 3, "h", "w")}, outputs, numbers)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    frame: NDArray[np.uint8] = striped(1, height, width)[0]
    return frame


# Golden values ---------------------------------------------------------------------------------------------------


def test_five_points_give_the_transform_and_crop_of_insightface() -> None:
    expected = golden("misc")["arcface_norm_crop"]
    points = np.array(expected["kps_x_y"], np.float32)
    np.testing.assert_allclose(arcface.TEMPLATE, expected["template_112"], atol=1e-5)
    np.testing.assert_allclose(similarity(points), expected["M_2x3"], rtol=1e-5, atol=1e-5)
    cut = align(picture(512, 512), points)
    assert cut.sum(dtype=int) == pytest.approx(expected["crop_u8_sum"], rel=1e-5)
    np.testing.assert_array_equal(cut[56, 56], expected["px_56_56"])
    row = (cut[56, :4, 2].astype(np.float32) - np.float32(127.5)) * np.float32(1 / 127.5)
    np.testing.assert_allclose(row, expected["blob_first4_R_row56"], atol=1e-5)


def test_a_box_gives_the_landmark_crop_of_insightface() -> None:
    expected = golden("misc")["landmark_192_crop"]
    cut, onto_crop = crop(picture(512, 512), np.array(expected["bbox"], np.float32))
    np.testing.assert_allclose(onto_crop, expected["M"], rtol=1e-5, atol=1e-5)
    assert cut.sum(dtype=int) == pytest.approx(expected["u8_sum"], rel=1e-5)


def test_insightface_gave_these_numbers_for_the_same_tiny_files(tmp_path: Path) -> None:
    """Version 2.1 with OpenCV 5.0.0, onnxruntime 1.31.1, on the CPU; detection at 320 pixels, score 0.3."""
    found = load_scrfd(detector(tmp_path / "det_10g.onnx"), CPU)(picture(361, 641), Canvas(320, 320), 0.3)
    assert len(found.boxes) == 108
    boxes = [
        [11.223673820495605, 9.744396209716797, 45.657257080078125, 89.64199829101562],
        [91.88652801513672, 90.17424011230469, 125.98866271972656, 169.4784393310547],
        [252.5247039794922, 42.13379669189453, 286.47442626953125, 121.1751708984375],
    ]
    points = [
        [41.338191986083984, 120.62440490722656],
        [47.73262405395508, 90.70377349853516],
        [82.39749145507812, 108.34091186523438],
        [100.71802520751953, 126.90277099609375],
        [73.8538818359375, 116.55583953857422],
    ]
    np.testing.assert_allclose(found.boxes[:3], boxes, atol=1e-3)
    np.testing.assert_allclose(
        found.scores[:3], [0.3194546401500702, 0.3194541037082672, 0.31935834884643555], atol=1e-6
    )
    np.testing.assert_allclose(found.points[0], points, atol=1e-3)

    frame = picture(512, 512)
    cut = align(frame, np.array(golden("misc")["arcface_norm_crop"]["kps_x_y"], np.float32))
    embedding = load_arcface(recogniser(tmp_path / "w600k_r50.onnx"), CPU)(cut[None])[0]
    first = [0.005608286242932081, 0.0030849312897771597, 0.004804248921573162, 0.0020734223071485758]
    np.testing.assert_allclose(embedding[:4], first, atol=1e-5)

    cut, onto_crop = crop(frame, np.array([180, 150, 340, 420], np.float32))
    landmarks = onto_frame(load_landmarks(landmarker(tmp_path / "1k3d68.onnx"), CPU)(cut[None])[0], onto_crop)
    near = [[259.8429870605469, 285.09527587890625], [260.45880126953125, 285.16790771484375]]
    np.testing.assert_allclose(landmarks[:2], near, atol=2e-3)


# Files -----------------------------------------------------------------------------------------------------------


def test_the_first_operators_are_those_that_the_onnx_package_reads(tmp_path: Path) -> None:
    for path in (landmarker(tmp_path / "a.onnx"), recogniser(tmp_path / "b.onnx"), detector(tmp_path / "c.onnx")):
        nodes = onnx.load(str(path)).graph.node
        assert first_operators(path, 8) == [(node.op_type, node.name) for node in nodes[:8]]
        assert len(first_operators(path, 1000)) == len(nodes)


@pytest.mark.parametrize(
    ("side", "width", "scale", "load"), [(112, 512, 127.5, load_arcface), (192, 3309, 128.0, load_landmarks)]
)
def test_a_file_that_scales_its_input_itself_is_given_pixels(
    side: int, width: int, scale: float, load: Callable[[Path, Engine], Callable[..., Any]], tmp_path: Path
) -> None:
    crops = striped(3, side, side)
    plain = load(regressor(tmp_path / "plain.onnx", side, width), CPU)(crops)
    scaling = load(regressor(tmp_path / "scaling.onnx", side, width, own_scale=scale), CPU)(crops)
    np.testing.assert_allclose(plain, scaling, atol=1e-3)
    assert float(np.ptp(plain)) > 0.1


def test_embeddings_and_landmarks_are_the_networks_numbers(tmp_path: Path) -> None:
    crops = striped(2, 192, 192)
    pooled = crops.reshape(2, 4, 48, 4, 48, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(2, 48)
    raw = (pooled - 127.5) / 128 @ unit("linear3309", 48 * 3309).reshape(48, 3309) / math.sqrt(3309)
    expected = 96 * (raw.reshape(2, 1103, 3)[:, 1035:, :2] + 1)
    np.testing.assert_allclose(load_landmarks(landmarker(tmp_path / "l.onnx"), CPU)(crops), expected, atol=1e-3)

    small = striped(2, 112, 112)
    pooled = small.reshape(2, 4, 28, 4, 28, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(2, 48)
    raw = (pooled - 127.5) / 127.5 @ unit("linear512", 48 * 512).reshape(48, 512) / math.sqrt(512)
    np.testing.assert_allclose(load_arcface(recogniser(tmp_path / "e.onnx"), CPU)(small), raw, atol=1e-4)


def test_a_face_has_the_same_embedding_whatever_stands_beside_it(tmp_path: Path) -> None:
    embed, crops = load_arcface(recogniser(tmp_path / "e.onnx"), CPU), striped(5, 112, 112)
    together = embed(crops)
    assert np.array_equal(together, np.concatenate([embed(crops[i : i + 1]) for i in range(5)]))
    assert embed(crops[:0]).shape == (0, 512)


def test_chunks_of_an_accelerator_give_every_item_its_own_answer(tmp_path: Path) -> None:
    network = open_onnx(recogniser(tmp_path / "e.onnx"), CPU, (None, 3, 112, 112))
    items = np.asarray(striped(6, 112, 112).transpose(0, 3, 1, 2) / 255, np.float32)
    alone = network.each(items, 512)
    network.at_once = 4
    np.testing.assert_allclose(network.each(items, 512), alone, atol=1e-5)
    assert len(np.unique(alone[:, 0])) == 6


def test_files_that_fix_their_batch_at_one_work_too(tmp_path: Path) -> None:
    crops = striped(3, 112, 112)
    fixed = load_arcface(regressor(tmp_path / "one.onnx", 112, 512, batch=1), CPU)(crops)
    assert np.array_equal(fixed, load_arcface(recogniser(tmp_path / "any.onnx"), CPU)(crops))


def test_shapes_fit_where_both_name_a_length_it_is_the_same() -> None:
    assert fits((1, "any", 4), (None, 3, 4))
    assert not fits((1, 2, 4), (None, 3, 4))
    assert not fits((1, 4), (1, 4, 1))


WRONG: dict[str, tuple[Callable[[Path, Engine], object], Build, str]] = {
    "crop": (
        load_arcface,
        lambda path: regressor(path, 128, 512),
        r"\(any, 3, 128, 128\); expected .*\(any, 3, 112, 112\)",
    ),
    "width": (load_arcface, lambda path: regressor(path, 112, 256), r"\(any, 256\); expected \(any, 512\)"),
    "106 points": (load_landmarks, lambda path: regressor(path, 192, 212), r"\(any, 212\); expected \(any, 3309\)"),
    "a detector": (load_arcface, detector, r"outputs \(12800, 1\), .*; expected \(any, 512\)"),
    "an embedder": (load_scrfd, recogniser, r"found 1 outputs of \[512\] numbers per anchor; expected 9"),
    "no points": (
        load_scrfd,
        lambda path: detector(path, [(head, stride) for head in ("score", "box") for stride in (8, 16, 32)]),
        "found 6 outputs",
    ),
    "other points": (load_scrfd, lambda path: detector(path, points=8), r"8, 8, 8\] numbers per anchor; expected 9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_network_is_refused_with_what_was_found_and_expected(case: str, tmp_path: Path) -> None:
    load, build, message = WRONG[case]
    path = build(tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match=message) as refused:
        load(path, CPU)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("load", [load_scrfd, load_arcface, load_landmarks])
@pytest.mark.parametrize("kept", [0, 1, 60, 2000])
def test_a_torn_file_is_refused(load: Callable[[Path, Engine], object], kept: int, tmp_path: Path) -> None:
    whole = recogniser(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "torn.onnx"
    path.write_bytes(whole[:kept])
    with pytest.raises(WeightsError, match=r"torn\.onnx"):
        load(path, CPU)
    if kept == 2000:  # the graph does not end
        with pytest.raises(WeightsError, match="not an ONNX file"):
            first_operators(path, 8)


def test_a_detector_whose_strides_do_not_belong_together_is_refused_when_it_answers(tmp_path: Path) -> None:
    order = [(head, stride) for head in HEADS for stride in (8, 16, 64)]
    detect = load_scrfd(detector(tmp_path / "net.onnx", order), CPU)
    with pytest.raises(WeightsError, match=r"for a square of 320 pixels; expected .*\(200, 1\)"):
        detect(picture(100, 100), Canvas(320, 320), 0.5)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = recogniser(tmp_path / "net.onnx")
    model = onnx.load(str(path))
    model.graph.initializer[0].CopyFrom(tensor("linear512", np.full((48, 512), np.inf)))
    onnx.save(model, str(path))
    with pytest.raises(WeightsError, match="infinite or missing numbers; expected finite"):
        load_arcface(path, CPU)(striped(1, 112, 112))


def test_a_device_that_the_runtime_cannot_start_is_not_replaced_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "providers", lambda engine: [("CUDAExecutionProvider", {}), "CPUExecutionProvider"])
    path = recogniser(tmp_path / "net.onnx")
    with (
        pytest.warns(UserWarning, match="provider"),
        pytest.raises(UsageError, match="could not start CUDAExecutionProvider"),
    ):
        load_arcface(path, CPU)


# Detection -------------------------------------------------------------------------------------------------------


def slow_faces(
    outputs: Sequence[NDArray[np.float32]], side: int, least: float
) -> list[tuple[float, list[float], list[float]]]:
    """Score, box and points of each face, best first: cell by cell, anchor by anchor, box against box."""
    found = []
    for level, stride in enumerate((8, 16, 32)):
        row = 0
        for y in range(side // stride):
            for x in range(side // stride):
                for _ in range(2):
                    score = float(outputs[level][row, 0])
                    if score >= least:
                        cx, cy = x * stride, y * stride
                        sides = [stride * float(d) for d in outputs[level + 3][row]]
                        flat = [stride * float(p) + (cx, cy)[i % 2] for i, p in enumerate(outputs[level + 6][row])]
                        found.append((score, [cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3]], flat))
                    row += 1
    found.sort(key=lambda face: -face[0])
    kept: list[tuple[float, list[float], list[float]]] = []
    for face in found:
        if all(slow_overlap(face[1], other[1]) <= 0.4 for other in kept):
            kept.append(face)
    return kept


def slow_overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of boxes whose last pixels belong to them."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]) + 1)
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def random_outputs(side: int, seed: int) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    rows = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
    spans = {1: (0, 1), 4: (0.5, 4), 10: (-3, 3)}
    return [generator.uniform(*spans[count], size=(n, count)).astype(np.float32) for count in (1, 4, 10) for n in rows]


@pytest.mark.parametrize(("side", "seed"), [(32, 1), (64, 2), (160, 3)])
def test_decoding_and_suppression_equal_a_slow_implementation(side: int, seed: int) -> None:
    outputs = random_outputs(side, seed)
    faces, expected = suppress(decode(outputs, side, 0.8)), slow_faces(outputs, side, 0.8)
    assert len(expected) > 3
    np.testing.assert_allclose(faces.scores, [score for score, _, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(faces.boxes, [box for _, box, _ in expected], atol=1e-3)
    np.testing.assert_allclose(faces.points.reshape(-1, 10), [flat for _, _, flat in expected], atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 60)] * 2), max_size=12), st.integers(0, 99))
def test_suppression_leaves_no_two_boxes_of_one_face_and_loses_none(
    corners: list[tuple[int, int, int, int]], seed: int
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(-1, 4)
    scores = np.random.default_rng(seed).uniform(size=len(boxes)).astype(np.float32)
    faces = suppress(Detections(boxes, scores, np.zeros((len(boxes), 5, 2), np.float32)))
    assert np.all(np.diff(faces.scores) <= 0)
    kept = faces.boxes.tolist()
    assert all(slow_overlap(one, other) <= 0.4 + 1e-6 for i, one in enumerate(kept) for other in kept[:i])
    assert all(box in kept or any(slow_overlap(box, other) > 0.4 - 1e-6 for other in kept) for box in boxes.tolist())


def test_nothing_above_the_threshold_is_no_face() -> None:
    faces = suppress(decode(random_outputs(64, 4), 64, 1.5))
    assert (faces.boxes.shape, faces.scores.shape, faces.points.shape) == ((0, 4), (0,), (0, 5, 2))


@pytest.mark.parametrize("batched", [False, True])
def test_the_order_of_a_files_outputs_does_not_matter(batched: bool, tmp_path: Path) -> None:
    order = [(head, stride) for stride in (32, 8, 16) for head in ("points", "score", "box")]
    frame, canvas = picture(97, 131), Canvas(320, 320)
    one = load_scrfd(detector(tmp_path / "a.onnx"), CPU)(frame, canvas, 0.3)
    other = load_scrfd(detector(tmp_path / "b.onnx", order, batched=batched), CPU)(frame, canvas, 0.3)
    assert len(one.boxes) > 3
    for left, right in zip(one, other, strict=True):
        assert np.array_equal(left, right)


@pytest.mark.parametrize(
    ("height", "width", "canvas", "high", "wide", "left", "top"),
    [
        (512, 512, Canvas(640, 640), 640, 640, 0, 0),
        (361, 641, Canvas(320, 320), 180, 320, 0, 0),  # 180.2…
        (641, 361, Canvas(320, 320), 320, 180, 0, 0),
        (1, 1000, Canvas(320, 320), 1, 320, 0, 0),  # 0.32
        (1000, 3, Canvas(640, 640), 640, 1, 0, 0),
        (101, 77, Canvas(320, 160), 160, 121, 99, 80),  # 121.98…
    ],
)
def test_a_frame_of_any_shape_lies_on_the_square_as_insightface_rounds(
    height: int, width: int, canvas: Canvas, high: int, wide: int, left: int, top: int
) -> None:
    square, scale, x, y = letterbox(np.full((height, width, 3), 200, np.uint8), canvas)
    assert square.shape == (canvas.side, canvas.side, 3)
    assert (x, y) == (left, top)
    assert scale == high / height
    rows, columns = np.nonzero(square[..., 0])
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (top, top + high, left, left + wide)
    assert np.all(square[rows, columns] == 200)


@pytest.mark.parametrize("canvas", [Canvas(640, 640), Canvas(320, 320), Canvas(320, 160)])
@pytest.mark.parametrize(("height", "width"), [(301, 457), (457, 301)])
def test_a_face_is_found_where_it_is_on_every_canvas(canvas: Canvas, height: int, width: int, tmp_path: Path) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    middle = np.array([0.7 * width, 0.4 * height])
    left, top, right, bottom = (int(v) for v in (*(middle - 60), *(middle + 60)))
    frame[top:bottom, left:right] = 255
    faces = load_scrfd(detector(tmp_path / "spot.onnx", spot=True), CPU)(frame, canvas, 0.5)
    cell = 32 * max(height, width) / canvas.reach  # pixels of the frame
    assert len(faces.boxes)
    boxes = faces.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + cell / 2  # a cell answers from its corner
    assert np.all(np.abs(centres - middle) <= 60 + cell)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 2 * cell, rtol=0.02)
    np.testing.assert_allclose(faces.points, np.repeat(boxes[:, None, 2:], 5, axis=1), atol=1e-2)
    assert 255 > frame[0, 0, 0] == 0


# Geometry --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.floats(0.2, 5), st.floats(-3.1, 3.1), st.floats(-300, 300), st.floats(-300, 300))
def test_points_that_are_the_template_moved_come_back_to_it(scale: float, turn: float, x: float, y: float) -> None:
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    template = np.array(arcface.TEMPLATE)
    moved = scale * template @ rotation.T + [x, y]
    back = similarity(moved.astype(np.float32))
    np.testing.assert_allclose(moved @ back[:, :2].T + back[:, 2], template, atol=2e-2)
    assert np.linalg.det(back[:, :2]) > 0


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.booleans())
def test_the_transform_has_the_least_squares_of_all_similarities(seed: int, mirrored: bool) -> None:
    noise = np.random.default_rng(seed).normal(0, 20, size=(5, 2))
    points = (np.array(arcface.TEMPLATE) * ([-1, 1] if mirrored else [1, 1]) + noise).astype(np.float32)
    x, y = points.astype(float).T
    one, none = np.ones(5), np.zeros(5)
    # (a, -b; b, a) and a shift: without mirrors, similarities of the plane are linear in four numbers.
    system = np.concatenate([np.stack([x, -y, one, none], axis=1), np.stack([y, x, none, one], axis=1)])
    a, b, right, down = np.linalg.lstsq(system, np.array(arcface.TEMPLATE).T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(points), [[a, -b, right], [b, a, down]], atol=1e-4)


def test_a_crop_is_bilinear_and_black_outside_of_the_frame() -> None:
    frame = picture(30, 40)
    onto = np.array([[0.4, -0.3, 3.0], [0.3, 0.4, -2.0]])  # half as large, turned
    cut = warp(frame, onto, 20)
    back = np.linalg.inv(onto[:, :2])
    outside = 0
    for row in range(20):
        for column in range(20):
            x, y = back @ ([column, row] - onto[:, 2])
            value = np.zeros(3)
            for v in (math.floor(y), math.floor(y) + 1):
                for u in (math.floor(x), math.floor(x) + 1):
                    if 0 <= u < 40 and 0 <= v < 30:
                        value += (1 - abs(x - u)) * (1 - abs(y - v)) * frame[v, u]
            outside += not value.any()
            np.testing.assert_allclose(cut[row, column], value, atol=0.5 + 1e-9)
    assert 20 < outside < 380
    assert not warp(frame, np.array([[1.0, 0, 1e9], [0, 1, -1e9]]), 8).any()


def test_alignment_never_mirrors_and_stays_finite_on_one_point() -> None:
    mirrored = np.array(arcface.TEMPLATE, np.float32) * [-1, 1]
    assert np.linalg.det(similarity(mirrored.astype(np.float32))[:, :2]) > 0
    assert np.isfinite(similarity(np.full((5, 2), 7, np.float32))).all()
    assert align(picture(50, 50), np.full((5, 2), 7, np.float32)).shape == (112, 112, 3)


def test_points_go_back_to_the_frame_that_they_were_found_in() -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[100:104, 200:204] = 255
    cut, onto_crop = crop(frame, np.array([150, 60, 250, 180], np.float32))
    rows, columns = np.nonzero(cut[..., 0] > 127)
    spot = np.array([[columns.mean(), rows.mean()]], np.float32)
    np.testing.assert_allclose(onto_frame(spot, onto_crop), [[201.5, 101.5]], atol=0.5)


# Policies --------------------------------------------------------------------------------------------------------


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    points = np.stack(
        [corners[:, [0, 1]] + (corners[:, [2, 3]] - corners[:, [0, 1]]) * f for f in (0.3, 0.4, 0.5, 0.6, 0.7)]
    )
    return Detections(corners, np.ones(len(corners), np.float32), points.transpose(1, 0, 2))


def numbered(count: int) -> NDArray[np.uint8]:
    """Frames of 64 × 96, each of one grey: its index."""
    return np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None], (1, 64, 96, 3))


def networks(detect: Callable[[int, Canvas, float], Detections]) -> Networks:
    """With a detector that is told the index of a numbered frame."""
    return Networks(
        lambda frame, canvas, threshold: detect(int(frame[0, 0, 0]), canvas, threshold),
        untrained_arcface(),
        untrained_landmarks(),
    )


BOX = (10.0, 10.0, 50.0, 60.0)


def test_the_community_tries_640_then_320_then_160_with_a_border() -> None:
    asked: list[tuple[int, int, int, float]] = []
    found_at = {0: (640, 640), 1: (320, 320), 2: (320, 160), 3: None}

    def detect(index: int, canvas: Canvas, threshold: float) -> Detections:
        asked.append((index, *canvas, threshold))
        return detections(BOX) if found_at[index] == tuple(canvas) else detections()

    faces = community_faces(numbered(4), networks(detect))
    order = [(640, 640), (320, 320), (320, 160)]
    tried = [(0, 1), (1, 2), (2, 3), (3, 3)]
    assert asked == [(index, *square, 0.5) for index, count in tried for square in order[:count]]
    assert faces.detected.tolist() == [True, True, True, False]
    assert faces.sampled.all()
    np.testing.assert_array_equal(faces.boxes[3], BOX)


def test_the_authors_look_once_at_320_with_a_score_of_three_tenths() -> None:
    asked = []

    def detect(index: int, canvas: Canvas, threshold: float) -> Detections:
        asked.append((index, canvas.side, canvas.reach, threshold))
        return detections()

    faces = authors_faces(numbered(2), networks(detect))
    assert asked == [(0, 320, 320, 0.3), (1, 320, 320, 0.3)]
    assert not faces.detected.any()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(121, [0, 30, 60, 90, 120]), (120, [0, 29, 59, 89, 119]), (5, [0, 1, 2, 3, 4]), (3, [0, 1, 2]), (1, [0])],
)
def test_the_authors_five_frames(count: int, expected: list[int]) -> None:
    assert authors_frames(count) == expected
    assert authors_frames(count) == sorted({math.floor(i * (count - 1) / 4) for i in range(5)})
    faces = authors_faces(numbered(count), networks(lambda *_: detections(BOX)))
    assert faces.embedded.tolist() == expected
    assert len(faces.embeddings) == len(expected)


def test_the_authors_take_the_largest_face_of_each_frame_and_the_raw_embedding() -> None:
    large, small, best = (0.0, 0.0, 40.0, 40.0), (60.0, 30.0, 90.0, 60.0), (5.0, 5.0, 46.0, 46.0)
    seen = {0: [small, large], 1: [], 2: [best, small], 3: [small], 4: [large, best]}
    moving = networks(lambda index, *_: detections(*seen[index]))
    faces = authors_faces(numbered(5), moving)
    assert faces.detected.tolist() == [True, False, True, True, True]
    np.testing.assert_array_equal(faces.boxes[[0, 2, 3, 4]], [large, best, small, best])
    np.testing.assert_array_equal(faces.boxes[1], (np.array(large) + best) / 2)
    assert faces.embedded.tolist() == [0, 2, 3, 4]  # frame 1 shows no face
    found = detections(best)
    raw = moving.embed(align(numbered(5)[2], found.points[0])[None])[0]
    np.testing.assert_array_equal(faces.embeddings[1], raw)


def test_the_community_follows_one_face_and_keeps_25_unit_embeddings() -> None:
    left, right = (2.0, 2.0, 40.0, 50.0), (50.0, 5.0, 92.0, 60.0)  # the right one is larger, and once not there
    seen = {index: [left, right] if index != 7 else [left] for index in range(60)}
    faces = community_faces(numbered(60), networks(lambda index, *_: detections(*seen[index])))
    assert np.flatnonzero(~faces.detected).tolist() == [7]
    np.testing.assert_array_equal(faces.boxes, np.tile(np.array(right, np.float32), (60, 1)))
    assert len(faces.embedded) == 25
    assert (faces.embedded[0], faces.embedded[-1]) == (0, 59)
    assert 7 not in faces.embedded
    assert set(np.diff(faces.embedded).tolist()) <= {2, 3, 4}
    np.testing.assert_allclose(np.linalg.norm(faces.embeddings, axis=1), 1, rtol=1e-6)


def test_boxes_are_linear_between_detections_and_still_outside() -> None:
    boxes = fill_boxes({1: (0, 0, 10, 10), 3: (4, 8, 20, 30)}, 5)
    assert boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [2, 4, 15, 20], [4, 8, 20, 30], [4, 8, 20, 30]]


@pytest.mark.parametrize("run", [community_faces, authors_faces])
def test_a_clip_without_a_face_is_zero_and_empty(run: Callable[[NDArray[np.uint8], Networks], Faces]) -> None:
    faces = run(numbered(3), networks(lambda *_: detections()))
    assert not faces.detected.any()
    assert not faces.boxes.any()
    assert not faces.landmarks.any()
    assert faces.embeddings.shape == (0, 512)
    assert faces.embedded.shape == (0,)
    assert (faces.landmarks.shape, faces.size.tolist()) == ((3, 68, 2), [96, 64])


# The whole -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny files in the place of buffalo_l's; the detector finds bright places."""
    files = {
        "scrfd-10g": detector(tmp_path / "det_10g.onnx", spot=True),
        "arcface-r50": recogniser(tmp_path / "w600k_r50.onnx"),
        "landmarks-1k3d68": landmarker(tmp_path / "1k3d68.onnx"),
    }
    monkeypatch.setattr(weights, "path", files.__getitem__)
    faces_buffalo._networks.cache_clear()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("run", [faces_of, faces_of_authors])
def test_files_run_from_frames_to_record(run: Callable[..., Faces]) -> None:
    frames = np.zeros((6, 120, 160, 3), np.uint8)
    for index in range(6):
        frames[index, 30:100, 40 + 4 * index : 100 + 4 * index] = 255 - index
    faces = run(frames)
    faces_buffalo._networks.cache_clear()
    assert faces.detected.all()
    assert faces.embeddings.dtype == faces.landmarks.dtype == faces.boxes.dtype == np.float32
    assert np.isfinite(faces.landmarks).all()
    assert len({landmark.tobytes() for landmark in faces.landmarks}) == 6
    for index, (left, top, right, bottom) in enumerate(faces.boxes.tolist()):  # boxes reach one cell around its corner
        assert 40 + 4 * index <= (left + 3 * right) / 4 <= 100 + 4 * index
        assert 30 <= (top + 3 * bottom) / 4 <= 100
    again = run(frames)
    assert all(
        np.array_equal(getattr(faces, name), getattr(again, name)) for name in ("boxes", "landmarks", "embeddings")
    )


def talking(count: int, person: int = 0) -> NDArray[np.uint8]:
    """Frames of 160 × 120 in which the lower half brightens and darkens."""
    frames = np.repeat(picture(120, 160)[None] // 2 + 20 * person, count, axis=0)
    light = (60 + 50 * np.sin(np.arange(count))).astype(np.uint8)
    frames[:, 60:] = (frames[:, 60:] // 4) + light[:, None, None, None]
    return frames


def sample(feature: Any, **sides: Faces) -> Sample:
    features = {
        side: Features({feature.name: sides[side]} if side in sides else {})
        for side in ("clip", "target", "voice", "face")
    }
    return Sample(**features, prompt=Prompt("", "", "", ""), transcript="", language="en")


@functools.cache
def untrained(run: Callable[..., Faces], count: int, person: int) -> Faces:
    return run(talking(count, person), UNTRAINED)


RECIPES = [
    (FACES_BUFFALO_AUTHORS, faces_of_authors, (FACE_SIM_AUTHORS, FACE_SIM_NO_FIRST_AUTHORS, FACE_SIM_REF_AUTHORS), LIP_MOTION_AUTHORS),
    (FACES_BUFFALO, faces_of, (FACE_SIM, FACE_SIM_NO_FIRST, FACE_SIM_REF), LIP_MOTION),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "run", "similarities", "motion"), RECIPES, ids=["authors", "community"])
def test_untrained_networks_fill_every_scale(
    feature: Any, run: Callable[..., Faces], similarities: Sequence[Metric], motion: Metric
) -> None:
    clip, other, image = untrained(run, 30, 0), untrained(run, 30, 2), untrained(run, 1, 0)
    here = sample(feature, clip=clip, target=clip, face=image)
    there = sample(feature, clip=clip, target=other, face=image)
    values = [metric.measure(here) for metric in similarities]
    assert [value.value for value in values[:2] if isinstance(value, Measured)] == pytest.approx([1, 1])
    assert all(isinstance(value, Measured) and -1 <= value.value <= 1 for value in values)
    stranger = similarities[0].measure(there)
    assert isinstance(stranger, Measured)
    assert stranger.value < 0.999
    moving = motion.measure(here)
    assert isinstance(moving, Measured)
    assert moving.value > 0.1
    assert {metric.profile for metric in (*similarities, motion)} == {
        "authors" if run is faces_of_authors else "community"
    }


def test_untrained_networks_answer_by_rule() -> None:
    frame = picture(100, 200)
    found = untrained_scrfd()(frame, Canvas(640, 640), 0.5)
    np.testing.assert_allclose(found.boxes, [[80, 25, 120, 75]])
    assert np.all((found.points > found.boxes[:, None, :2]) & (found.points < found.boxes[:, None, 2:]))
    assert np.array_equal(untrained_arcface()(striped(2, 112, 112)), untrained_arcface()(striped(2, 112, 112)))
    dark, bright = untrained_landmarks()(np.array([np.zeros((192, 192, 3)), np.full((192, 192, 3), 255)], np.uint8))
    points = np.stack([dark, bright])
    assert inner_opening(points)[0] == pytest.approx(0, abs=1e-4)
    assert inner_opening(points)[1] > 5
    assert face_height(points) == pytest.approx([face_height(points)[0]] * 2)
    assert points.min() > 0
    assert points.max() < 192
    assert not landmarks68.untrained_landmarks()(np.zeros((0, 192, 192, 3), np.uint8)).size


# Scales ----------------------------------------------------------------------------------------------------------


def faces_with(
    embeddings: Sequence[Sequence[float]] = ((1, 0),),
    embedded: Sequence[int] = (0,),
    landmarks: NDArray[np.float32] | None = None,
    detected: NDArray[np.bool_] | None = None,
) -> Faces:
    points = np.zeros((30, 68, 2), np.float32) if landmarks is None else landmarks
    count = len(points)
    return Faces(
        size=np.array([100, 100], np.float32),
        sampled=np.ones(count, bool),
        detected=np.ones(count, bool) if detected is None else detected,
        boxes=np.zeros((count, 4), np.float32),
        landmarks=points,
        embeddings=np.array(embeddings, np.float32).reshape(len(embedded), 2),
        embedded=np.array(embedded, np.int32),
    )


def test_raw_embeddings_are_averaged_before_they_are_normalised() -> None:
    clip = faces_with([(4, 0), (0, 3)], [0, 20])
    measured = face_identity(clip, faces_with([(1, 0)]), "target", require_any)
    assert measured.value == pytest.approx(4 / 5)  # of (2, 1.5); unit embeddings would give 0.7071
    assert measured.detail["frames"] == [2, 1]
    assert (measured.detail["lowest"], measured.detail["highest"]) == (0, 1)


def test_without_the_first_half_second_frames_below_13_are_left_out_on_both_sides() -> None:
    clip = faces_with([(1, 0), (1, 0), (0, 2)], [0, 12, 13])
    other = faces_with([(1, 0), (0, 1)], [12, 29])
    assert face_identity(clip, other, "target", no_first=True).value == pytest.approx(1)
    assert face_identity(clip, other, "target").value == pytest.approx(4 / math.sqrt(16))
    with pytest.raises(Unmeasurable, match=r"2 frames, all of them before frame 13 \(0.5 s\)") as raised:
        face_identity(clip, faces_with([(1, 0), (0, 1)], [3, 12]), "target", no_first=True)
    assert raised.value.source == "target"


def test_one_frame_with_a_face_is_enough_for_the_authors_and_not_for_the_community() -> None:
    rare = faces_with(detected=np.arange(30) < 3)
    assert face_identity(rare, rare, "target", require_any).value == pytest.approx(1)
    with pytest.raises(Unmeasurable, match="face found in 3 of 30 sampled frames"):
        face_identity(rare, rare, "target")
    assert FACE_SIM_AUTHORS.measure(sample(FACES_BUFFALO_AUTHORS, clip=rare, target=rare))
    with pytest.raises(Unmeasurable):
        FACE_SIM.measure(sample(FACES_BUFFALO, clip=rare, target=rare))
    nobody = faces_with(np.zeros((0, 2)).tolist(), [], detected=np.zeros(30, bool))
    with pytest.raises(Unmeasurable, match="no face found in any of the frames 0, 7, 14, 21, 29") as raised:
        face_identity(rare, nobody, "face", require_any)
    assert raised.value.source == "face"


def mouths(opening: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, 68, 2): a face 100 high, 80 between the outer corners of the eyes, a mouth 40 wide."""
    points = np.zeros((len(opening), 68, 2))
    points[:, 27], points[:, 8] = (50, 0), (50, 100)
    points[:, 36], points[:, 45] = (10, 10), (90, 10)
    points[:, 60], points[:, 64] = (30, 70), (70, 70)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        points[:, upper, 1], points[:, lower, 1] = 60, 60 + opening
    return points.astype(np.float32)


def test_lip_motion_is_the_spread_of_the_opening_over_the_norm() -> None:
    opening = np.tile([2.0, 8.0], 20)  # mean 5, standard deviation 3
    faces = faces_with(landmarks=mouths(opening))
    for norm, expected in {"face_height": 3.0, "interocular": 3.75, "mouth_width": 7.5}.items():
        measured = mouth_motion(faces, norm)
        assert measured.value == pytest.approx(expected, rel=1e-5)
        assert measured.detail["norm"] == norm
    assert list(NORMS) == ["face_height", "interocular", "mouth_width"]
    assert dict(mouth_motion(faces).detail) | {"norm": 0} == {
        "frames": [40, 40], "found": [40, 40], "norm": 0, "opening_mean": 5.0, "opening_max": 8.0,
    }  # fmt: skip


def test_five_missing_frames_are_bridged_and_six_are_left_out() -> None:
    known = np.ones(40, bool)
    known[[0, 39]] = False  # an end has nothing to lead to
    known[5:10] = False
    known[20:26] = False
    filled, now = bridged(np.where(known, np.arange(40.0), -99), known)
    assert np.flatnonzero(~now).tolist() == [0, *range(20, 26), 39]
    np.testing.assert_allclose(filled[now], np.arange(40.0)[now])

    landmarks = mouths(np.where(known, 2.0, 77.0) + np.arange(40) % 2)  # what is found in no face does not count
    measured = mouth_motion(faces_with(landmarks=landmarks, detected=known))
    assert (measured.detail["opening_max"], measured.detail["frames"]) == (3.0, [32, 40])
    assert measured.value <= 0.5 + 1e-6  # of 2 and 3, and what lies between them


@pytest.mark.parametrize(
    ("count", "found", "reason"),
    [
        (40, 0, "no face found in any of 40 frames"),
        (40, 24, r"in 24 of 40 frames; at least half of them, and 25 \(1 s\), are needed"),
        (80, 39, "in 39 of 80 frames"),
        (24, 24, "in 24 of 24 frames"),
    ],
)
def test_too_little_of_a_face_has_no_lip_motion(count: int, found: int, reason: str) -> None:
    faces = faces_with(landmarks=mouths(np.ones(count)), detected=np.arange(count) < found)
    with pytest.raises(Unmeasurable, match=reason):
        mouth_motion(faces)


def test_a_still_mouth_has_none() -> None:
    assert mouth_motion(faces_with(landmarks=mouths(np.full(30, 7.0)))).value == pytest.approx(0, abs=1e-6)
