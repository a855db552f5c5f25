"""Training on a task that can be learned in seconds: bright, dark and striped squares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")

import torch

from mien.detect import StubDetector
from mien.errors import DatasetError, TrainingError
from mien.model.bundle import load_bundle, write_bundle
from mien.model.manifest import CropSpec, Framing, InputSpec
from mien.model.session import Session
from mien.model.verify import verify_bundle
from mien.records import Face
from mien_train.bundles import export_run as exporting
from mien_train.bundles.measured import fit_temperature
from mien_train.bundles.to_onnx import DeployedNetwork, make_golden, to_onnx
from mien_train.data import tensors
from mien_train.data.augment import augment, cutmix, mix, mixup, shrink, side_at
from mien_train.data.framing import measure_framing
from mien_train.data.packs import load_training_data, soft_targets
from mien_train.networks.initial import load_initial
from mien_train.networks.resnet import EmotionNet, build_network
from mien_train.recipe import AugmentRecipe, NetworkRecipe, Recipe, load_recipe, parse_recipe
from mien_train.run import folder as runfolder
from mien_train.run import train as training
from mien_train.run import trainer
from mien_train.run.distillation import open_panel, teacher_targets
from mien_train.run.optimizer import learning_rate
from mien_train.run.trainer import sampling_chances
from tests.models import tiny_golden, tiny_manifest, tiny_onnx
from tests.progress import Told

CLASSES = ("bright", "dark", "striped")
SMALL = NetworkRecipe(widths=(8, 16), blocks=(1, 1), dropout=0.0)
RECIPE = Recipe(network=SMALL, size=16, epochs=3, batch_size=16, learning_rate=0.05, warmup_epochs=0.5, ema_decay=0.9,
                augment=AugmentRecipe(erase_share=0, brightness=0.05, contrast=0.1))  # fmt: skip

OFF = AugmentRecipe(
    rotate_deg=0, scale=0, shift=0, brightness=0, contrast=0, blur_share=0, low_res_share=0, noise=0, erase_share=0
)
"""Nothing but mirroring."""


def squares(root: Path, per_class: int = 32) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", per_class), ("validation", 12)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = {
                    "bright": np.full((16, 16), 200),
                    "dark": np.full((16, 16), 50),
                    "striped": np.tile([40, 220], (16, 8)),
                }[name]
                Image.fromarray((image + rng.integers(-20, 20, (16, 16))).astype(np.uint8)).save(folder / f"{i:03}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(data, out)
    return out


def train(
    data: Path, out: Path, recipe: Recipe = RECIPE, on_epoch: Callable[[runfolder.Epoch], None] = lambda e: None
) -> None:
    training.run(data, out, recipe, 1, on_epoch)


def test_it_learns(run: Path):
    history = runfolder.read_history(run)
    assert [e.epoch for e in history] == [1, 2, 3]
    assert history[-1].validation_accuracy > 0.9
    assert (run / "curves.svg").read_text().startswith("<?xml")


def test_the_run_folder_says_how_to_repeat_it(run: Path):
    about = json.loads((run / "run.json").read_text())
    assert parse_recipe(about["recipe"], "run.json") == RECIPE
    assert about["classes"] == list(CLASSES)
    assert set(about["versions"]) == {"mien", "python", "torch", "numpy", "pillow"}
    assert Path(about["data"], "train").is_dir()
    assert about["processes"] == 1
    assert training.choose_recipe(run, {}) == RECIPE
    assert training.choose_recipe(run, {"seed": 9}).seed == 9
    with pytest.raises(TrainingError, match="not a run folder"):
        training.choose_recipe(run.parent, {})


def test_the_same_seed_gives_the_same_weights(data: Path, run: Path, tmp_path: Path):
    train(data, tmp_path / "again")
    assert _equal(run / "weights.pt", tmp_path / "again/weights.pt")
    train(data, tmp_path / "other", RECIPE.model_copy(update={"seed": 1}))
    assert not _equal(run / "weights.pt", tmp_path / "other/weights.pt")


def test_a_killed_run_goes_on_and_ends_where_it_would_have(data: Path, run: Path, tmp_path: Path):
    def kill(epoch: runfolder.Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "killed", on_epoch=kill)
    seen: list[int] = []
    train(data, tmp_path / "killed", on_epoch=lambda e: seen.append(e.epoch))
    assert seen == [3]
    assert _equal(run / "weights.pt", tmp_path / "killed/weights.pt")
    assert [e.epoch for e in runfolder.read_history(tmp_path / "killed")] == [1, 2, 3]


def test_another_recipe_or_other_data_do_not_go_on_in_the_same_folder(data: Path, run: Path, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"recipe\.learning_rate was 0\.05, is 0\.01"):
        train(data, run, RECIPE.model_copy(update={"learning_rate": 0.01}))
    with pytest.raises(TrainingError, match="data_fingerprint"):
        train(squares(tmp_path / "less", per_class=20), run)


def test_a_run_may_start_from_anothers_weights(data: Path, run: Path, tmp_path: Path):
    gentle = RECIPE.model_copy(update={"epochs": 1, "learning_rate": 1e-6, "seed": 5})
    training.run(data, tmp_path / "tuned", gentle, 1, initial=run / "weights.pt")
    assert runfolder.read_history(tmp_path / "tuned")[0].validation_accuracy > 0.9
    with pytest.raises(TrainingError, match="initial_weights_sha256"):
        training.run(data, tmp_path / "tuned", gentle, 1)
    with pytest.raises(TrainingError, match="no such file; expected weights"):
        training.run(data, tmp_path / "none", gentle, 1, initial=tmp_path / "none.pt")
    (tmp_path / "odd.pt").write_bytes(b"odd")
    with pytest.raises(TrainingError, match=r"odd\.pt: damaged, or not a file of PyTorch tensors"):
        training.run(data, tmp_path / "odd", gentle, 1, initial=tmp_path / "odd.pt")


def test_teachers_decide_their_share_of_the_targets(data: Path, tmp_path: Path):
    """A teacher that swaps bright and dark, with the whole say: the pupil swaps them too."""
    teacher = tmp_path / "teacher.onnx"
    spec = tensors.input_spec(RECIPE)
    swapped = ("dark", "striped", "bright")  # the tiny model's first class is the bright one
    write_bundle(teacher, tiny_onnx(size=16), tiny_manifest(classes=swapped, input=spec), tiny_golden(16))
    pupil = RECIPE.model_copy(update={"teacher_share": 1.0, "epochs": 4})
    training.run(data, tmp_path / "pupil", pupil, 1, teachers=[teacher])
    network = exporting.open_run(tmp_path / "pupil").network
    flat = np.stack([np.full((16, 16, 1), level, np.uint8) for level in (220, 30)])
    assert tensors.predict_logits(network, flat, "fp32").argmax(1).tolist() == [CLASSES.index("dark"), 0]
    (tmp_path / "pupil/weights.pt").unlink()
    asked = Told()
    training.run(
        data, tmp_path / "pupil", pupil, 1, teachers=[teacher],
        progress=asked,
    )  # fmt: skip
    assert (tmp_path / "pupil/weights.pt").exists()
    assert "asking the teachers" not in asked.names  # a run that goes on asks nobody twice

    with pytest.raises(TrainingError, match="teachers_sha256"):
        training.run(data, tmp_path / "pupil", pupil, 1, teachers=[teacher, teacher])
    with pytest.raises(TrainingError, match="teacher_share is 1 and 0 teachers are given"):
        train(data, tmp_path / "alone", pupil)
    with pytest.raises(TrainingError, match="teacher_share is 0 and 1 teachers are given"):
        training.run(data, tmp_path / "alone", RECIPE, 1, teachers=[teacher])


def test_a_teacher_must_know_the_classes_and_see_the_same_pictures(data: Path, tmp_path: Path):
    spec = tensors.input_spec(RECIPE)
    train_pack = load_training_data(data, spec, tmp_path / "cache").train
    for name, changes, message in (
        ("classes", {"input": spec}, "expected the data's classes .*found happy, neutral, sad"),
        ("size", {"classes": CLASSES}, "sees 48 x 48 gray, the recipe asks for 16 x 16 gray"),
    ):
        size = 16 if name == "classes" else 48
        write_bundle(tmp_path / f"{name}.onnx", tiny_onnx(size=size), tiny_manifest(**changes), tiny_golden(size))
        with pytest.raises(TrainingError, match=message):
            teacher_targets([tmp_path / f"{name}.onnx"], train_pack, spec)


def test_teachers_may_be_asked_about_every_view(data: Path, run: Path, tmp_path: Path):
    """A finished run as the only teacher, with the whole say; asked about each view, nothing is kept of its answers."""
    pupil = RECIPE.model_copy(update={"teacher_share": 1.0, "teacher_sees": "view", "seed": 4, "epochs": 4})
    training.run(data, tmp_path / "pupil", pupil, 1, teachers=[run])
    assert runfolder.read_history(tmp_path / "pupil")[-1].validation_accuracy > 0.9
    assert not list((tmp_path / "pupil/cache").glob("taught-*"))
    about = json.loads((tmp_path / "pupil/run.json").read_text())
    assert about["teachers_sha256"] == hashlib.sha256((run / "weights.pt").read_bytes()).hexdigest()
    tiny = tmp_path / "tiny.onnx"
    manifest = tiny_manifest(classes=CLASSES, input=tensors.input_spec(RECIPE))
    write_bundle(tiny, tiny_onnx(size=16), manifest, tiny_golden(16))
    with pytest.raises(TrainingError, match="expected a network that `mien train` made"):
        training.run(data, tmp_path / "none", pupil, 1, teachers=[tiny])
    with pytest.raises(TrainingError, match="not a run folder"):
        training.run(data, tmp_path / "other", pupil, 1, teachers=[data])


@pytest.mark.parametrize("votes_weight", [0.0, 0.5])
def test_a_teacher_says_the_same_as_a_run_and_as_a_bundle(data: Path, tmp_path: Path, votes_weight: float):
    """All ways to ask one network: at its calibrated temperature as a bundle, and without its auxiliary outputs."""
    recipe = RECIPE.model_copy(update={"epochs": 1, "votes_weight": votes_weight})
    train(data, tmp_path / "run", recipe)
    spec = tensors.input_spec(recipe)
    found = load_training_data(data, spec, tmp_path / "cache")
    network = exporting.open_run(tmp_path / "run").network
    deployed = DeployedNetwork(network, len(CLASSES), 0.5)
    manifest = tiny_manifest(classes=CLASSES, input=spec)
    update = {
        "training": manifest.training.model_copy(update={"recipe": recipe.model_dump(mode="json")}),
        "calibration": manifest.calibration.model_copy(update={"temperature": 0.5}),
    }
    write_bundle(
        tmp_path / "b.onnx", to_onnx(deployed, spec), manifest.model_copy(update=update), make_golden(deployed, spec)
    )
    images, order = found.train.images[:40], ("striped", "bright", "dark")
    logits = tensors.predict_logits(network, images, "fp32")[:, [2, 0, 1]]
    inputs = tensors.normalize(tensors.to_tensor(images))
    for teacher, temperature in ((tmp_path / "run", 1.0), (tmp_path / "b.onnx", 0.5)):
        panel = open_panel([teacher, teacher], order, spec, images, torch.device("cpu"))
        torch.testing.assert_close(panel.ask(inputs), (logits / temperature).softmax(1), atol=1e-4, rtol=1e-4)
    both = teacher_targets([tmp_path / "run"], found.train, spec)
    mirrored = tensors.predict_logits(network, np.ascontiguousarray(images[:, :, ::-1]), "fp32")
    straight = tensors.predict_logits(network, images, "fp32")
    wanted = (straight[:, :3].softmax(1) + mirrored[:, :3].softmax(1)) / 2
    np.testing.assert_allclose(both[:40], wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("quality", [7, 20, 50])
def test_jpeg_is_what_a_jpeg_file_does(quality: int, monkeypatch: pytest.MonkeyPatch):
    picture = cv2.resize(cv2.cvtColor(skimage.data.astronaut()[0:220, 120:340], cv2.COLOR_RGB2GRAY), (48, 48))
    drawn = torch.full((1,), (quality - 5) / 55)
    monkeypatch.setattr(torch, "rand", lambda *a, **k: drawn)
    recipe = OFF.model_copy(update={"jpeg_share": 1.0, "flip": False})
    found = augment(tensors.to_tensor(picture[None, :, :, None]), recipe, torch.Generator().manual_seed(0))[0, 0]
    wanted = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    error = np.abs(found.numpy() * 255 - wanted).mean()
    assert error < 1.5 < np.abs(picture.astype(float) - wanted).mean()


def test_jpeg_wants_whole_squares():
    with pytest.raises(TrainingError, match=r"size: .*multiple of 8 with augment\.jpeg_share.*found 50"):
        parse_recipe({"size": 50, "augment": {"jpeg_share": 0.1}}, "recipe")
    assert parse_recipe({"size": 50}, "recipe").size == 50


def test_levels_take_the_light_away():
    recipe = NetworkRecipe(widths=(8,), blocks=(1,), levels="picture", dropout=0.0)
    torch.manual_seed(0)
    network = build_network(recipe, 1, 3, 16).eval()
    x = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1)) - 0.5
    torch.testing.assert_close(network(x * 0.5 + 0.3), network(x), atol=0.03, rtol=0.03)
    assert network(torch.full((2, 1, 16, 16), 0.7)).isfinite().all()
    plain = build_network(recipe.model_copy(update={"levels": "fixed"}), 1, 3, 16)
    assert plain.state_dict().keys() == network.state_dict().keys()  # weights of either start the other


def test_a_bad_loss_stops_and_keeps_the_last_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def explode(epoch: runfolder.Epoch) -> None:
        monkeypatch.setattr(trainer.F, "cross_entropy", lambda *a: torch.tensor(float("nan"), requires_grad=True))

    with pytest.raises(TrainingError, match=r"loss is nan at epoch 2, step 1 \(learning rate"):
        train(data, tmp_path / "nan", on_epoch=explode)
    assert torch.load(tmp_path / "nan/checkpoint.pt", weights_only=True)["epochs_done"] == 1


def test_a_full_disk_leaves_the_previous_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save = torch.save

    def full(state: object, file: object) -> None:
        if isinstance(state, dict) and state.get("epochs_done") == 2:
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*previous checkpoint is untouched"):
        train(data, tmp_path / "full")
    assert torch.load(tmp_path / "full/checkpoint.pt", weights_only=True)["epochs_done"] == 1
    assert not list((tmp_path / "full").glob("*.partial"))


def test_pictures_repeated_in_validation_do_not_train(data: Path, tmp_path: Path):
    root = squares(tmp_path / "leak")
    leaked = root / "validation/dark/000.png"
    (root / "train/bright/zzz.png").write_bytes(leaked.read_bytes())
    found = load_training_data(root, tensors.input_spec(RECIPE), tmp_path / "cache")
    assert len(found.train.labels) - len(found.train_rows) == 1
    assert len(found.validation.labels) - len(found.clean_rows) == 1


def test_a_corrupt_picture_is_left_out_and_named(tmp_path: Path):
    root = squares(tmp_path / "corrupt")
    (root / "train/dark/zzz.png").write_bytes(b"not a picture")
    found = load_training_data(root, tensors.input_spec(RECIPE), tmp_path / "cache")
    assert len(found.train.labels) == 96
    assert "zzz.png" in found.train.failed[0]


def test_the_cache_notices_a_changed_picture(tmp_path: Path):
    root = squares(tmp_path / "d")
    before = load_training_data(root, tensors.input_spec(RECIPE), tmp_path / "cache")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(root / "train/dark/000.png")
    after = load_training_data(root, tensors.input_spec(RECIPE), tmp_path / "cache")
    assert before.fingerprint != after.fingerprint
    assert (after.train.images.reshape(96, -1).sum(axis=1) == 0).sum() == 1


def test_a_class_in_one_split_only_is_refused(tmp_path: Path):
    root = squares(tmp_path / "odd")
    (root / "validation/striped").rename(root / "validation/spotted")
    with pytest.raises(DatasetError, match="class spotted, striped stands in only one"):
        load_training_data(root, tensors.input_spec(RECIPE), tmp_path / "cache")


def test_a_class_with_one_picture_is_mentioned_and_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = squares(tmp_path / "data")
    for split, level in (("train", 128), ("validation", 120)):
        (root / split / "gray").mkdir()
        Image.fromarray(np.full((16, 16), level, np.uint8)).save(root / split / "gray" / "only.png")
    train(root, tmp_path / "run", RECIPE.model_copy(update={"balance": 0.5}))
    assert "few training pictures: gray (1)" in caplog.text
    assert runfolder.read_history(tmp_path / "run")[-1].validation_accuracy > 0.9


def test_training_and_validation_must_both_be_there(tmp_path: Path):
    (tmp_path / "train/a").mkdir(parents=True)
    with pytest.raises(DatasetError, match="no folder 'validation'"):
        load_training_data(tmp_path, tensors.input_spec(RECIPE), tmp_path / "cache")


def test_too_few_pictures_for_a_batch_say_so(data: Path, tmp_path: Path):
    with pytest.raises(TrainingError, match="do not fill one batch of 4096"):
        train(data, tmp_path / "few", RECIPE.model_copy(update={"batch_size": 4096}))


def test_votes_make_soft_targets(data: Path, tmp_path: Path):
    train_pack = load_training_data(data, tensors.input_spec(RECIPE), tmp_path / "cache").train
    train_pack.votes[0] = [1, 3, 0]
    targets = soft_targets(train_pack, 0.6, 0.0)
    np.testing.assert_allclose(targets[0], [0.6 + 0.4 * 0.25, 0.4 * 0.75, 0], atol=1e-6)
    np.testing.assert_allclose(targets[1], [1, 0, 0])
    np.testing.assert_allclose(soft_targets(train_pack, 0.6, 0.1).sum(axis=1), 1, atol=1e-6)


def test_an_auxiliary_output_learns_votes_and_is_not_exported(data: Path, tmp_path: Path):
    recipe = RECIPE.model_copy(update={"votes_weight": 0.5, "epochs": 1})
    train(data, tmp_path / "aux", recipe)
    assert torch.load(tmp_path / "aux/weights.pt", weights_only=True)["head.weight"].shape[0] == 6


# --- augmentation, networks, recipes ------------------------------------------------------------------------------


def test_augmentation_is_repeatable_and_keeps_shape_and_range():
    x = torch.rand(32, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    a, b = (augment(x, AugmentRecipe(), torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == x.shape
    assert 0 <= float(a.min()) <= float(a.max()) <= 1
    assert not torch.equal(a, augment(x, AugmentRecipe(), torch.Generator().manual_seed(8)))


def test_mixup_blends_pictures_and_targets_alike():
    x = torch.arange(8.0).view(8, 1, 1, 1)
    mixed, (targets,) = mixup(x, (x.view(8, 1),), 0.5, torch.Generator().manual_seed(3))
    assert not torch.equal(mixed, x)
    assert torch.allclose(mixed.view(8), targets.view(8))
    assert mixed.sum() == pytest.approx(28.0, abs=1e-4)  # each picture gives what another takes
    assert mixup(x, (), 0.0, torch.Generator())[0] is x


@given(seed=st.integers(0, 2**20), strength=st.floats(0.1, 5))
def test_cutmix_pastes_a_rectangle_and_blends_targets_by_its_area(seed: int, strength: float):
    """Picture i is all i, so that a picture's mean is what its target has to be."""
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 12, 20)
    mixed, (targets,) = cutmix(x, (torch.arange(6.0).view(6, 1),), strength, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), targets.view(6), atol=1e-4, rtol=0)
    foreign = (mixed != x).flatten(1)
    if foreign.any():
        ys, xs = torch.nonzero((mixed != x).any(0)[0], as_tuple=True)
        area = (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1)
        assert set(foreign.sum(1).tolist()) <= {0, int(area)}  # whole in a picture, or pasted from itself


