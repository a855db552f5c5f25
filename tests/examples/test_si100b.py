"""The course's scripts, as students have them, in a copy of examples/si100b; drawn pictures, no display."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import torch
from sklearn import metrics as sk
from typer.testing import CliRunner

from mien.cli import app
from mien.dataset import import_fer2013
from mien.errors import DatasetError, DetectorError, MienError
from mien.model.bundle import load_bundle
from mien.model.manifest import Framing
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien_train.bundles.custom_weights import export_weights
from mien_train.data.tensors import predict_logits
from mien_train.networks.custom_network import CustomOptions, open_custom_network
from mien_train.networks.resnet import EmotionNet

EXAMPLE = Path(__file__).parents[2] / "examples/si100b"
CLASSES = ["happy", "neutral", "sad"]
COUNTS = {"train": 16, "validation": 13}  # 39 validation pictures: a batch of 32 and one of 7

LECTURE_4 = """\
import torch
import my_net

batch_size = 32
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
train_loader, classes = my_net.utility.loadTrain("./images/", batch_size)
model, lossfun, optimizer = my_net.classify.makeEmotionNet(False)
losses, accuracies, model = my_net.utility.function2trainModel(model, device, train_loader, lossfun, optimizer, 2)
torch.save(model.state_dict(), './face_expression.pth')
"""

LECTURE_5 = """\
import torch
import my_net

batch_size = 32
model, lossfun, optimizer = my_net.classify.makeEmotionNet(False)
model.load_state_dict(torch.load('./face_expression.pth', weights_only=True))
test_loader, classes = my_net.utility.loadTest("./images/", batch_size)

model.eval()
X, labels = next(iter(test_loader))
with torch.no_grad():
    yHat = model(X)
new_labels = torch.argmax(yHat, axis=1)
my_net.utility.imshow_with_labels(X[:batch_size], new_labels[:batch_size], classes)
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's folder: the example, drawn pictures of other sizes and kinds, and weights trained by lecture 4."""
    folder = tmp_path_factory.mktemp("course") / "si100b"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "images", "figures", "*.pth"))
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label in CLASSES:
            (folder / "images" / split / label).mkdir(parents=True)
            for i in range(count):
                side = int(rng.choice([48, 48, 96, 130]))
                draw_face(label, side, rng).save(folder / f"images/{split}/{label}/{i:02}.png")
    with pytest.MonkeyPatch.context() as patch, importable(folder, patch), redirect_stdout(StringIO()) as out:
        exec(LECTURE_4, {})
    assert "epoch 2/2" in out.getvalue()
    return folder


