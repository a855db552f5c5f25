"""Five networks of students', each written here in its own way: from a `.pth` to a bundle that agrees with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from mien.errors import TrainingError
from mien.model.bundle import load_bundle
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien_train.bundles.custom_weights import export_weights
from mien_train.networks.custom_module import make_custom_network
from mien_train.networks.custom_network import CustomOptions, open_custom_network
from mien_train.networks.emotion_net import EmotionNet, EmotionNetShape, course_kernels, load_emotion_net
from mien_train.networks.resnet import build_network
from mien_train.networks.state_dict import read_state_dict
from mien_train.recipe import parse_recipe
from mien_train.run.finished_run import open_run

CLASSES = ("happy", "neutral", "sad")

NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F


class Direct(nn.Module):
    'Named as the course does, 3x3 third convolution, 4096 -> K at once.'

    def __init__(self, printtoggle):
        super().__init__()
        self.print = printtoggle
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 128, 3)
        self.conv3 = nn.Conv2d(128, 256, 3)
        self.fc1 = nn.Linear(4096, 3)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.leaky_relu(F.max_pool2d(conv(x), 2))
        if self.print:
            print(x.shape)
        return self.fc1(torch.flatten(x, 1))


class Normalized(nn.Module):
    'Gray pictures, batch normalization, a function of two arguments.'

    def __init__(self, classes, width=8):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 2 * width, 4), nn.BatchNorm2d(2 * width)
        self.fc1, self.fc2 = nn.Linear(2 * width * 16, 10), nn.Linear(10, classes)

    def forward(self, x):
        x = F.max_pool2d(F.leaky_relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.leaky_relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.leaky_relu(self.bn3(self.conv3(x))), 2)
        return self.fc2(F.leaky_relu(self.fc1(x.view(x.size(0), -1))))


class Residual(nn.Module):
    'A shortcut, global pooling: takes any size; ends with a softmax, and prints.'

    def __init__(self, num_classes=3):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.block = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1))
        self.head = nn.Linear(6, num_classes)

    def forward(self, x):
        x = self.stem(x)
        print(f'shape {list(x.shape)}')
        x = x + self.block(x)
        return torch.softmax(self.head(x.mean((2, 3))), 1)


Flat = lambda: nn.Sequential(nn.Flatten(), nn.Linear(20 * 24 * 3, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3))


def makeDepthwise(printtoggle=False):
    'Depthwise convolutions and the triple of the course.'
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, groups=8), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    )
    return model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())


class Noisy(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5).mean((2, 3))


broken = 3
def fails(): raise ValueError('no such thing')
def silent(): pass
def needs(alpha): pass
def flat(): return nn.Flatten()
def pair():
    class Two(nn.Module):
        def forward(self, x):
            return x, x
    return Two()
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("student") / "student_networks.py"
    path.write_text(NETWORKS)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures: a bar that lies, stands or leans."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 14), ("validation", 8)):
        for number, label in enumerate(CLASSES):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (48, 48), dtype=np.uint8)
                at = int(rng.integers(18, 30))
                if number == 2:
                    pixels[range(48), range(48)] = pixels[range(47), range(1, 48)] = 255
                else:
                    pixels[(slice(at, at + 4), slice(None)) if number else (slice(None), slice(at, at + 4))] = 255
                Image.fromarray(pixels).save(root / split / label / f"{i}.png")
    return root


def train(network: nn.Module, data: Path, size: tuple[int, int], channels: int, epochs: int = 6) -> None:
    """The students' own training, in a few steps."""
    images, labels = [], []
    for number, label in enumerate(CLASSES):
        for path in sorted((data / "train" / label).iterdir()):
            picture = Image.open(path).convert("L" if channels == 1 else "RGB").resize(size[::-1])
            pixels = np.asarray(picture, np.float32).reshape(*size, channels) / 255
            images.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            labels.append(number)
    x, y = torch.from_numpy(np.stack(images)) * 2 - 1, torch.tensor(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.eval()


@pytest.mark.parametrize(
    ("name", "size", "channels", "options"),
    [
        ("Direct", (48, 48), 3, {"module": ""}),
        ("Normalized", (48, 48), 1, {"network": "si100b", "module": ""}),
        ("Residual", (30, 36), 3, {"size": (30, 36), "mean": (0.2, 0.4, 0.6), "std": (0.3,)}),
        ("Flat", (20, 24), 3, {"size": (20, 24), "color": "bgr"}),
        ("makeDepthwise", (48, 48), 3, {}),
    ],
)
def test_a_student_s_network_becomes_a_bundle_that_agrees_with_it(
    name: str, size: tuple[int, int], channels: int, options: dict[str, object], code: Path, data: Path, tmp_path: Path,
    mien: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    torch.manual_seed(0)
    network = make_custom_network(f"{code}:{name}", 3)
    train(network, data, size, channels, epochs=1 if name == "Direct" else 6)
    torch.save(network.state_dict(), tmp_path / "student.pth")
    told = CustomOptions(**{"module": f"{code}:{name}", **options})  # type: ignore[arg-type]
    out = tmp_path / "student.onnx"
    bundle = export_weights(tmp_path / "student.pth", out, told, data_root=data).bundle

    spec = bundle.manifest.input
    assert (spec.height, spec.width, spec.channels, bundle.manifest.classes) == (*size, channels, CLASSES)
    assert [check.passed for check in verify_bundle(bundle)] == [True] * 5
    assert {m.name for m in bundle.manifest.metrics} >= {"accuracy", "log loss"}
    crops = np.random.default_rng(1).integers(0, 256, (7, *size, channels), dtype=np.uint8)
    mean, std = (torch.tensor(v or (0.5,)).view(1, -1, 1, 1) for v in (told.mean, told.std))
    with torch.no_grad():
        answers = network((torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()).float() / 255 - mean) / std)
    probabilities, logits = Session(load_bundle(out), threads=1).run(crops)
    if name == "Residual":  # its answers are probabilities already
        np.testing.assert_allclose(np.exp(logits), answers.numpy(), atol=1e-4)
    else:
        np.testing.assert_allclose(logits, answers.numpy(), atol=1e-4)
    scaled = torch.softmax(torch.from_numpy(logits) / bundle.manifest.calibration.temperature, 1)
    np.testing.assert_allclose(probabilities, scaled.numpy(), atol=1e-4)
    capsys.readouterr()
    code_, text, _ = mien("evaluate", data, "--model", out)
    assert code_ == 0
    accuracy = next(m.value for m in bundle.manifest.metrics if m.name == "accuracy")
    assert f"{accuracy:.2%}".replace("%", " %") in text or f"{accuracy:.2%}" in text


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.lists(st.integers(1, 9), max_size=2), st.booleans())
def test_the_sizes_of_the_course_s_network_stand_in_its_weights(widths: list[int], hidden: list[int], norm: bool):
    kernels, paddings = course_kernels(len(widths))
    shape = EmotionNetShape(
        classes=4, channels=1, widths=tuple(widths), kernels=kernels, paddings=paddings, hidden=tuple(hidden),
        batch_norm=norm,
    )  # fmt: skip
    network = EmotionNet(shape=shape).eval()
    again = load_emotion_net(Path("w.pth"), network.state_dict())
    assert again.shape == shape
    x = torch.rand(2, 1, 48, 48)
    assert torch.equal(again(x), network(x))