def test_a_recipe_with_both_mixes_either_way():
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 16, 16)
    recipe = Recipe(mixup=1.0, cutmix=1.0)
    kinds = set()
    for seed in range(20):
        mixed, _ = mix(x, (), recipe, torch.Generator().manual_seed(seed))
        kinds.add("mixup" if bool((mixed % 1 != 0).any()) else "cutmix")
    assert kinds == {"mixup", "cutmix"}
    assert mix(x, (), Recipe(), torch.Generator())[0] is x


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), balance=st.floats(0, 1))
def test_balance_draws_classes_by_a_power_of_their_size(counts: list[int], balance: float):
    labels = np.repeat(np.arange(len(counts)), counts)
    chances = sampling_chances(labels, balance)
    found = np.bincount(labels, chances)
    wanted = np.array(counts, float) ** (1 - balance)
    np.testing.assert_allclose(found, wanted / wanted.sum())


def test_balanced_sampling_and_adamw_learn_too(data: Path, tmp_path: Path):
    recipe = RECIPE.model_copy(
        update={"balance": 1.0, "optimizer": "adamw", "learning_rate": 0.01, "cutmix": 0.5, "epochs": 4}
    )
    train(data, tmp_path / "run", recipe)
    assert runfolder.read_history(tmp_path / "run")[-1].validation_accuracy > 0.9


