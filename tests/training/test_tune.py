"""Searching recipes: spaces, studies that end, fail, are killed and go on, and what they leave behind."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("optuna")

from mien.dataset import read_split
from mien.errors import TrainingError
from mien.report import study_to_html, study_to_json
from mien.report.study import SearchField, Study, Trial
from mien.report.study_charts import AccuracyScale
from mien_train.data.packs import Pack, pack
from mien_train.data.tensors import input_spec
from mien_train.recipe import Recipe, load_recipe, parse_recipe
from mien_train.run.folder import read_history
from mien_train.tuning.space import load_space, parse_space
from mien_train.tuning.tune import tune
from tests.training.test_train import squares

Run = Callable[..., tuple[int, str, str]]

BASE = """
size = 16
epochs = 2
batch_size = 16
learning_rate = 0.05
warmup_epochs = 0.5
ema_decay = 0.9
[network]
widths = [8]
blocks = [1]
dropout = 0.0
[augment]
erase_share = 0.0
brightness = 0.05
contrast = 0.1
"""

SPACE = """
learning_rate = { low = 0.01, high = 0.1, log = true }
[network]
stem = { choices = ["pool", "stride"] }
choices = [{ widths = [8], blocks = [1] }, { widths = [8, 8], blocks = [1, 1] }]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return _write(tmp_path / "base.toml", BASE)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return _write(tmp_path / "space.toml", SPACE)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _outcomes(study: Study) -> list[tuple[object, ...]]:
    return [(t.number, t.state, t.accuracy, dict(t.params)) for t in study.finished]


# --- studies ------------------------------------------------------------------------------------------------------


def test_a_study_leaves_the_best_recipe_and_a_page(data: Path, base: Path, space: Path, tmp_path: Path, run: Run):
    out = tmp_path / "study"
    args = ("tune", data, "--out", out, "--space", space, "--recipe", base, "--threads", 1)
    code, printed, _ = run(*args, "--trials", 3)
    assert code == 0
    assert "3 of 3 trials finished: 0 stopped early, 0 failed" in printed
    assert f"next: mien train {data} --recipe {out / 'best.toml'} --out runs/study-best" in printed

    code, printed, _ = run(*args, "--trials", 3, "--json")
    study = json.loads(printed)
    best = study["trials"][study["best"]["number"]]
    assert (code, study["finished"], study["best"]["accuracy"]) == (0, 3, max(t["accuracy"] for t in study["trials"]))
    assert study["trials"][0]["is_base"]
    recipe = load_recipe(out / "best.toml")
    assert recipe.learning_rate == best["params"]["learning_rate"]
    assert recipe.network.stem == best["params"]["network.stem"]
    assert recipe.augment == load_recipe(base).augment
    assert (out / "best.toml").read_text() == study["best_recipe"]

    page = (out / "study.html").read_text()
    assert f"{study['best']['accuracy']:.2%}" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    weights = [p.parent.name for p in (out / "trials").glob("*/weights.pt")]
    assert weights == [f"{best['number']:04}"]  # of the others, only how they went
    assert not list((out / "trials").glob("*/checkpoint.pt"))
    assert len(list((out / "cache").glob("train-*"))) == 1

    code, printed, error = run(*args, "--trials", 3, "--seed", 1)
    assert (code, printed) == (2, "")
    assert "holds a study with another seed: seed was 0, is 1" in error
    other = _write(tmp_path / "other.toml", SPACE.replace("0.1,", "0.2,"))
    code, _, error = run(*args, "--trials", 3, "--space", other)
    assert code == 2
    assert "space.learning_rate.high was 0.1, is 0.2" in error
    code, _, error = run(*args[:1], squares(tmp_path / "less", per_class=20), *args[2:])
    assert code == 2
    assert "data_fingerprint" in error


def test_more_trials_may_be_wanted_later_and_are_those_that_would_have_come(
    data: Path, base: Path, space: Path, tmp_path: Path
):
    whole = tune(data, tmp_path / "whole", space=space, recipe=base, epochs=1, trials=4, threads=1)
    part = tune(data, tmp_path / "parts", space=space, recipe=base, epochs=1, trials=2, threads=1)
    both = tune(data, tmp_path / "parts", space=space, recipe=base, epochs=1, trials=4, threads=1)
    assert _outcomes(both)[:2] == _outcomes(part)
    assert _outcomes(both) == _outcomes(whole)
    assert len({str(t.params) for t in whole.trials}) == 4
    assert whole.importances
    assert sum(whole.importances.values()) == pytest.approx(1)