def refused(state: object, tmp_path: Path, **told: object) -> str:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(TrainingError) as info:
        open_custom_network(tmp_path / "w.pth", CustomOptions(**{"classes": CLASSES, "network": "si100b", **told}))  # type: ignore[arg-type]
    return str(info.value)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    good = EmotionNet(3).state_dict()
    wrong = {**good, "fc2.weight": torch.zeros(9, 9)}
    assert "layer 'fc2.weight': expected shape (9, 256), found (9, 9)" in refused(wrong, tmp_path)
    assert "'conv2.weight': expected shape (_, 64, k, k)" in refused(
        {**good, "conv2.weight": torch.zeros(8, 9, 3, 3)}, tmp_path
    )
    assert "takes 4000 values" in refused({**good, "fc1.weight": torch.zeros(256, 4000)}, tmp_path)
    assert "expected layer 'conv1.weight'" in refused({f"net.{k}": v for k, v in good.items()}, tmp_path)
    assert "found also 'extra'" in refused({**good, "extra": torch.zeros(4)}, tmp_path)
    assert "not finite" in refused({**good, "fc3.bias": torch.tensor([0, 0, float("nan")])}, tmp_path)
    assert "trained for 3 classes, but 2 are named" in refused(good, tmp_path, classes=("happy", "sad"))
    assert "found an object of type int under 'epoch'" in refused({**good, "epoch": 3}, tmp_path)
    assert "found an object of type list" in refused([1, 2], tmp_path)
    assert "an empty dictionary" in refused({}, tmp_path)
    assert "only running its code could open" in refused(EmotionNet(3), tmp_path)
    assert "expected one of si100b" in refused(good, tmp_path, network="vgg")
    assert "leave one out" in refused(good, tmp_path, module="a.py:b")
    for damaged in (b"garbage", b""):
        (tmp_path / "w.pth").write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"w\.pth: not a file of PyTorch weights"):
            read_state_dict(tmp_path / "w.pth")
    with pytest.raises(TrainingError, match="no such file"):
        read_state_dict(tmp_path / "none.pth")