def test_a_run_can_be_watched_in_tensorboard(run: Path):
    (events,) = (run / "tensorboard").iterdir()
    assert b"accuracy/validation_without_repeats" in events.read_bytes()


def test_augmentation_turned_off_changes_nothing():
    off = OFF.model_copy(update={"flip": False})
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(augment(x, off, torch.Generator()), x, atol=1e-5, rtol=0)


def test_flipping_alone_mirrors():
    x = torch.rand(64, 1, 16, 16)
    y = augment(x, OFF, torch.Generator().manual_seed(0))
    same = (y - x).abs().amax(dim=(1, 2, 3)) < 1e-4
    mirrored = (y - x.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 16 < int(same.sum()) < 48


def test_stretching_and_shearing_leave_one_direction_alone():
    ramp = torch.linspace(0.2, 0.8, 32).view(1, 1, 1, 32).expand(8, 1, 32, 32)
    still = OFF.model_copy(update={"flip": False})
    for changes, kept, changed in (
        ({"stretch": 0.5}, ramp.transpose(2, 3), ramp),
        ({"shear": 0.5}, ramp.transpose(2, 3), ramp),
    ):
        recipe = still.model_copy(update=changes)
        torch.testing.assert_close(augment(kept, recipe, torch.Generator()), kept, atol=1e-4, rtol=0)
        found = augment(changed, recipe, torch.Generator())
        along = (found[:, :, 8:24, 8:24].diff(dim=2).abs().amax(dim=(1, 2, 3)) > 1e-3).tolist()
        assert along == [changes == {"shear": 0.5}] * 8  # a lean shows from row to row, a stretch does not
        assert (found - changed).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("changes", [{"blur_share": 1}, {"low_res_share": 1}])
def test_blur_and_low_resolution_take_the_fine_grain(changes: dict[str, float]):
    grain = torch.rand(8, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    found = augment(grain, OFF.model_copy(update=changes), torch.Generator().manual_seed(1))
    assert (found.std(dim=(1, 2, 3)) < 0.8 * grain.std(dim=(1, 2, 3))).all()
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), grain.mean(dim=(1, 2, 3)), atol=0.02, rtol=0)


