"""What CONTRIBUTING promises of additions: one entry, and all else knows of it."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

import lpft_keras
from lpft_keras import ntk
from lpft_keras.cli import main
from lpft_keras.exhibits import EXHIBITS, Exhibit
from lpft_keras.figures import new_figure
from lpft_keras.methods import METHODS, FineTune, LinearProbe, Method, default_rates
from lpft_keras.models.backbones import load_backbone
from lpft_keras.ntk.computation import KINDS
from lpft_keras.report.paper_tables import rates_table
from lpft_keras.reproduction import making
from tests.ntk import cases

FEW = {"backbone": "tiny", "limit": 60, "epochs": 1, "learning_rate": 0.01, "show_progress": False}


@dataclass(frozen=True)
class Biases(FineTune):
    """Train biases and head."""

    def trains(self, path):
        return path.rsplit("/", 1)[-1] in ("bias", "beta")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of a method that is not in the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "lp-biases", Method((LinearProbe(), Biases()), "LP-B", "biases are trained", "#882255"))
        yield lpft_keras.run("demo", "lp-biases", output_dir=tmp_path_factory.mktemp("runs"), **FEW)


def test_a_method_trains_what_its_stage_says_and_is_read_again(run):
    before = {v.path: keras.ops.convert_to_numpy(v) for v in load_backbone("tiny").model.variables}
    after = {v.path: keras.ops.convert_to_numpy(v) for v in run.model().variables}
    common = before.keys() & after.keys()
    moved = {path.rsplit("/", 1)[-1] for path in common if not np.array_equal(after[path], before[path])}
    assert len(common) > 20
    assert moved - {"seed_generator_state"} == {"bias", "beta"}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("backbone", ["roberta_base_en", "pocket"])
def test_a_method_without_rates_has_those_of_the_one_like_it(run, backbone, optimizer):
    own, theirs = (default_rates(name, "cb", backbone, optimizer) for name in ("lp-biases", "lp-lora"))
    assert own == replace(theirs, origin=f"{theirs.origin}, of lp-lora")


def test_a_method_has_its_name_in_tables_figures_and_cards(run, tmp_path, monkeypatch):
    for name in ("table8", "figure1"):  # which were made before the method was
        monkeypatch.setitem(EXHIBITS, name, replace(EXHIBITS[name], methods=tuple(METHODS)))
    given = {**FEW, "output_dir": run.directory.parents[3]}
    table, figure = lpft_keras.reproduce(["table8", "figure1"], "demo", "lp-biases", 1001, **given)
    assert any("LP-B" in row for row in table.tables[0].rows)
    assert {one["method"] for one in figure.figures[0].records} == {"lp-biases"}
    colours = {line.get_color() for axes in figure.figures[0].figure.axes for line in axes.lines}
    assert colours == {"#882255"}
    assert "LP-B bs" in rates_table([("cb", "pocket")], ()).columns
    assert "- lp-biases: biases are trained." in (run.to_preset(tmp_path / "preset") / "README.md").read_text()


def test_a_figure_of_one_s_own_has_a_name_of_its_own(run, monkeypatch, capsys):
    def drawn(exhibit, material, task, backbone, found):
        records = [{"method": name, "accuracy": one.metrics["test"]["accuracy"]} for name, (one,) in found.items()]
        return [making.Drawn((task,), new_figure(3, 2), "A point a method.", tuple(records))]

    own = Exhibit("accuracies", "accuracy by method", "points", ("demo",), ("lp-biases",), (1001,), is_figure=True)
    monkeypatch.setitem(EXHIBITS, "accuracies", own)
    monkeypatch.setitem(making._FIGURES, "points", drawn)
    assert main(["reproduce", "--list"]) == 0
    assert "accuracies" in capsys.readouterr().out
    (made,) = lpft_keras.reproduce("accuracies", **{**FEW, "output_dir": run.directory.parents[3]})
    files = {path.suffix: path for path in made.files}
    assert files[".csv"].read_text().splitlines() == ["method,accuracy", f"lp-biases,{run.metrics['test']['accuracy']}"]
    assert files[".png"].stat().st_size > 0
    caption = files[".txt"].read_text()
    assert caption.startswith("Accuracy by method (demo; tiny). A point a method.")
    assert "paper's figure" not in caption


def test_a_kind_of_kernel_is_any_odd_function_of_a_gradient_s_numbers(monkeypatch):
    """Its value at 1 counts where the head's bias has its gradient."""

    def twice_cubic(gradient):
        return 2 * np.cbrt(gradient)

    monkeypatch.setitem(KINDS, "roots", (None, twice_cubic))
    case = cases.make("perceptron")
    pretrain, finetune = case.kernel(of_columns=twice_cubic)
    kernel = ntk.empirical_ntk(case.model, case.x, kind="roots")
    assert cases.difference(kernel.pretrain, pretrain) < 1e-5
    assert cases.difference(kernel.finetune, finetune) < 1e-5
