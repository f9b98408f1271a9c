import csv
import logging
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import lpft_keras
from lpft_keras import reproduce
from lpft_keras.errors import InputError
from lpft_keras.exhibits import EXHIBITS
from lpft_keras.tasks import TASKS
from tests.conftest import SWEPT

SETTINGS = {name: value for name, value in SWEPT.items() if name != "backbones"}
OPTIONS = {"backbone": "tiny", "seeds": [1, 2], **SETTINGS}


@pytest.fixture
def done(swept):
    """Runs of LP, FT and LP-LoRA, seeds 1 and 2, FT and LP-LoRA at two scales of the head; where they lie."""
    return swept


def files_by_ending(made):
    found = {}
    for path in made.files:
        assert path.stat().st_size > 0
        found.setdefault(path.suffix, []).append(path)
    return found


def test_every_table_and_figure_has_a_name_and_known_tasks():
    tables = [f"table{number}" for number in (1, 2, 3, *range(6, 17))]
    papers = [exhibit.name for exhibit in EXHIBITS.values() if exhibit.in_paper]
    assert sorted(papers) == sorted([*tables, *(f"figure{number}" for number in range(1, 12))])
    for exhibit in EXHIBITS.values():
        assert exhibit.tasks
        assert set(exhibit.tasks) <= set(TASKS)


def test_a_table_is_made_of_runs_that_are_there(done, caplog):
    output, results = done
    before = {run.directory: (run.directory / "metrics.json").stat().st_mtime_ns for run in results}
    with caplog.at_level(logging.INFO, logger="lpft_keras"):
        (made,) = reproduce("table8", "demo", ["lp", "ft"], output_dir=output, **OPTIONS)
    assert "0 runs to do, 4 there" in caplog.text
    assert "measuring" not in caplog.text
    (table,) = made.tables
    own = [run.metrics["ood"]["accuracy"] for run in results if run.directory.parts[-3] == "lp"]
    record = next(r for r in table.records if (r["split"], r["method"]) == ("ood", "lp"))
    assert (record["mean"], record["std"]) == (pytest.approx(np.mean(own)), pytest.approx(np.std(own, ddof=1)))
    assert {run.directory: (run.directory / "metrics.json").stat().st_mtime_ns for run in results} == before
    found = files_by_ending(made)
    assert set(found) == {".txt", ".csv", ".md", ".tex"}
    assert found[".txt"][0] == output / "paper" / "tiny" / "table8-demo.txt"
    assert found[".txt"][0].read_text().startswith("Table 8: ")
    with open(found[".csv"][0], newline="") as file:
        assert float(next(csv.DictReader(file))["mean"]) == table.records[0]["mean"]


def test_only_what_is_missing_is_run_and_its_cost_said_before(tmp_path, caplog):
    options = {**OPTIONS, "seeds": [1], "output_dir": tmp_path}
    lpft_keras.run("demo", "lp", "tiny", seed=1, output_dir=tmp_path, **SETTINGS)
    with caplog.at_level(logging.INFO, logger="lpft_keras"):
        assert reproduce("table12", "demo", ["lp", "ft", "lora"], dry_run=True, **options) == []
    # LP is not of Table 12, so it is not counted.
    assert "2 runs to do, 0 there; about" in caplog.text
    assert "one step of ft on demo takes" in caplog.text
    assert not (tmp_path / "demo" / "ft").exists()
    (made,) = reproduce("table13", "demo", ["lp", "ft"], **options)
    assert (tmp_path / "demo" / "ft" / "tiny" / "seed_1" / "metrics.json").is_file()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="lpft_keras"):
        reproduce(["table13", "table12"], "demo", ["lp", "ft"], dry_run=True, **options)
    assert "0 runs to do, 2 there" in caplog.text
    assert {record["method"] for record in made.tables[0].records} == {"pretrained", "lp", "ft"}