def test_erasing_blanks_one_rectangle_with_one_gray():
    grain = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    recipe = OFF.model_copy(update={"flip": False, "erase_share": 1})
    changed = (augment(grain, recipe, torch.Generator().manual_seed(1)) - grain).abs() > 1e-4
    for picture in changed[:, 0]:
        ys, xs = torch.nonzero(picture, as_tuple=True)
        area = int(ys.max() - ys.min() + 1) * int(xs.max() - xs.min() + 1)
        assert area <= 0.3 * 48 * 48
        assert len(ys) > 0.95 * area  # but where the gray happens to be the picture's


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(learning_rate=0.4, warmup_epochs=2, epochs=10)
    rates = [learning_rate(recipe, step, 5) for step in range(50)]
    np.testing.assert_allclose(rates[:10], 0.04 * np.arange(1, 11))
    np.testing.assert_allclose(rates[10:], 0.2 * (1 + np.cos(np.pi * np.arange(40) / 40)))


def test_the_average_follows_the_weights(data: Path, tmp_path: Path):
    for decay, same in ((0.0, True), (0.9, False)):
        train(data, tmp_path / str(decay), RECIPE.model_copy(update={"ema_decay": decay, "epochs": 1}))
        state = torch.load(tmp_path / str(decay) / "checkpoint.pt", weights_only=True)
        assert torch.equal(state["network"]["head.weight"], state["average"]["head.weight"]) is same