def test_wrapped_halved_and_nested_weights_are_taken(tmp_path: Path):
    good = EmotionNet(3).state_dict()
    for state in (
        {f"module.{k}": v for k, v in good.items()},
        {f"_orig_mod.module.{k}": v.half() for k, v in good.items()},
        {"epoch": 3, "optimizer": {"lr": 1}, "model_state_dict": good},
    ):
        torch.save(state, tmp_path / "w.pth")
        network = open_custom_network(tmp_path / "w.pth", CustomOptions(classes=CLASSES)).network
        found = network.state_dict()
        assert list(found) == list(good)
        torch.testing.assert_close(found["fc3.weight"], good["fc3.weight"], atol=1e-3, rtol=1e-3)


def test_weights_saved_on_a_graphics_card_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = {name: tensor.bfloat16() for name, tensor in EmotionNet(3).state_dict().items()}
    with monkeypatch.context() as patch:  # a file as torch.save(model.cuda().state_dict()) writes it
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(good, tmp_path / "w.pth")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "w.pth", weights_only=True)
    found = read_state_dict(tmp_path / "w.pth")
    assert {(tensor.device.type, tensor.dtype) for tensor in found.values()} == {("cpu", torch.float32)}
    torch.testing.assert_close(found["fc3.weight"], good["fc3.weight"].float())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no 'missing' in it; found Direct, Normalized"),
        ("broken", "expected a class or function that makes a network, found an object of type int"),
        ("fails", r"line \d+: ValueError: no such thing"),
        ("silent", r"found nothing \(None\)"),
        ("needs", "argument 'alpha' has no default"),
        ("Noisy", r"training=self\.training"),
        ("flat", "was trained for 6912 classes, but 3 are named"),
        ("pair", "found an object of type tuple"),
    ],
)
def test_code_that_makes_no_such_network_is_refused(name: str, message: str, code: Path, tmp_path: Path):
    torch.save({}, tmp_path / "w.pth")
    state: dict[str, Tensor] = {"x": torch.zeros(1)} if name not in ("Noisy", "flat", "pair") else {}
    torch.save(state or {"state_dict": {"x": torch.zeros(1)}}, tmp_path / "w.pth")
    if not state:  # networks without weights
        torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mien_train.networks.custom_network.read_state_dict", lambda path: {})
            with pytest.raises(TrainingError, match=message):
                open_custom_network(tmp_path / "w.pth", CustomOptions(classes=CLASSES, module=f"{code}:{name}"))
        return
    with pytest.raises(TrainingError, match=message):
        open_custom_network(tmp_path / "w.pth", CustomOptions(classes=CLASSES, module=f"{code}:{name}"))


def test_code_that_cannot_be_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text("x = (")
    Path("quits.py").write_text("import sys; sys.exit(1)")
    Path("lacks.py").write_text("import no_such_package")
    for address, message in (
        ("nothing", "expected FILE.py:NAME"),
        ("none.py:Net", "none.py: no such file"),
        ("bad.py:Net", "SyntaxError"),
        ("quits.py:Net", "SystemExit"),
        ("lacks.py:Net", "No module named 'no_such_package'"),
        ("no_such_package.deep:Net", "No module named"),
    ):
        with pytest.raises(TrainingError, match=message):
            make_custom_network(address, 3)