@pytest.mark.parametrize(
    ("name", "methods", "columns"),
    [
        ("figure1", ["lp", "ft"], {"method", "seed", "stage", "step", "head_norm", "accuracy"}),
        ("figure5", ["ft"], {"method", "kind", "state", "class", "x", "y"}),
    ],
)
def test_a_figure_is_drawn_with_its_numbers(done, name, methods, columns):
    output, _ = done
    (made,) = reproduce(name, "demo", methods, output_dir=output, **OPTIONS)
    found = files_by_ending(made)
    assert set(found) == {".png", ".svg", ".pdf", ".csv", ".txt", ".tex"}
    assert found[".png"][0].read_bytes().startswith(b"\x89PNG")
    assert found[".pdf"][0].read_bytes().startswith(b"%PDF")
    assert ElementTree.parse(found[".svg"][0]).getroot().tag.endswith("svg")
    with open(found[".csv"][0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == columns
    assert len(rows) == len(made.figures[0].records)
    caption = found[".txt"][0].read_text()
    assert caption.startswith(f"Figure {name[6:]}: ")
    assert caption.endswith("The paper's figure is of RoBERTa-base.\n")
    assert r"\includegraphics" in found[".tex"][0].read_text()


def test_the_head_scale_figure_is_of_the_rows_the_paper_shows(done):
    output, results = done
    options = {**OPTIONS, "output_dir": output}
    scales = {run.config["settings"]["head_scale"] for run in results}
    assert scales == {1.0, 10.0}
    with pytest.MonkeyPatch.context() as patch:
        exhibit = EXHIBITS["figure3"]
        patch.setitem(EXHIBITS, "figure3", type(exhibit)(**{**vars(exhibit), "head_scales": (1.0, 10.0)}))
        (made,) = reproduce("figure3", "demo", "ft", **options)
    (drawn,) = made.figures  # the demo has no "sst5", so its own shifted rows
    assert "ood rows" in drawn.caption
    for record in drawn.records:
        own = [
            run.metrics["ood"]["feature_change"]
            for run in results
            if run.summary["method"] == "ft" and run.config["settings"]["head_scale"] == record["scale"]
        ]
        assert record["feature_change"] == pytest.approx(np.mean(own))
        assert record["runs"] == 2


@pytest.mark.slow
def test_kernels_make_a_table_and_figures(tmp_path):
    options = {**OPTIONS, "seeds": [1], "rows": 12, "output_dir": tmp_path}
    made = reproduce(["table2", "figure2", "figure8"], "demo", ["ft", "lp-lora"], **options)
    table, singular, norms = made
    kernel = lpft_keras.run_ntk("demo", "ft", "tiny", seed=1, rows=12, output_dir=tmp_path, limit=60, max_length=48)
    records = {(r["method"], r["split"], r["metric"]): r["mean"] for r in table.tables[0].records}
    assert records["ft", "train", "finetune/rank"] == kernel.summary["kernels"]["finetune"]["rank"]
    assert records["ft", "test", "total/logit_accuracy"] == kernel.summary["kernels"]["total"]["logit_accuracy"]["test"]
    assert records["ft", "train", "ft_ratio"] == kernel.summary["ft_ratio"]
    train = kernel.kernels["train"].finetune
    values = np.linalg.svd(train.reshape(36, 36), compute_uv=False)
    drawn = [r["singular_value"] for r in singular.figures[0].records if r["kernel"] == "FT E, FT"]
    np.testing.assert_allclose(drawn, values, rtol=1e-6, atol=1e-9 * values[0])
    labels = kernel.rows["train"]["labels"]
    first, second = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    expected = np.mean([np.linalg.norm(train[i, :, j, :], "nuc") for i in first for j in second])
    block = {(r["kernel"], r["class"], r["other_class"]): r["mean_trace_norm"] for r in norms.figures[0].records}
    assert block["FT E, FT", 0, 1] == pytest.approx(expected)


def test_of_the_papers_tasks_those_at_hand_are_taken(official_files, tmp_path, caplog):
    (made,) = reproduce("table7", data_dir=official_files, output_dir=tmp_path)
    (table,) = made.tables
    assert [row[0] for row in table.rows] == ["cb", "paper (RoBERTa-base)"]
    assert table.rows[0] == ("cb", "3", "54", "6", "20")
    assert "left out rte: no file" in caplog.text
    assert made.files[0] == tmp_path / "paper" / "table7.txt"
    with pytest.raises(InputError, match=r"no file .*pubmed"):
        reproduce("table16", data_dir=official_files, output_dir=tmp_path)
    with pytest.raises(InputError, match=r"no file .*rte"):
        reproduce("table7", ["cb", "rte"], data_dir=official_files, output_dir=tmp_path)


def test_rates_need_no_data(tmp_path):
    (made,) = reproduce("table6", output_dir=tmp_path)
    (table,) = made.tables
    # With the paper's backbone our defaults are the paper's.
    assert all(record["mean"] == record["paper"] for record in table.records)
    assert len(table.records) == 80


def test_wrong_names_are_refused_before_any_work(tmp_path):
    for arguments, message in (
        ({"names": "tabel8"}, "unknown table or figure 'tabel8'; did you mean 'table8'"),
        ({"names": "figure5", "methods": "lora"}, "figure5 is of ft, lp-ft; ask for one of them"),
        ({"names": "table8", "methods": "fft"}, "unknown method 'fft'"),
        ({"names": "table8", "workers": 0}, "workers must be 1 or more"),
        ({"names": "table8", "epocs": 3}, "unknown argument 'epocs'; did you mean 'epochs'"),
        ({"names": []}, "names hold nothing to run"),
    ):
        with pytest.raises(InputError, match=message):
            reproduce(**{"tasks": "demo", "output_dir": tmp_path, **arguments})
    assert not list(tmp_path.rglob("config.json"))


def test_all_exhibits_can_be_asked_for(tmp_path, caplog):
    options = {**OPTIONS, "seeds": [1], "epochs": 1, "rows": 8, "output_dir": tmp_path, "dry_run": True}
    with caplog.at_level(logging.INFO, logger="lpft_keras"):
        assert reproduce("all", "demo", tensorboard=True, **options) == []
    # Five methods, four of them at seven other scales; a kernel for each of the four.
    assert "33 runs to do, 0 there; 4 kernels to do, 0 there; about" in caplog.text
    for name in EXHIBITS:
        with pytest.raises(InputError, match="unknown argument 'epocs'"):
            reproduce(name, "demo", **options, epocs=3)


def test_runs_and_kernels_of_other_settings_are_refused_before_any_work(tmp_path):
    options = {**OPTIONS, "seeds": [1], "output_dir": tmp_path}
    lpft_keras.run("demo", "lp", "tiny", seed=1, output_dir=tmp_path, **SETTINGS)
    with pytest.raises(InputError, match=r"holds a run with other settings \(max_length: 48 there, 32 asked for\)"):
        reproduce("table13", "demo", **{**options, "max_length": 32})
    shared = {"output_dir": tmp_path, "limit": 60, "max_length": 48}
    lpft_keras.run_ntk("demo", "ft", "tiny", seed=1, rows=6, **shared)
    with pytest.raises(InputError, match="holds a kernel of other settings"):
        reproduce("table2", "demo", dry_run=True, rows=8, **options)
    assert not (tmp_path / "demo" / "lora").exists()


def test_two_tasks_of_one_name_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "a,0\nb,1\n" * 20)
    both = [lpft_keras.own_task(tmp_path / f"{name}.csv", name="own", text="text") for name in ("one", "two")]
    with pytest.raises(InputError, match="two of the tasks are named 'own'"):
        reproduce("table7", both, output_dir=tmp_path)


def test_a_kernel_that_fails_is_left_out_and_named(tmp_path):
    # A kernel's folder that is a file, as a full or foreign disk might leave it.
    blocked = tmp_path / "demo" / "lora" / "tiny" / "seed_1"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("")
    options = {**OPTIONS, "seeds": [1], "rows": 6, "output_dir": tmp_path}
    (made,) = reproduce("table2", "demo", ["ft", "lora"], **options)
    assert [failure.settings["method"] for failure in made.failures] == ["lora"]
    assert {record["method"] for record in made.tables[0].records} == {"pretrained", "ft"}


def test_what_fails_is_left_out_and_named(tmp_path):
    options = {**OPTIONS, "seeds": [1], "output_dir": tmp_path, "learning_rate": 1e30, "epochs": 1}
    (made,) = reproduce("table13", "demo", ["lp", "ft"], **options)
    assert [failure.settings["method"] for failure in made.failures] == ["ft"]
    assert {record["method"] for record in made.tables[0].records} == {"lp"}