def test_gradients_are_clipped(data: Path, tmp_path: Path):
    moved: list[float] = []
    for clip in (1e-6, 5.0):
        update = {"gradient_clip": clip, "weight_decay": 0.0, "ema_decay": 0.0, "epochs": 1}
        train(data, tmp_path / str(clip), RECIPE.model_copy(update=update))
        torch.manual_seed(RECIPE.seed)
        fresh = build_network(RECIPE.network, 1, 3, 16)
        state = torch.load(tmp_path / str(clip) / "weights.pt", weights_only=True)
        moved.append(float((state["head.weight"] - fresh.state_dict()["head.weight"]).abs().max()))
    assert moved[0] < 1e-5 < 0.01 < moved[1]


def test_the_courses_network_has_the_courses_names_and_shapes():
    shapes = {k: tuple(v.shape) for k, v in EmotionNet(3).state_dict().items() if k.endswith("weight")}
    assert shapes == {
        "conv1.weight": (64, 3, 3, 3), "conv2.weight": (128, 64, 3, 3), "conv3.weight": (256, 128, 4, 4),
        "fc1.weight": (256, 4096), "fc2.weight": (64, 256), "fc3.weight": (3, 64),
    }  # fmt: skip
    assert EmotionNet(3)(torch.zeros(2, 3, 48, 48)).shape == (2, 3)