def test_a_file_is_imported_as_part_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, width in (("first", 5), ("second", 7)):
        folder = tmp_path / name / "lab_net"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("from . import classify\n")
        (folder / "sizes.py").write_text(f"WIDTH = {width}\n")
        (folder / "classify.py").write_text(
            "from torch import nn\nfrom .sizes import WIDTH\nimport lab_net.sizes\n"
            "def make(printtoggle): print('made'); return nn.Linear(WIDTH, 3)\n"
        )
        network = make_custom_network(f"{name}/lab_net/classify.py:make", 3)
        assert network.in_features == width  # type: ignore[union-attr]
    assert str(tmp_path / "second") not in sys.path
    for name in [n for n in sys.modules if n.split(".")[0] == "lab_net"]:
        del sys.modules[name]


def test_the_transform_of_the_code_gives_the_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scaled_net.py").write_text(
        "from torch import nn\n"
        "class Resize:\n    size = 24\n"
        "class ToTensor: pass\n"
        "class Normalize:\n    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)\n"
        "class Compose:\n    transforms = [Resize(), ToTensor(), Normalize()]\n"
        "transform = {'training': None, 'evaluate': Compose()}\n"
        "Net = lambda: nn.Sequential(nn.Conv2d(3, 3, 24), nn.Flatten())\n"
    )
    network = make_custom_network(f"{tmp_path}/scaled_net.py:Net", 3)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    module = f"{tmp_path}/scaled_net.py:Net"
    student = open_custom_network(tmp_path / "w.pth", CustomOptions(classes=CLASSES, module=module))
    assert (student.input.height, student.input.width) == (24, 24)
    assert (student.recipe["mean"], student.recipe["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert "from the code's transform" in student.notes[0]
    with pytest.raises(TrainingError, match=r"cannot take 1 pictures of 3 x 20 x 20 .*it takes 24 x 24"):
        open_custom_network(tmp_path / "w.pth", CustomOptions(classes=CLASSES, module=module, size=(20, 20)))
    del sys.modules["scaled_net"]


def test_the_command_takes_code_and_says_what_it_assumed(
    code: Path, data: Path, tmp_path: Path, mien: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    network = make_custom_network(f"{code}:makeDepthwise", 3)
    torch.save(network.state_dict(), "w.pth")
    module = f"{os.path.relpath(code)}:makeDepthwise"
    done, out, error = mien("export", "w.pth", "--module", module, "--data", data, "--size", "48", "--out", "s.onnx")
    assert done == 0
    assert not recwarn.list  # torch's own warnings are nothing that a student can do about
    assert "warn" not in error.lower()
    assert "assumed: mean 0.5 (the course's)" in out
    assert "assumed: classes: happy, neutral, sad (sorted" in out
    assert "assumed: size" not in out
    done, out, _ = mien("trace", "s.onnx", "w.pth", "--module", module, "--data", data)
    assert done == 0
    done, _, error = mien("export", "w.pth", "--module", module, "--classes", "a,b", "--mean", "x", "--out", "t.onnx")
    assert done == 2
    assert "numbers with commas" in error
    done, _, error = mien("export", "w.pth", "--classes", "a,b,c", "--out", "t.onnx")
    assert done == 2
    assert "module = my_net/classify.py:makeEmotionNet" in error


def test_evaluate_and_predict_take_the_weights_themselves(
    code: Path, data: Path, tmp_path: Path, mien: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    torch.save(make_custom_network(f"{code}:makeDepthwise", 3).state_dict(), "w.pth")
    told = ("--model", "w.pth", "--module", f"{code}:makeDepthwise")
    done, out, error = mien("evaluate", data, *told, "--no-repeats", "--html", "page.html")
    assert done == 0
    assert "happy" in out
    assert "assumed: mean 0.5" in error
    picture = sorted((data / "validation/happy").iterdir())[0]
    rows = ("predict", picture, *told, "--classes", ",".join(CLASSES), "--detector", "whole", "--out", "rows.csv")
    assert mien(*rows)[0] == 0
    assert "w" in Path("rows.csv").read_text()
    done, _, error = mien(*rows, "--resume")
    assert "complete" in error
    assert mien("predict", picture, *told)[0] == 2
    done, _, error = mien("predict", picture, "--classes", "happy,sad")
    assert done == 2
    assert "a bundle knows them" in error.replace("\n", " ").replace("│", "").replace("  ", " ")


def test_a_recipe_changes_the_course_s_network():
    """Each field changes what is computed, and a run's own record of it builds the same network again."""
    built: dict[str, tuple[str, ...]] = {}
    for name, changes in {
        "as the course": {},
        "wider": {"widths": (8, 16, 32)},
        "deeper": {"widths": (8, 16, 32, 32)},
        "normalized": {"batch_norm": True},
        "attentive": {"attention": "se"},
        "kernels": {"kernels": (5, 3, 3), "hidden": (20,)},
    }.items():
        recipe = parse_recipe({"network": {"name": "si100b", **changes}}, "test").network
        assert parse_recipe({"network": recipe.model_dump()}, "test").network == recipe
        network = build_network(recipe, 3, 3, 48).eval()
        assert network(torch.zeros(2, 3, 48, 48)).shape == (2, 3)
        built[name] = tuple(f"{k} {tuple(v.shape)}" for k, v in network.state_dict().items())
        if name != "kernels":  # other paddings fit those too
            assert isinstance(load_emotion_net(Path("w"), network.state_dict()), EmotionNet)
    assert len(set(built.values())) == len(built)
    assert built["as the course"] == tuple(f"{k} {tuple(v.shape)}" for k, v in EmotionNet(3).state_dict().items())
    torch.manual_seed(0)
    dropping = build_network(parse_recipe({"network": {"name": "si100b", "dropout": 0.5}}, "t").network, 3, 3, 48)
    x = torch.rand(1, 3, 48, 48)
    assert not torch.equal(dropping(x), dropping(x))
    assert torch.equal(dropping.eval()(x), dropping(x))


@pytest.mark.parametrize("own_code", [False, True])
def test_training_goes_on_from_a_student_s_weights(
    own_code: bool, code: Path, data: Path, tmp_path: Path, mien: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    name = "makeDepthwise" if own_code else "Normalized"
    network = make_custom_network(f"{code}:{name}", 3)
    torch.save(network.state_dict(), "w.pth")
    Path("few.toml").write_text(
        "epochs = 1\nbatch_size = 14\nlearning_rate = 1e-9\nweight_decay = 0.0\nema_decay = 0.0\n"
    )
    about = ("--module", f"{code}:{name}") if own_code else ()
    command = ("train", data, "--out", "run", "--recipe", "few.toml", "--init", "w.pth", *about)
    done, _, error = mien(*command)
    assert done == 0, error
    kept = torch.load("run/weights.pt", weights_only=True)
    prefix = "network." if own_code else ""
    for key, value in network.state_dict().items():
        if key.endswith("weight") and not key.startswith("bn"):
            torch.testing.assert_close(kept[prefix + key], value, atol=1e-4, rtol=1e-4)
    if own_code:
        done, _, error = mien("export", "run", "--data", data, "--out", "r.onnx")
        assert done == 2
        assert "opening the run runs it" in error
        assert open_run(Path("run"), f"{code}:{name}").classes == CLASSES
    assert mien("train", data, "--out", "other", "--recipe", "few.toml", "--module", "a.py:b")[0] == 2


def test_a_refused_recipe_leaves_the_folder_free(data: Path, tmp_path: Path, mien: Callable[..., tuple[int, str, str]]):
    recipe = tmp_path / "r.toml"
    recipe.write_text("epochs = 1\nbatch_size = 4096\n")
    command = ("train", data, "--out", tmp_path / "run", "--recipe", recipe)
    code, _, error = mien(*command)
    assert code == 2
    assert "do not fill one batch" in error
    assert not (tmp_path / "run/run.json").exists()
    recipe.write_text("epochs = 1\nbatch_size = 16\nsize = 16\n[network]\nwidths = [4]\nblocks = [1]\n")
    assert mien(*command)[0] == 0


def test_too_few_steps_are_mentioned(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from mien_train.recipe import Recipe
    from mien_train.run.loop import train as train_loop

    network = {"widths": (4,), "blocks": (1,)}
    recipe = Recipe.model_validate({"network": network, "size": 16, "epochs": 1, "batch_size": 16})
    train_loop(data, tmp_path / "run", recipe)
    assert "give 2 steps an epoch and 2 in all; expected 300 or more" in caplog.text
    assert "take batch_size = 4" in caplog.text