def test_a_killed_study_goes_on_without_losing_a_finished_trial(data: Path, base: Path, space: Path, tmp_path: Path):
    out = tmp_path / "study"
    command = [sys.executable, "-m", "mien", "tune", str(data), "--out", str(out), "--space", str(space)]
    command += ["--recipe", str(base), "--threads", "1", "--trials", "4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not (complete := _complete(out / "study.db")) and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert complete
    study = tune(data, out, space=space, recipe=base, trials=4, threads=1)
    assert len(study.finished) == 4
    assert not study.of_state("running")
    for number, accuracy in complete:
        assert study.trials[number].accuracy == accuracy
    assert all(len(t.curve) == 2 for t in study.of_state("complete"))


def _complete(database: Path) -> list[tuple[int, float]]:
    """Number and accuracy of the complete trials."""
    if not database.exists():
        return []
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(
            "select number, value from trials join trial_values using (trial_id) where state = 'COMPLETE'"
        ).fetchall()
    except sqlite3.OperationalError:  # no tables yet
        return []
    finally:
        connection.close()


def test_an_interrupted_trial_goes_on_where_it_was(data: Path, base: Path, space: Path, tmp_path: Path):
    def interrupt(study: Study) -> None:
        if any(t.curve for t in study.of_state("running")):
            raise KeyboardInterrupt

    out = tmp_path / "study"
    with pytest.raises(KeyboardInterrupt):
        tune(data, out, space=space, recipe=base, trials=1, threads=1, on_change=interrupt)
    study = tune(data, out, space=space, recipe=base, trials=1, threads=1)
    first, again = study.trials
    assert (first.state, again.state) == ("interrupted", "complete")
    assert first.params == again.params
    assert again.curve[:1] == first.curve
    assert [e.epoch for e in read_history(out / again.folder)] == [1, 2]
    assert list((out / "trials").iterdir()) == [out / first.folder]


def test_trials_of_processes_that_are_gone_are_tried_again(data: Path, base: Path, space: Path, tmp_path: Path):
    import optuna

    out = tmp_path / "study"
    tune(data, out, space=space, recipe=base, epochs=1, trials=1, threads=1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    held = optuna.load_study(study_name="study", storage=f"sqlite:///{out / 'study.db'}").ask()
    held.set_user_attr("worker", f"{socket.gethostname()}:{gone.pid}")
    held.suggest_float("learning_rate", 0.01, 0.1, log=True)
    study = tune(data, out, space=space, recipe=base, epochs=1, trials=2, threads=1)
    assert [t.state for t in study.trials] == ["complete", "interrupted", "complete"]
    assert study.trials[2].params["learning_rate"] == study.trials[1].params["learning_rate"]


def test_two_workers_on_one_file(data: Path, base: Path, space: Path, tmp_path: Path, run: Run):
    out = tmp_path / "study"
    args = ("--out", out, "--space", space, "--recipe", base, "--epochs", 1, "--trials", 4, "--workers", 2, "--json")
    code, printed, _ = run("tune", data, *args)
    study = json.loads(printed)
    assert code == 0
    assert [t["number"] for t in study["trials"]] == [0, 1, 2, 3]
    assert {t["state"] for t in study["trials"]} <= {"complete", "pruned"}
    assert len({str(t["params"]) for t in study["trials"]}) == 4
    assert load_recipe(out / "best.toml").epochs == 1


def test_hopeless_trials_are_stopped_and_repeated_ones_not_trained_again(
    data: Path, base: Path, tmp_path: Path, run: Run
):
    space = _write(tmp_path / "s.toml", "learning_rate = { choices = [0.05, 1e-6] }")
    out = tmp_path / "study"
    args = ("--out", out, "--space", space, "--recipe", base, "--threads", 1, "--startup", 1, "--trials", 5)
    code, printed, _ = run("tune", data, *args)
    assert code == 0
    assert "stopped" in printed
    code, printed, _ = run("tune", data, *args, "--json")
    trials = json.loads(printed)["trials"]
    stopped = [t for t in trials if t["state"] == "pruned"]
    assert {(t["params"]["learning_rate"], len(t["curve"])) for t in stopped} == {(1e-6, 1)}
    repeated = [t for t in trials if t["same_as"] is not None]
    assert len(repeated) == 3
    assert all(t["curve"] == trials[t["same_as"]]["curve"] for t in repeated)
    assert sorted(p.name for p in (out / "trials").iterdir()) == [
        f"{t['number']:04}" for t in trials if t["same_as"] is None
    ]


def test_a_failing_trial_is_recorded_and_the_study_goes_on(data: Path, base: Path, tmp_path: Path, run: Run):
    space = _write(tmp_path / "s.toml", "batch_size = { choices = [16, 4096] }\nseed = { low = 0, high = 99 }")
    out = tmp_path / "study"
    args = ("--space", space, "--recipe", base, "--threads", 1, "--epochs", 1)
    code, printed, error = run("tune", data, "--out", out, *args, "--trials", 4)
    assert code == 1
    assert "4 of 4 trials finished" in printed
    assert "failed: 96 training pictures do not fill one batch of 4096; lower batch_size" in error
    assert "do not fill one batch" in (out / "study.html").read_text()
    assert load_recipe(out / "best.toml").batch_size == 16
    code, _, error = run(
        "tune", data, "--out", tmp_path / "none", *args[2:], "--trials", 2, "--space",
        _write(tmp_path / "only.toml", "batch_size = { choices = [2048, 4096] }"),
    )  # fmt: skip
    assert code == 2
    assert "none of 2 trials succeeded" in error
    assert not (tmp_path / "none/best.toml").exists()


def test_no_trial_starts_after_the_time_is_over(data: Path, base: Path, space: Path, tmp_path: Path):
    study = tune(data, tmp_path / "study", space=space, recipe=base, trials=3, threads=1, timeout_s=0)
    assert not study.trials


def test_studies_share_a_database(data: Path, base: Path, space: Path, tmp_path: Path, run: Run):
    import optuna

    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    args = ("tune", data, "--space", space, "--recipe", base, "--threads", 1, "--trials", 1, "--storage", shared)
    for name in ("one", "two"):
        assert run(*args, "--out", tmp_path / name, "--name", name)[0] == 0
        assert not (tmp_path / name / "study.db").exists()
    assert sorted(optuna.get_all_study_names(shared)) == ["one", "two"]
    code, printed, _ = run(*args, "--out", tmp_path / "one", "--name", "one", "--json")
    assert (code, json.loads(printed)["finished"]) == (0, 1)  # found again, with nothing left to do


def test_what_cannot_be_searched_is_told(data: Path, base: Path, tmp_path: Path, run: Run):
    code, _, error = run("tune", data, "--out", tmp_path / "s", "--storage", "my.db")
    assert code == 2
    assert "expected the address of a database, as sqlite:///study.db" in error
    code, _, error = run("tune", data, "--out", tmp_path / "s", "--storage", "odd://user:secret@host/name")
    assert code == 2
    assert "odd://user:***@host/name" in error
    taught = _write(tmp_path / "taught.toml", "teacher_share = 0.5")
    code, _, error = run("tune", data, "--out", tmp_path / "s", "--recipe", taught)
    assert code == 2
    assert "trials have no teachers" in error
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.toml"))


def test_without_optuna_it_says_what_to_install(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    for module in ("tuning.tune", "tuning.worker", "tuning.storage"):
        monkeypatch.delitem(sys.modules, f"mien_train.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, error = run("tune", data, "--out", tmp_path / "s")
    assert code == 2
    assert "tuning needs optuna, which is not installed; run: pip install 'mien[tune]'" in error


# --- spaces -------------------------------------------------------------------------------------------------------


def test_the_bundled_space_holds_the_default_recipe():
    space = load_space(None, Recipe())
    params = space.params_of(Recipe())
    assert params is not None
    assert params["network"] == "widths 32-64-128-256, blocks 2-2-2-2"
    assert space.recipe(Recipe(), params) == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate = { low = 0.1, high = 0.2 }", "unknown field 'learnig_rate'; did you mean 'learning_rate'?"),
        ("rotate_deg = { low = 0, high = 9 }", "did you mean 'augment.rotate_deg'?"),
        ("[augment]\nrotate = { low = 0, high = 9 }", "'augment.rotate'; did you mean 'augment.rotate_deg'?"),
        ("mixup = { lo = 0, high = 9 }", "mixup: unknown key 'lo'; did you mean 'low'?"),
        ("mixup = { low = 0.3, high = 0.1 }", "mixup: low 0.3 is above high 0.1"),
        ("mixup = { low = 0, high = 9 }", "mixup.high: Input should be less than or equal to 5 (found 9)"),
        ("mixup = { low = 0, high = 1, log = true }", "a logarithm needs it above 0"),
        ("mixup = { low = 0 }", "mixup: high missing; give low and high, or choices"),
        ("mixup = { low = 0, high = 1, step = 0.3 }", "high 1 is not low 0 plus a number of steps of 0.3"),
        ("mixup = { low = 0, high = 1, step = 0 }", "mixup.step: expected a number above 0, found 0"),
        ("batch_size = { low = 8, high = 16, step = 0.5 }", "batch_size.step: expected a whole number above 0"),
        ("batch_size = { low = 8, high = '16' }", "batch_size.high: expected a number, found '16'"),
        ("mixup = { choices = [] }", "expected a list with at least one value, found []"),
        ("mixup = { choices = [0, 0.0] }", "mixup.choices: 0.0 stands there twice"),
        ("mixup = { choices = [0.1], low = 0 }", "has both choices and low"),
        ("mixup = 0.3", "a fixed value belongs in the recipe"),
        ("color = { low = 0, high = 1 }", "color: not a number, so it has no low and high; give choices"),
        (
            "network.stem = { choices = ['pol'] }",
            "network.stem.choices: Input should be 'full', 'pool', 'wide' or 'stride'",
        ),
        ("epochs = { choices = [1, 2] }", "epochs cannot be searched: every trial trains equally long"),
        ("network.choices = [{ witdhs = [8] }]", "unknown field 'network.witdhs'; did you mean 'widths'?"),
        ("network.choices = [3]", "expected tables of fields"),
        ("network.blocks = { choices = [[1], [1, 1]] }", "network.widths has 1 stages and network.blocks 1 or 2"),
        ("network.choices = [{ stem = 'pool' }]\nnetwork.stem = { choices = ['full'] }", "searched by two entries"),
        ("network = 3", "network: expected a table of fields"),
        ("", "nothing to search"),
        ("mixup = ", "not valid TOML"),
    ],
)
def test_a_wrong_space_names_the_field(text: str, message: str, tmp_path: Path):
    base = parse_recipe({"network": {"widths": [8], "blocks": [1]}}, "base")
    with pytest.raises(TrainingError) as caught:
        load_space(_write(tmp_path / "s.toml", text), base)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "s.toml"))


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(TrainingError, match=r"unknown field 'a'.*mixup: low 2 is above high 1"):
        parse_space({"a": {}, "mixup": {"low": 2, "high": 1}}, "space", Recipe())