@pytest.mark.parametrize("attention", ["none", "se"])
@pytest.mark.parametrize("stem", ["full", "pool", "wide", "stride"])
def test_the_residual_network_takes_any_batch(stem: str, attention: str):
    modules = {"stem": stem, "attention": attention, "widths": (8, 8), "blocks": (1, 2)}
    network = build_network(NetworkRecipe.model_validate(modules), 1, 7, 48).eval()
    assert network(torch.zeros(5, 1, 48, 48)).shape == (5, 7)


def test_networks_that_cannot_be_built_say_why():
    with pytest.raises(TrainingError, match="12 x 12 is too small for 3 convolutions"):
        build_network(NetworkRecipe.model_validate({"name": "si100b"}), 1, 3, 12)
    with pytest.raises(TrainingError, match=r"network\.widths has 2 stages and network\.blocks 1"):
        build_network(NetworkRecipe(widths=(8, 8), blocks=(1,)), 1, 3, 48)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate = 0.1", "did you mean 'learning_rate'"),
        ("[augment]\nrotate = 3", r"unknown field 'augment\.rotate'; did you mean 'rotate_deg'"),
        ("epochs = 0", "epochs: .*greater than or equal to 1"),
        ("epochs = ", "not valid TOML"),
        ("[network]\nwidths = [-8, 0]", r"network\.widths\.0: .*greater than or equal to 1 \(found -8\)"),
        ("[network]\nblocks = [2, 2, 2, 0]", r"network\.blocks\.3: .*greater than or equal to 1"),
        ("[network]\nname = 'si100b'\nstem = 'full'\ninner = 0.5", "si100b cannot do anything with stem, inner"),
        ("[network]\nname = 'si100b'\nblocks = [2, 2, 2]", "si100b cannot do anything with blocks"),
        ("[network]\nname = 'si100b'\nkernels = [3]", "widths has 3 convolutions and kernels 1"),
        ("[network]\nhidden = [64]\nbatch_norm = false", "resnet cannot do anything with hidden, batch_norm"),
        ("[network]\nname = 'module'", r"needs module = 'FILE\.py:NAME'"),
        ("size = 32\nstart_size = 48", r"start_size: .*expected at most size, 32: pictures grow \(found 48\)"),
    ],
)
def test_a_wrong_recipe_names_the_field(text: str, message: str, tmp_path: Path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")), ids=lambda p: p.name)
def test_the_shipped_recipes_are_valid(path: Path):
    recipe = load_recipe(path)
    channels = 1 if recipe.color == "gray" else 3
    trainer.check_sides(build_network(recipe.network, channels, 7, recipe.size), recipe, channels)


# --- calibration and export ---------------------------------------------------------------------------------------


def test_the_framing_undoes_the_detectors_habit():
    """A detector that always draws a box of 60 % of the crop, a tenth too high: margin and shift say so."""
    size = 16 * 4
    box = (size - 0.3 * size, size - 0.4 * size, size + 0.3 * size, size + 0.2 * size)
    report = measure_framing(np.zeros((30, 16, 16, 1), np.uint8), StubDetector([Face(box, 0.9, None, "stub")]), "none")
    assert report.framing.margin == pytest.approx(1 / 0.6, abs=0.01)
    assert report.framing.shift_xy == (0.0, pytest.approx(0.1, abs=0.01))
    assert (report.tried, report.found) == (30, 30)


def test_a_detector_that_finds_nothing_cannot_be_calibrated():
    with pytest.raises(TrainingError, match="finds a face in 0 of 25"):
        measure_framing(np.zeros((25, 16, 16, 1), np.uint8), StubDetector(), "none")


def test_the_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 5)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 4)
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)


