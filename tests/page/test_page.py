"""The page's numbers, sentences and cautions."""

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from lpft_keras import InputError, RunResult, write_page
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.cli import main
from lpft_keras.page import render_page
from lpft_keras.page.plots import Axis
from lpft_keras.page.words import listed, prose, share, visible
from lpft_keras.results import write_history
from lpft_keras.storage import write_json
from tests.page.conftest import LABELS
from tests.report.runs import answers, write_run


class Text(HTMLParser):
    """Collects the elements of a page, the cells of its tables, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.rows, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def cautions(page):
    return {caution["kind"]: caution["text"] for record in page.records for caution in record["cautions"]}


def test_numbers_are_those_of_the_runs(hostile, tmp_path):
    _, _, results = hostile
    page = write_page(results, tmp_path / "page.html")
    lp = next(method for method in page.records[0]["methods"] if method["method"] == "lp")
    assert lp["seeds"] == [1, 2]
    values = [result.metrics["test"]["nll"] for result in results[:2]]
    assert lp["metrics"]["test"]["nll"] == {"mean": np.mean(values), "std": np.std(values, ddof=1)}
    shown = Text(page.path.read_text("utf-8"))
    cells = next(row for row in shown.rows if row[0] == "LP" and row[1] == "2")
    scores = [100 * result.metrics["test"]["macro_f1"] for result in results[:2]]
    assert f"{np.mean(scores):.2f} ± {np.std(scores, ddof=1):.2f}" in " ".join(cells[2].split())
    best = max(np.mean(scores), 100 * results[2].metrics["test"]["macro_f1"])
    assert f"{best:.2f}\N{NO-BREAK SPACE}%" in page.records[0]["summary"][0]


def test_what_stands_in_data_stays_text(hostile):
    shown = Text(render_page(hostile[2]))
    assert {"script", "img", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in shown.tags)
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    links = [attributes["href"] for _, attributes in shown.tags if "href" in attributes]
    assert all(link.startswith(("#", "data:,")) for link in links), "nothing is fetched from elsewhere"
    for label in LABELS:
        assert label in shown.text
    assert "<U+202E>" in shown.text
    assert "(empty)" in shown.text


def test_cautions_say_what_is_wrong_with_the_rows(hostile, tmp_path):
    found = cautions(write_page(hostile[2], tmp_path / "page.html"))
    rows = hostile[2][0].rows["splits"]
    assert "21 of the test rows in train" in found["leakage"]
    assert f"The far rows have no example of {LABELS[2]}." == found["missing class"]
    assert f"{rows['train']['truncated']} of 105 train rows" in found["truncation"]
    assert "cut to 24 tokens" in found["truncation"]
    assert "21 test rows and 45 far rows" in found["few rows"]
    assert "incomplete" not in found


def test_an_older_run_says_what_is_missing_and_how_to_get_it(hostile, tmp_path):
    result = hostile[2][0]
    copy = tmp_path / "old"
    shutil.copytree(result.directory, copy)
    for name in ("rows.json", "history.csv", "features.npz"):
        (copy / name).unlink()
    page = write_page([RunResult.load(copy)], tmp_path / "page.html")
    incomplete = [c["text"] for c in page.records[0]["cautions"] if c["kind"] == "incomplete"]
    assert "--overwrite" in incomplete[0]
    assert "history.csv" in incomplete[1]
    text = Text(page.path.read_text("utf-8")).text
    assert "features.npz is missing or damaged" in text
    assert "The texts of errors are not known" in text


def test_runs_that_do_not_belong_together_are_named(hostile, tmp_path):
    result = hostile[2][2]
    copy = tmp_path / "other"
    shutil.copytree(result.directory, copy)
    (copy / CHECKSUMS).unlink()  # else what is changed would be damaged
    config = result.config
    config["backend"], config["data"]["test"], config["settings"]["method"] = "other", "0" * 32, "lora"
    write_json(copy / "config.json", config)
    write_json(copy / "environment.json", {**result.environment, "versions": {"keras": "0.1"}})
    found = cautions(write_page([result, RunResult.load(copy)], tmp_path / "page.html"))
    assert "test rows" in found["mixed"]
    assert "other" in found["mixed"]
    assert "versions of keras (0.1" in found["mixed"]


def test_collapse_and_missing_temperature_and_validation_rows(tmp_path):
    labels = np.arange(400) % 2
    constant = np.tile(np.array([[2.0, 0.0]], "float32"), (400, 1))
    run = write_run(tmp_path, "mine", "ft", 1, {"validation": (constant, labels)})
    run.summary["temperature"] = 1.0
    found = cautions(write_page([run], tmp_path / "page.html"))
    assert "All validation rows are given the same class by FT" in found["collapse"]
    assert "of FT" in found["no temperature"]
    assert "no test rows" in found["validation rows"]


def test_the_summary_says_what_the_intervals_say(tmp_path):
    clear = [write_run(tmp_path, "rte", m, 1, {"test": answers(n, 1000)}) for m, n in (("ft", 500), ("lp-ft", 900))]
    said = " ".join(write_page(clear, tmp_path / "page.html").records[0]["summary"])
    assert "LP-FT has the best accuracy on the 1,000 test rows of rte: 90.00\N{NO-BREAK SPACE}%" in said
    assert "more than chance" in said
    close = [write_run(tmp_path, "cb", m, 1, {"test": answers(n, 50)}) for m, n in (("ft", 30), ("lp-ft", 31))]
    said = " ".join(write_page(close, tmp_path / "page.html").records[0]["summary"])
    assert "may be chance" in said
    equal = [write_run(tmp_path, "wic", m, 1, {"test": answers(30, 50)}) for m in ("ft", "lp-ft")]
    said = " ".join(write_page(equal, tmp_path / "page.html").records[0]["summary"])
    assert "Both methods have the same accuracy" in said
    assert "chance" not in said


def test_sections_kernels_and_many_classes(tmp_path):
    many = write_run(tmp_path, "trec", "ft", 1, {"test": answers(50, 100, 20)})
    kernel = {"rank": 7, "frobenius_norm": 2.5, "accuracy": {"train": 0.5, "test": 0.25}}
    summary = {"kernels": dict.fromkeys(("pretrain", "finetune", "total"), kernel), "ft_ratio": 0.7125}
    settings = {name: value for name, value in many.config["settings"].items() if name != "epochs"}
    write_json(many.directory / "ntk" / "kernel.json", {"config": {"settings": settings}, "summary": summary})
    page = write_page([many, write_run(tmp_path, "cb", "ft", 1, {"test": answers(50)})], tmp_path / "page.html")
    assert [record["task"] for record in page.records] == ["cb", "trec"]
    shown = Text(page.path.read_text("utf-8"))
    assert [attributes["id"] for tag, attributes in shown.tags if tag == "section"] == ["s1", "s2"]
    assert "0.713" in shown.text or "0.712" in shown.text
    assert "the most frequent" in shown.text
    other = {"config": {"settings": {**settings, "max_length": 7}}, "summary": summary}
    write_json(many.directory / "ntk" / "kernel.json", other)
    assert not {"0.713", "0.712"} & set(Text(render_page([many])).text.split()), "a kernel of other settings"


def test_five_methods_with_long_texts_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    results = []
    splits = ("validation", "test", "far", "farther")
    for method in ("lp", "ft", "lp-ft", "lora", "lp-lora"):
        rows = {name: (rng.normal(size=(300, 3)).astype("float32"), np.arange(300) % 3) for name in splits}
        run = write_run(tmp_path, "cb", method, 1, rows)
        columns = ("loss", "accuracy", "validation_loss", "validation_accuracy", "head_norm", "bias_norm", "logit_norm")
        stages = ["fine_tune"] * 11 if method != "lp" else ["linear_probe"] * 11
        history = [{"stage": s, "step": n, **dict.fromkeys(columns, rng.random())} for n, s in enumerate(stages)]
        write_history(run.directory / "history.csv", history)
        counts = {"rows": 300, "labels": {"0": 100, "1": 100, "2": 100}, "truncated": 0}
        error = {"texts": ["word " * 400] * 2, "characters": [9000, 2000], "label": "0", "predicted": "1"}
        errors = [{"row": n + 1, **error, "probability": 0.9} for n in range(10)]
        kept = {"splits": dict.fromkeys(splits, counts), "leaks": [], "errors": dict.fromkeys(splits, errors)}
        write_json(run.directory / "rows.json", kept)
        results.append(run)
    size = write_page(results, tmp_path / "page.html").path.stat().st_size
    assert 100_000 < size < 400_000


def test_the_command_writes_and_prints(hostile, tmp_path, capsys):
    folder, _, results = hostile
    target = tmp_path / "deep" / "page.html"
    assert main(["report", str(folder / "runs"), "--output", str(target), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["task"], record["runs"], record["page"]) == ("odd", len(results), str(target))
    assert target.read_text("utf-8").startswith("\n<!doctype html>") or target.read_text("utf-8").startswith(
        "<!doctype"
    )
    assert main(["report", str(results[0].directory), "--output", str(target)]) == 0
    assert capsys.readouterr().out.startswith("LP reaches")


def test_wrong_directories_are_refused_in_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(InputError, match="no runs"):
        write_page([], tmp_path / "page.html")


def test_axes_end_at_round_numbers():
    axis = Axis.over([0.12, 0.83, np.nan], 0, 100)
    assert axis.values == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert (axis.at(0), axis.at(0.5), axis.at(1)) == (0, 50, 100)
    assert Axis.over([3, 3], 0, 1).low < 3 < Axis.over([3, 3], 0, 1).high
    assert all(value == int(value) for value in Axis.over([0, 2], 0, 1, whole=True).values)


def test_words():
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [
        share(*pair).replace("\N{NO-BREAK SPACE}", "") for pair in ((0, 9), (9, 9), (1, 3), (1, 900), (8999, 9000))
    ] == [
        "0%",
        "100%",
        "33%",
        "0.11%",
        ">99.9%",
    ]
    assert visible("a\x00\n\t\u202eb") == "a<U+0000>\n\t<U+202E>b"
    assert prose("<b> --overwrite LP-FT") == ('&lt;b&gt; <code>--overwrite</code> <span class="nowrap">LP-FT</span>')