def test_dotted_paths_may_be_quoted():
    space = parse_space({"network.stem": {"choices": ["pool"]}}, "space", Recipe())
    assert space.recipe(Recipe(), {"network.stem": "pool"}) == Recipe()


# --- reports ------------------------------------------------------------------------------------------------------

FIELDS = (SearchField("x", low=0.001, high=1, log=True), SearchField("<b>", choices=("a & b", "c")))


@given(st.lists(st.floats(0, 1), max_size=8))
def test_a_scale_holds_every_accuracy(values: list[float]):
    scale = AccuracyScale(values)
    assert all(-1e-9 <= scale.share(v) <= 1 + 1e-9 for v in values)
    assert 0 <= scale.low < scale.high <= 1
    assert 2 <= len({scale.words(t) for t in scale.ticks}) == len(scale.ticks) <= 9


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            Trial,
            number=st.integers(0, 10**6),
            state=st.sampled_from(["complete", "pruned", "failed", "interrupted", "running"]),
            accuracy=st.none() | st.floats(0, 1),
            params=st.fixed_dictionaries({"x": st.floats(0.001, 1), "<b>": st.sampled_from(["a & b", "c"])}),
            curve=st.lists(st.floats(0, 1), max_size=3).map(tuple),
            seconds=st.none() | st.floats(0, 1e6),
            reason=st.text(max_size=5),
        ),
        max_size=4,
        unique_by=lambda t: t.number,
    )
)
def test_every_study_makes_a_page_and_json(trials: list[Trial]):
    study = Study("<i>", "data & co", 3, 3, FIELDS, tuple(trials), {"x": 0.5, "<b>": 0.5})
    page = study_to_html(study)
    assert "<b>" not in page.replace("<body>", "")
    assert "<i>" not in page
    assert json.loads(study_to_json(study))["finished"] == len(study.finished)