@pytest.fixture
def my_net(course: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`my_net`, imported as a script in the student's folder would import it."""
    with importable(course, monkeypatch):
        import my_net  # pyright: ignore[reportMissingImports]

        yield my_net


@contextmanager
def importable(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a script in `folder`, without a display."""
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        patch.delenv(name, raising=False)
    yield
    for name in [n for n in sys.modules if n.split(".")[0] in {"my_net", "detector"}]:
        del sys.modules[name]


def draw_face(label: str, side: int, rng: np.random.Generator) -> Image.Image:
    """A gray disc with two eyes and a mouth that is bent by the label, with noise."""
    picture = Image.new("L", (96, 96), int(rng.integers(20, 60)))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 4, 86, 92), fill=int(rng.integers(170, 230)))
    for x in (34, 62):
        draw.ellipse((x - 6, 32, x + 6, 42), fill=30)
    if label == "neutral":
        draw.line((30, 68, 66, 68), fill=30, width=5)
    elif label == "happy":
        draw.arc((28, 46, 68, 78), 10, 170, fill=30, width=5)
    else:
        draw.arc((28, 62, 68, 94), 190, 350, fill=30, width=5)
    pixels = np.asarray(picture, np.int16) + rng.integers(-20, 20, (96, 96))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((side, side))


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a student's script in `folder`, as `python script.py` without a display."""
    (folder / "script.py").write_text(text)
    source = str(EXAMPLE.parents[1] / "src")
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def run_file(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    sys.modules["my_net"].display.FOLDER = Path("figures")
    runpy.run_path(name, run_name="__main__")


def test_lecture_5_runs_unchanged(course: Path, my_net: ModuleType, capsys):
    exec(LECTURE_5, {})
    path = course / re.search(r"saved as (\S+)", capsys.readouterr().out)[1]  # type: ignore[index]
    with Image.open(path) as picture:
        assert picture.width > 800
        assert np.asarray(picture.convert("L")).std() > 20


def test_the_course_s_own_script_trains(course: Path, my_net: ModuleType, monkeypatch, tmp_path: Path, capsys):
    before = (course / "face_expression.pth").read_bytes()
    with pytest.raises(SystemExit, match="exists already"):  # nothing is overwritten
        run_file("train_emotion_classifier.py", monkeypatch, "--epochs", "1")
    changes = ("--widths", "8,16,16,16", "--batch-norm", "--attention", "--dropout", "0.3", "--hidden", "20")
    made = ("--weights", "bonus.pth", "--out", str(tmp_path / "f"))
    run_file("train_emotion_classifier.py", monkeypatch, "--epochs", "1", *made, *changes)
    capsys.readouterr()
    run_file("bonus.py", monkeypatch)  # the changed network beside the first one
    out = capsys.readouterr().out
    assert out.count("total ") == 3
    assert "McNemar's exact test: p " in out
    assert (tmp_path / "f/curves.png").is_file()
    assert (course / "face_expression.pth").read_bytes() == before

    run_file("train_emotion_classifier.py", monkeypatch, "--epochs", "1", "--overwrite")
    out = capsys.readouterr().out
    assert re.search(r"epoch 1/1  loss \d\.\d+  accuracy \d+\.\d\d%", out)
    assert (course / "figures/curves.png").is_file()
    assert set(torch.load("face_expression.pth", weights_only=True)) == set(EmotionNet(3).state_dict())
    (course / "face_expression.pth").write_bytes(before)


def test_lecture_5_solved_prints_the_lines(my_net: ModuleType, monkeypatch, capsys):
    run_file("valid.py", monkeypatch)
    out = capsys.readouterr().out
    number = r"(\d{1,3}\.\d\d|nan)%"
    lines = re.findall(rf"^happy:{number}, neutral:{number}, sad:{number}, total:{number}$", out, re.MULTILINE)
    assert len(lines) == 6  # accuracy, recall and F1, of one batch and of every picture
    assert "one batch (32 pictures)" in out
    assert "full validation set (39 pictures)" in out

    loader, _ = my_net.utility.loadTest("./images/", 32)
    truth, predicted = my_net.utility.predictAll(my_net.utility.loadTrained("face_expression.pth"), loader)
    expected = [*sk.precision_score(truth, predicted, average=None, labels=[0, 1, 2], zero_division=np.nan)]
    assert lines[3] == tuple(f"{100 * v:.2f}" for v in [*expected, sk.accuracy_score(truth, predicted)])
    expected = [*sk.recall_score(truth, predicted, average=None)]
    weighted = sk.recall_score(truth, predicted, average="weighted")
    assert lines[4] == tuple(f"{100 * v:.2f}" for v in [*expected, weighted])


def test_the_notebook_runs_from_top_to_bottom(my_net: ModuleType, capsys):
    cells = json.loads(Path("lecture5.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # no pictures of people in the repository
            exec("".join(cell["source"]), names)
    assert len(names["truth"]) == 39  # type: ignore[arg-type]
    assert capsys.readouterr().out.count("total:") == 14  # of them four by the answers of `default`
    Path("bonus.pth").unlink()


def test_the_numbers_are_those_of_scikit_learn(my_net: ModuleType):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 200)
    predicted = np.where(rng.random(200) < 0.6, truth, rng.integers(0, 3, 200))
    matrix = my_net.utility.confusionMatrix(truth.tolist(), torch.from_numpy(predicted), CLASSES)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(truth, predicted))
    for ours, name, total in (
        (my_net.accuracies, sk.precision_score, sk.accuracy_score(truth, predicted)),
        (my_net.recalls, sk.recall_score, sk.recall_score(truth, predicted, average="weighted")),
        (my_net.fScores, sk.f1_score, sk.f1_score(truth, predicted, average="macro")),
    ):
        values, overall = ours(matrix)
        np.testing.assert_allclose(values, name(truth, predicted, average=None))
        assert overall == pytest.approx(total)


def test_a_class_without_predictions_or_pictures_is_nan_and_the_totals_are_not(my_net: ModuleType):
    matrix = np.array([[3, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert my_net.utility.resultLine(CLASSES, *my_net.accuracies(matrix)) == (
        "happy:75.00%, neutral:nan%, sad:nan%, total:75.00%"
    )
    assert my_net.utility.resultLine(CLASSES, *my_net.recalls(matrix)) == (
        "happy:100.00%, neutral:0.00%, sad:nan%, total:75.00%"
    )


def test_the_last_partial_batch_is_kept(my_net: ModuleType):
    for load, count in ((my_net.utility.loadTest, 39), (my_net.loadTrain, 48)):
        loader, classes = load("./images/", 32)
        batches = [(images, labels) for images, labels in loader]
        assert classes == CLASSES
        assert [len(labels) for _, labels in batches] == [32, count - 32]
        assert torch.bincount(torch.cat([labels for _, labels in batches])).tolist() == [count // 3] * 3
        assert batches[0][0].shape == (32, 3, 48, 48)
        assert -1 <= float(batches[0][0].min()) < 0 < float(batches[0][0].max()) <= 1


def test_pixels_are_scaled_as_in_the_course(my_net: ModuleType, tmp_path: Path):
    folder = tmp_path / "images/validation"
    pixels = np.random.default_rng(2).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / label / "a.png")
    loader, _ = my_net.loadTest(tmp_path / "images", 3)
    expected = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - 0.5) / 0.5
    torch.testing.assert_close(next(iter(loader))[0], expected.expand(3, -1, -1, -1))


def test_missing_pictures_are_told_with_the_remedy(my_net: ModuleType, tmp_path: Path, capsys):
    with pytest.raises(DatasetError, match=r"validation.*--classes happy,neutral,sad"):
        my_net.utility.loadTest(tmp_path / "nothing", 32)
    (tmp_path / "happy").mkdir()
    with pytest.raises(DatasetError, match="train"):  # never the same pictures for both splits
        my_net.utility.loadTrain(tmp_path, 32)
    for label in CLASSES:
        (tmp_path / "i/train" / label).mkdir(parents=True)
        Image.new("L", (48, 48), 90).save(tmp_path / f"i/train/{label}/a.png")
    (tmp_path / "i/train/sad/b.png").write_bytes(b"not a picture")
    loader, _ = my_net.utility.loadTrain(tmp_path / "i", 32)
    assert len(loader.dataset) == 3
    assert "b.png" in capsys.readouterr().err


def test_valid_says_how_to_get_weights(my_net: ModuleType, monkeypatch, tmp_path: Path):
    shutil.move("face_expression.pth", tmp_path / "w.pth")
    try:
        with pytest.raises(SystemExit) as leaving:
            run_file("valid.py", monkeypatch)
    finally:
        shutil.move(tmp_path / "w.pth", "face_expression.pth")
    assert "face_expression.pth: no such file" in str(leaving.value)


def test_printtoggle_prints_shapes_and_leaves_the_weights_alone(my_net: ModuleType, capsys):
    model, lossfun, optimizer = my_net.makeEmotionNet(True)
    assert isinstance(model, my_net.classify.emotionNet)
    model(torch.zeros(2, 3, 48, 48))
    out = capsys.readouterr().out
    for shape in (
        "[2, 3, 48, 48]",
        "[2, 64, 24, 24]",
        "[2, 128, 11, 11]",
        "[2, 4096]",
        "[2, 256]",
        "[2, 64]",
        "[2, 3]",
    ):
        assert shape in out
    assert list(model.state_dict()) == list(EmotionNet(3).state_dict())
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-3, 1e-5)
    assert isinstance(lossfun, torch.nn.CrossEntropyLoss)


def test_the_figures_are_files_where_there_is_no_display(my_net: ModuleType, capsys):
    first = my_net.plotConfusionMatrix(np.array([[5, 1, 0], [2, 3, 1], [0, 0, 0]]), CLASSES)
    again = my_net.plotConfusionMatrix(np.eye(3, dtype=np.int64), CLASSES)
    assert first != again
    assert str(again) in capsys.readouterr().out
    assert my_net.imshow_with_labels(torch.zeros(3, 3, 48, 48), ["happy", "sad", "sad"], CLASSES).is_file()
    for suffix in (".svg", ".pdf"):
        assert first.with_suffix(suffix).stat().st_size > 1000
    for labels in ([0, 1], [0, 1, 2, 2, 1], torch.tensor([2])):  # fewer or more labels than pictures
        assert my_net.imshow_with_labels(torch.zeros(3, 3, 48, 48), labels, CLASSES).is_file()
    assert my_net.imshow_with_labels(torch.zeros(2, 1, 48, 48), np.array([0, 1]), CLASSES).is_file()
    with pytest.raises(ValueError, match="at least one picture"):
        my_net.imshow_with_labels(torch.zeros(0, 3, 48, 48), [], CLASSES)


def test_the_detector_draws_a_face(my_net: ModuleType, astronaut: Path, monkeypatch, tmp_path: Path, capsys):
    from detector import Detector  # pyright: ignore[reportMissingImports]

    image = cv2.imread(str(astronaut))
    before = image.copy()
    detector = Detector("./haarcascade_frontalface_default.xml", "./face_expression.pth")
    result = detector.process(image)
    assert result is image
    assert (image != before).any()
    assert len(detector.readings) == 1
    assert detector.readings[0].expression.classes == tuple(CLASSES)
    assert sum(detector.readings[0].expression.probabilities) == pytest.approx(1, abs=1e-5)
    assert (detector.process(np.zeros((60, 60, 3), np.uint8)) == 0).all()
    with pytest.raises(DetectorError, match=r"cv2\.imread"):
        detector.process(cv2.imread("no such file.jpg"))
    with pytest.raises(DetectorError, match="no such file"):
        Detector("elsewhere.xml", "./face_expression.pth")
    run_file("detector.py", monkeypatch, str(astronaut), "--out", str(tmp_path / "a/b.png"))
    assert (tmp_path / "a/b.png").is_file()
    assert re.search(r"(happy|neutral|sad) \d+\.\d%  box (\d+, ){3}\d+$", capsys.readouterr().out, re.MULTILINE)


def test_a_video_with_two_faces(my_net: ModuleType, astronaut: Path, monkeypatch, tmp_path: Path, capsys):
    face = cv2.imread(str(astronaut))
    frame = np.hstack([face, face])[: face.shape[0] // 2 * 2]
    clip = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (frame.shape[1], len(frame)))
    for _ in range(2):
        clip.write(frame)
    clip.release()
    run_file("detector.py", monkeypatch, str(tmp_path / "in.avi"), "--out", str(tmp_path / "out.avi"))
    assert "2 frames" in capsys.readouterr().out
    drawn = cv2.VideoCapture(str(tmp_path / "out.avi")).read()[1]
    assert drawn.shape == frame.shape
    with pytest.raises(SystemExit):
        run_file("detector.py", monkeypatch, str(tmp_path / "none.avi"))


def export(*arguments: object) -> SimpleNamespace:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return SimpleNamespace(out=result.output, code=result.exit_code, error=result.exception)


def test_a_student_s_weights_become_a_bundle(course: Path, my_net: ModuleType, astronaut: Path, tmp_path: Path):
    out = tmp_path / "student.onnx"
    out.write_bytes(b"an earlier file")
    about = ("--network", "si100b", "--classes", ",".join(CLASSES))
    done = export(course / "face_expression.pth", *about, "--out", out, "--overwrite")
    assert done.code == 0, done.out
    bundle = load_bundle(out)
    assert [c.passed for c in verify_bundle(bundle)] == [True] * 5
    manifest = bundle.manifest
    assert (manifest.classes, manifest.metrics, manifest.calibration.temperature) == (tuple(CLASSES), (), 1.0)
    assert manifest.crop.align == "none"
    assert manifest.crop.framing("haar") == Framing(margin=1.0)

    crops = np.random.default_rng(3).integers(0, 256, (9, 48, 48, 3), dtype=np.uint8)
    network = open_custom_network(course / "face_expression.pth", CustomOptions(classes=tuple(CLASSES))).network
    logits = predict_logits(network, crops, "fp32")
    probabilities, found = Session(bundle, threads=1).run(crops)
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(probabilities, torch.softmax(logits, 1).numpy(), atol=1e-4)

    from detector import Detector  # pyright: ignore[reportMissingImports]

    readings = []
    for model in (course / "face_expression.pth", out):
        detector = Detector(ModelPath=model)
        detector.process(cv2.imread(str(astronaut)))
        readings.append(detector.readings[0])
    assert readings[0].face == readings[1].face
    np.testing.assert_allclose(*(r.expression.probabilities for r in readings), atol=1e-4)


def test_with_data_the_export_calibrates_and_measures(course: Path, my_net: ModuleType, tmp_path: Path):
    result = export_weights(
        course / "face_expression.pth", tmp_path / "s.onnx", CustomOptions(), data_root=course / "images"
    )
    manifest = result.bundle.manifest
    assert manifest.calibration.split == "validation"
    loader, _ = my_net.loadTest(course / "images", 32)
    truth, predicted = my_net.predictAll(my_net.loadTrained(course / "face_expression.pth"), loader)
    measured = {(m.name, m.split): m.value for m in manifest.metrics}
    assert measured["accuracy", "validation"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-4)
    crops = np.random.default_rng(3).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    probabilities, logits = Session(load_bundle(tmp_path / "s.onnx"), threads=1).run(crops)
    scaled = torch.softmax(torch.from_numpy(logits / manifest.calibration.temperature), 1)
    np.testing.assert_allclose(probabilities, scaled.numpy(), atol=1e-4)
    with pytest.raises(DatasetError, match="no class angry"):
        export_weights(
            course / "face_expression.pth", tmp_path / "x.onnx", CustomOptions(classes=("angry", "neutral", "sad")),
            data_root=course / "images",
        )  # fmt: skip


def test_export_says_what_it_needs(course: Path, tmp_path: Path):
    weights, out = course / "face_expression.pth", tmp_path / "o.onnx"
    assert "weights do not say their classes" in str(export(weights, "--out", out).error)
    assert "data" in str(export(course, "--out", out).error)
    assert "no such file" in str(export(tmp_path / "none.pth", "--classes", "happy,sad", "--out", out).error)
    assert "file of weights" in str(export(course, "--network", "si100b", "--data", course, "--out", out).error)
    for classes, reason in (("happy,happy", "different classes"), ("happy,sad", "trained for 3 classes")):
        done = export(weights, "--network", "si100b", "--classes", classes, "--out", out)
        assert isinstance(done.error, MienError)
        assert reason in str(done.error)
    unknown = export(weights, "--network", "vgg", "--classes", ",".join(CLASSES), "--out", out)
    assert "expected one of si100b" in str(unknown.error)
    assert not out.exists()


def test_export_leaves_a_file_alone_unless_told_to(course: Path, tmp_path: Path):
    weights, out = course / "face_expression.pth", tmp_path / "o.onnx"
    about = ("--network", "si100b", "--classes", ",".join(CLASSES))
    out.write_bytes(b"dear")
    assert "exists already" in str(export(weights, *about, "--out", out).error)
    assert "exists already" in str(export(course, "--data", course, "--out", out).error)
    assert out.read_bytes() == b"dear"
    assert "ends in .onnx" in str(export(weights, *about, "--out", tmp_path / "o.pth").error)


def test_the_import_takes_the_course_s_classes_alone(tmp_path: Path):
    pixels = " ".join(["7"] * 48 * 48)
    rows = [f"{emotion},{pixels},Training" for emotion in range(7)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    out = tmp_path / "images"
    command = ["data", "import", str(tmp_path / "fer2013.csv"), "--out", str(out), "--classes", "happy,Neutral,sadness"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (out / "train").iterdir()) == CLASSES
    with pytest.raises(DatasetError, match="'smile'"):
        import_fer2013(tmp_path / "fer2013.csv", out, classes=["smile"])


def test_the_network_s_first_argument_is_the_toggle(my_net: ModuleType, capsys):
    for make in (lambda *a: my_net.classify.emotionNet(*a), lambda *a: my_net.classify.makeEmotionNet(*a)[0]):
        for arguments, prints in (((), False), ((False,), False), ((True,), True)):
            network = make(*arguments)
            assert network(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
            assert ("[1, 4096]" in capsys.readouterr().out) is prints
    assert my_net.classify.makeEmotionNet(printtoggle=True)[0].print is True


def test_loaders_have_the_interface_of_an_image_folder(my_net: ModuleType, capsys):
    loader, classes = my_net.utility.loadTest("./images/", 0)
    assert next(iter(loader))[0].shape == (39, 3, 48, 48)  # 0: everything at once
    assert loader.dataset.classes == classes == CLASSES
    assert loader.dataset.class_to_idx == {"happy": 0, "neutral": 1, "sad": 2}
    assert loader.dataset.imgs == loader.dataset.samples
    assert len(loader.dataset.samples) == 39
    path, index = loader.dataset.samples[0]
    assert Path(path).parent.name == classes[index]
    loader, _ = my_net.utility.loadTest("./images/", 64)
    assert len(loader.dataset) // loader.batch_size == 1  # of 39 pictures: not 0
    loader, _ = my_net.utility.loadTest("./images/")
    assert loader.batch_size == 39

    capsys.readouterr()
    torch.manual_seed(5)
    loader, _ = my_net.utility.loadTrain("./images/", 32)
    first = next(iter(loader))[1]
    out = capsys.readouterr().out
    assert "torch.Size([32, 3, 48, 48])" in out
    assert "value range" in out
    assert "picture saved as" in out
    torch.manual_seed(5)
    assert torch.equal(first, next(iter(loader))[1])  # the look at the pictures left the order alone
    dataset, loader = my_net.utility.load_data("./images/validation", 8, "training")
    assert (len(dataset), loader.batch_size, dataset.classes) == (39, 8, CLASSES)
    with pytest.raises(ValueError, match="batch_size"):
        my_net.utility.loadTest("./images/", -1)
    loader, _ = my_net.utility.loadTrain("./images/", 0)
    assert loader.batch_size == len(loader.dataset) == 48


def torchvision_datasets() -> Any:
    import torchvision.datasets

    return torchvision.datasets


def test_a_transform_of_one_s_own_is_applied(my_net: ModuleType, monkeypatch):
    from torchvision.transforms import Compose, Grayscale, Normalize, Resize, ToTensor  # a stand-in, if need be

    plain, _ = my_net.utility.load_data("./images/validation", 3)
    own = Compose([Resize((24, 20)), Grayscale(), ToTensor(), Normalize((0.5,), (0.5,))])
    monkeypatch.setitem(my_net.utility.transform, "evaluate", own)
    dataset, _ = my_net.utility.load_data("./images/validation", 3)
    assert dataset[0][0].shape == (1, 24, 20)
    assert dataset[0][1] == plain[0][1]
    folder = torchvision_datasets().ImageFolder("./images/validation", Compose([Resize((48, 48)), ToTensor()]))
    assert (folder.classes, folder.class_to_idx) == (CLASSES, {"happy": 0, "neutral": 1, "sad": 2})
    assert (len(folder), folder[0][0].shape, folder[-1][1]) == (39, (3, 48, 48), 2)
    assert 0 <= float(folder[0][0].min()) < float(folder[0][0].max()) <= 1
    assert sorted(folder.samples) == sorted(plain.samples)
    monkeypatch.undo()
    course = my_net.utility.transform["evaluate"](Image.fromarray(plain.images[0].permute(1, 2, 0).numpy()))
    torch.testing.assert_close(course, plain[0][0])


def test_training_takes_the_loss_by_name_and_a_validation_loader(my_net: ModuleType, capsys):
    train, _ = my_net.loadTrain("./images/", 8)
    test, _ = my_net.loadTest("./images/", 32)
    model, loss, optimizer = my_net.makeEmotionNet()
    capsys.readouterr()
    results = my_net.function2trainModel(model, "cpu", train, lossFun=loss, optimizer=optimizer, epochs=1)
    out = capsys.readouterr().out
    assert "epoch 1/1  batch 3/6  loss" in out  # within the epoch
    losses, accuracies, same = results
    assert isinstance(losses, np.ndarray)
    assert isinstance(accuracies, np.ndarray)
    assert same is model
    results = my_net.utility.function2trainModel(model, "cpu", train, loss, optimizer, 1, test)
    assert [np.shape(r) for r in results[:3]] == [(1,)] * 3
    truth, predicted = my_net.predictAll(model, test)
    assert results[2][0] == pytest.approx(100 * sk.accuracy_score(truth, predicted))
    assert "validation" in capsys.readouterr().out


def test_recalls_take_weights(my_net: ModuleType):
    matrix = np.array([[3, 1, 0], [1, 1, 0], [0, 0, 5]])
    each, total = my_net.recalls(matrix, weights=[1, 1, 2])
    assert total == pytest.approx((each * [1, 1, 2]).sum() / 4)
    for wrong in ([1, 1], [0, 0, 0], [1, -1, 1]):
        with pytest.raises(ValueError, match="weights"):
            my_net.recalls(matrix, weights=wrong)


BLANK = """\
import torch
import torch.nn as nn
from torchvision import models

class emotionNet(nn.Module):
    def __init__(self, printtoggle):
        super().__init__()
        self.print = printtoggle

    def forward(self, x):
        return x

def makeEmotionNet(printtoggle=False):
    model = emotionNet(False)
    lossfun = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr = .001, weight_decay=1e-5)
    return model, lossfun, optimizer
"""

NESTED = """\
import matplotlib.pyplot as plt
from LAB4 import my_net
import cv2
import numpy as np
loader, classes = my_net.utility.loadTest("./images/", 8)
print(len(loader.dataset), my_net.classify.__name__, my_net.recalls(np.eye(3, dtype=int))[1])
plt.plot([1, 2]); plt.title("My own curve"); plt.show()
picture = np.zeros((40, 60, 3), np.uint8)
cv2.imshow("still", picture)
assert cv2.waitKey(0) in (27, ord("q"))
for level in (0, 80, 160):
    cv2.imshow("film", picture + np.uint8(level))
    assert cv2.waitKey(1) == -1
while cv2.waitKey(1) not in (27, ord("q")):
    cv2.imshow("film", picture)
cv2.destroyAllWindows()
try:
    my_net.classify.makeEmotionNet(True)
except ValueError as error:
    print("blank:", error)
"""


def test_a_blank_to_fill_in_and_a_nested_folder(course: Path, tmp_path: Path):
    """`LAB4.my_net` with a student's unfinished classify.py; windows of all kinds become files."""
    shutil.copytree(course / "my_net", tmp_path / "LAB4/my_net", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "LAB4/my_net/classify.py").write_text(BLANK)
    shutil.copytree(course / "images", tmp_path / "images")
    done = script(tmp_path, NESTED)
    assert done.returncode == 0, done.stderr
    assert "39 LAB4.my_net.classify 1.0" in done.stdout
    assert "blank: optimizer got an empty parameter list" in done.stdout
    saved = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert saved == ["film.avi", "film.png", "my-own-curve.png", "still.png"]
    video = cv2.VideoCapture(str(tmp_path / "figures/film.avi"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= 3
    for name in saved:
        assert f"saved as {Path('figures') / name}" in done.stdout


def test_where_there_is_a_display_nothing_is_touched(my_net: ModuleType, monkeypatch):
    import matplotlib.pyplot as plt

    shown = plt.show, cv2.waitKey
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    my_net.display.windows_to_files()
    assert (plt.show, cv2.waitKey) == shown
    assert my_net.display.has_cv2_windows() == sys.platform.startswith("linux")


def test_a_network_of_one_s_own_goes_through_the_course_s_scripts(course: Path, tmp_path: Path, monkeypatch, capsys):
    """Lecture 4 to 6 with a changed classify.py, and its weights."""
    folder = tmp_path / "si100b"
    shutil.copytree(course, folder, ignore=shutil.ignore_patterns("__pycache__", "figures", "*.pth"))
    own = BLANK.replace("self.print = printtoggle", "self.layer = nn.Linear(3 * 48 * 48, 3)").replace(
        "return x", "return self.layer(x.view(x.size(0), -1))"
    )
    (folder / "my_net/classify.py").write_text(own.replace("from torchvision import models", ""))
    with importable(folder, monkeypatch):
        exec(LECTURE_4 + LECTURE_5 + "from detector import Detector\nDetector()\n", {})
        capsys.readouterr()
        run_file("valid.py", monkeypatch)
    assert capsys.readouterr().out.count("total:") == 6


def test_an_opencv_without_cascades_gets_another_detector(my_net: ModuleType, astronaut: Path, monkeypatch, capsys):
    """OpenCV 5 has none."""
    monkeypatch.delattr(cv2, "CascadeClassifier")
    from detector import Detector  # pyright: ignore[reportMissingImports]

    detector = Detector()
    assert "has no cascades" in capsys.readouterr().err
    detector.process(cv2.imread(str(astronaut)))
    assert len(detector.readings) == 1
    with pytest.raises(DetectorError, match="no such file"):
        Detector("elsewhere.xml", "./face_expression.pth")