def test_a_run_becomes_a_bundle_that_verifies(run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    size = 16 * 4
    stub = StubDetector([Face((size / 2, size / 2, size * 1.5, size * 1.5), 0.9, None, "stub")])
    monkeypatch.setattr(exporting, "make_detector", lambda name: stub)
    result = exporting.export_run(run, data, tmp_path / "squares.onnx", "squares", "drawn squares", "CC0", 60)
    bundle = load_bundle(tmp_path / "squares.onnx")
    assert bundle.manifest == result.bundle.manifest
    assert [c.passed for c in verify_bundle(bundle)] == [True] * 5
    assert bundle.manifest.classes == CLASSES
    assert bundle.manifest.crop.framing("libface") == Framing(margin=1.0, length="mean")
    for place in (exporting.__file__, torch.__file__):
        assert str(Path(place).parent).encode() not in bundle.model  # a file that travels names no machine's folders
    bright = np.full((1, 16, 16, 1), 200, np.uint8)
    assert Session(bundle, threads=1).run(bright)[0].argmax() == 0
    assert {m.split for m in bundle.manifest.metrics} >= {"validation"}

    # The bundle is a place to start from: the network that is taken out of it computes what the graph computes.
    network = build_network(SMALL, 1, 3, 16)
    images = load_training_data(data, tensors.input_spec(RECIPE), run / "cache").train.images
    load_initial(
        network, tmp_path / "squares.onnx", tensors.normalize(torch.from_numpy(images[:, None, ..., 0] / 255).float())
    )
    found = tensors.predict_logits(network, images, "fp32").numpy()
    np.testing.assert_allclose(found, Session(bundle, threads=1).run(np.array(images))[1], atol=1e-3)
    network.train()  # and its normalizations know the statistics of the pictures
    with torch.no_grad():
        trained = network(tensors.normalize(torch.from_numpy(images[:, None, ..., 0] / 255).float())).numpy()
    np.testing.assert_allclose(trained, found, atol=1e-2)

    with pytest.raises(TrainingError, match=r"not the weights of this recipe's network .*stages\.0\.conv1\.weight is"):
        load_initial(
            build_network(NetworkRecipe(widths=(12, 16), blocks=(1, 1)), 1, 3, 16),
            tmp_path / "squares.onnx",
            torch.zeros(2, 1, 16, 16),
        )
    with pytest.raises(TrainingError, match=r"conv1\.weight is missing"):
        load_initial(
            build_network(NetworkRecipe(widths=(8, 16), blocks=(1, 2)), 1, 3, 16),
            tmp_path / "squares.onnx",
            torch.zeros(2, 1, 16, 16),
        )


@pytest.mark.parametrize("as_bundle", [False, True])
def test_another_stem_and_head_start_afresh(
    as_bundle: bool,
    run: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    source = run / "weights.pt"
    if as_bundle:
        monkeypatch.setattr(
            exporting, "make_detector", lambda name: StubDetector([Face((32, 32, 96, 96), 0.9, None, "stub")])
        )
        source = tmp_path / "squares.onnx"
        exporting.export_run(run, data, source, "squares", "drawn squares", "CC0", 60)
    images = load_training_data(data, tensors.input_spec(RECIPE), run / "cache").train.images
    pictures = tensors.normalize(torch.from_numpy(images[:, None, ..., 0] / 255).float())
    network = build_network(SMALL.model_copy(update={"stem": "stride"}), 1, 5, 16)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_initial(network, source, pictures)
    after = network.state_dict()
    unchanged = {
        name.split(".")[0] for name in before if name.endswith("weight") and torch.equal(before[name], after[name])
    }
    assert unchanged == {"stem", "head"}
    assert "head and stem of another shape" in caplog.text
    training.run(  # and it learns from there
        data,
        tmp_path / "next",
        RECIPE.model_copy(update={"network": SMALL.model_copy(update={"stem": "stride"}), "epochs": 6}),
        1,
        initial=source,
    )
    assert runfolder.read_history(tmp_path / "next")[-1].validation_accuracy > 0.9


def test_pictures_may_start_small_and_grow(data: Path, tmp_path: Path):
    recipe = RECIPE.model_copy(update={"size": 48, "start_size": 24, "full_size_from": 0.6, "epochs": 10})
    assert [side_at(recipe, epoch) for epoch in range(10)] == [24, 24, 32, 32, 40, 40, 48, 48, 48, 48]
    assert side_at(RECIPE, 0) == 16
    x = torch.rand(3, 1, 48, 48)
    assert shrink(x, 48) is x
    small = shrink(x, 24)
    assert small.shape == (3, 1, 24, 24)
    torch.testing.assert_close(small.mean(), x.mean(), atol=0.01, rtol=0)
    seen: list[int] = []
    growing = RECIPE.model_copy(update={"size": 32, "start_size": 16, "epochs": 3, "full_size_from": 0.5})
    train(data, tmp_path / "run", growing, lambda e: seen.append(e.epoch))
    assert seen == [1, 2, 3]
    assert runfolder.read_history(tmp_path / "run")[-1].validation_accuracy > 0.9


def test_noise_may_come_to_a_share_of_the_pictures():
    gray = torch.full((400, 1, 16, 16), 0.5)
    recipe = OFF.model_copy(update={"noise": 0.1, "noise_share": 0.25})
    spread = augment(gray, recipe, torch.Generator().manual_seed(0)).std(dim=(1, 2, 3))
    assert 0.18 < float((spread > 0).float().mean()) < 0.32
    assert float(spread.max()) < 0.12


def test_a_network_may_be_compiled(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    recipe = RECIPE.model_copy(update={"compile": True, "precision": "fp32"})
    shapes: list[tuple[int, ...]] = []

    def compile_(network: torch.nn.Module, **kwargs: object) -> object:
        return lambda x: shapes.append(tuple(x.shape)) or network(x)

    monkeypatch.setattr(trainer.shutil, "which", lambda name: "/usr/bin/g++")
    monkeypatch.setattr(torch, "compile", compile_)
    train(data, tmp_path / "compiled", recipe)
    assert set(shapes) == {(16, 1, 16, 16)}
    monkeypatch.undo()
    train(data, tmp_path / "plain", RECIPE.model_copy(update={"precision": "fp32"}))
    plain, compiled = (torch.load(tmp_path / name / "weights.pt") for name in ("plain", "compiled"))
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor)
    monkeypatch.setattr(trainer.shutil, "which", lambda name: None)
    train(data, tmp_path / "bare", recipe)
    assert "compile = true needs a C++ compiler" in caplog.text
    bare = torch.load(tmp_path / "bare" / "weights.pt")
    assert all(torch.equal(bare[name], tensor) for name, tensor in plain.items())


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch):
    for abilities, precision in (({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=abilities: found, raising=False)
        assert tensors.resolve_precision("auto") == precision
        assert tensors.resolve_precision("fp32") == "fp32"


def test_an_unfinished_run_is_not_exported(run: Path, data: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text((run / "run.json").read_text())
    with pytest.raises(TrainingError, match="stopped after epoch 0 of 3"):
        exporting.export_run(tmp_path / "run", data, tmp_path / "x.onnx", "x", "", "", 60)
    with pytest.raises(TrainingError, match="not a run folder"):
        exporting.export_run(tmp_path, data, tmp_path / "x.onnx", "x", "", "", 60)


def test_training_crops_are_those_of_inference():
    """One preprocessing: the same picture through the training pack and through `cut` is the same array."""
    from mien.model.crop import cut, whole_face

    image = np.random.default_rng(0).integers(0, 256, (100, 90, 3), dtype=np.uint8)
    spec = InputSpec(height=48, width=48, channels=1, color="gray")
    other = CropSpec(align="eyes", framings={"default": Framing(margin=2.0)})
    np.testing.assert_array_equal(
        cut(image, [whole_face(image)], CropSpec(), spec), cut(image, [whole_face(image)], other, spec)
    )


def _equal(a: Path, b: Path) -> bool:
    first, second = (torch.load(p, weights_only=True) for p in (a, b))
    return all(torch.equal(first[k], second[k]) for k in first)