def test_values_have_their_place_between_a_fields_ends():
    assert FIELDS[0].position(0.001) == 0
    assert FIELDS[0].position(1.0) == pytest.approx(1)
    assert FIELDS[0].position(0.0316227766) == pytest.approx(0.5)
    assert [FIELDS[1].position(c) for c in ("a & b", "c")] == [0.25, 0.75]


# --- decoding -----------------------------------------------------------------------------------------------------


def test_two_processes_may_decode_the_same_pictures_at_once(data: Path, tmp_path: Path):
    """The second begins and ends while the first is at its pictures; both have them, and nothing is left over."""
    spec = input_spec(Recipe(size=16))
    split = read_split(data, "validation")
    inner: list[Pack] = []

    class Other:
        def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
            if done == 5:
                inner.append(pack(split, spec, tmp_path))

    outer = pack(split, spec, tmp_path, Other())
    assert outer.keys == inner[0].keys
    assert (outer.images == inner[0].images).all()
    assert [sorted(p.name for p in folder.iterdir()) for folder in tmp_path.iterdir()] == [["images.npy", "pack.json"]]


def test_a_cache_that_was_left_half_made_is_made_again(data: Path, tmp_path: Path):
    spec = input_spec(Recipe(size=16))
    split = read_split(data, "validation")
    whole = pack(split, spec, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "pack.json").unlink()
    assert pack(split, spec, tmp_path).keys == whole.keys
