import numpy as np
import pytest

from lpft_keras import calibration
from lpft_keras.errors import InputError
from lpft_keras.report import plot_scored, score_file, score_run
from tests import reference


def test_a_run_is_scaled_by_its_validation_rows(swept):
    _, results = swept
    result = results[2]
    for split in ("test", "ood"):
        scored = score_run(result, split=split)
        logits, labels = (result.predictions[split][part] for part in ("logits", "labels"))
        validation = result.predictions["validation"]
        fitted = calibration.TemperatureScaling().fit(validation["logits"], validation["labels"])
        t = fitted.temperature_
        assert result.summary["temperature"] == (t if fitted.finite_ else 1)
        measures = scored.measures()
        before, after = (reference.softmax(logits.astype(float) / scale) for scale in (1, t))
        assert scored.temperature == t
        assert measures["before"]["ece"] == pytest.approx(result.metrics[split]["ece"], abs=1e-7)
        assert measures["before"]["mce"] == pytest.approx(result.metrics[split]["mce"], abs=1e-6)
        assert measures["after"]["ece"] == pytest.approx(reference.expected_calibration_error(after, labels), abs=1e-9)
        assert measures["after"]["nll"] == pytest.approx(reference.negative_log_likelihood(np.log(after), labels))
        np.testing.assert_allclose(scored.before, before, atol=1e-9)
        assert measures["before"]["accuracy"] == measures["after"]["accuracy"] == result.metrics[split]["accuracy"]
    assert scored.as_dict()["seed"] == result.summary["seed"]
    with pytest.raises(InputError, match="fit the scaling, so they can't measure it"):
        score_run(result, split="validation")
    with pytest.raises(InputError, match="did you mean 'test'"):
        score_run(result, split="tset")


def test_foreign_logits_are_cross_fitted(foreign):
    path, logits, labels = foreign
    scored = score_file(path)
    assert scored.folds == 5
    assert scored.temperature == pytest.approx(12, rel=0.3)
    measures = scored.measures()
    expected = reference.expected_calibration_error(reference.softmax(logits.astype("float32").astype(float)), labels)
    assert measures["before"]["ece"] == pytest.approx(expected, abs=1e-9)
    assert measures["after"]["ece"] < measures["before"]["ece"] / 2


def test_a_file_to_fit_on_is_taken(foreign, tmp_path):
    path, logits, labels = foreign
    np.savez(tmp_path / "fit.npz", logits=logits[:100], labels=labels[:100])
    scored = score_file(path, validation=tmp_path / "fit.npz")
    expected = calibration.TemperatureScaling().fit(logits[:100], labels[:100]).temperature_
    assert scored.temperature == pytest.approx(expected)
    assert scored.folds == 0


def test_csv_and_probabilities_and_a_runs_own_file_are_read(foreign, swept, tmp_path):
    path, logits, labels = foreign
    expected = score_file(path).measures()
    lines = ["a,label,b,c", *(f"{f[0]},{y},{f[1]},{f[2]}" for f, y in zip(logits, labels, strict=True))]
    (tmp_path / "foreign.csv").write_text("\n".join(lines) + "\n\n")
    assert score_file(tmp_path / "foreign.csv").measures()["after"] == pytest.approx(expected["after"], rel=1e-4)
    np.savez(tmp_path / "p.npz", probabilities=reference.softmax(logits), labels=labels)
    assert score_file(tmp_path / "p.npz").measures()["after"] == pytest.approx(expected["after"], rel=1e-4)
    lines = [
        "label,a,b,c",
        *(",".join(map(str, [y, *p])) for p, y in zip(reference.softmax(logits), labels, strict=True)),
    ]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    assert score_file(tmp_path / "p.csv").measures()["after"] == pytest.approx(expected["after"], rel=1e-4)
    result = swept[1][0]
    assert score_file(result.directory / "predictions.npz").measures() == score_run(result).measures()


def test_a_runs_own_file_is_fitted_on_by_its_validation_rows(foreign, swept, tmp_path):
    result = swept[1][0]
    path = result.directory / "predictions.npz"
    with pytest.raises(InputError, match="both fitted and measured on"):
        score_file(path, validation=path)
    np.savez(tmp_path / "same.npz", **{f"{part}": result.predictions["test"][part] for part in ("logits", "labels")})
    assert score_file(tmp_path / "same.npz", validation=path).measures() == score_run(result).measures()
    np.savez(tmp_path / "two.npz", logits=np.eye(2), labels=[0, 1])
    with pytest.raises(InputError, match=r"foreign.npz has 3 classes, what the scaling is fitted on 2"):
        score_file(foreign[0], validation=tmp_path / "two.npz")


def test_rare_classes_are_spread_over_the_folds(rng, tmp_path):
    labels = np.array([0, 1] * 29 + [2, 2])
    logits = rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels]
    np.savez(tmp_path / "rare.npz", logits=logits, labels=labels)
    assert np.isfinite(score_file(tmp_path / "rare.npz", "platt").after).all()
    labels[-1] = 0
    np.savez(tmp_path / "rarer.npz", logits=logits, labels=labels)
    with pytest.raises(InputError, match=r"a fold of .*rarer.npz: labels hold no row of class 2 of 3"):
        score_file(tmp_path / "rarer.npz", "platt")


def test_pictures_hold_all_seeds(swept):
    pytest.importorskip("matplotlib")
    scored = [score_run(result) for result in swept[1][:2]]
    figure = plot_scored(scored, "lp")
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "lp (2 runs pooled): before",
        "after temperature scaling",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "x,y\n1,2\n", 'one column "label"'),
        ("a.csv", "label,x,y\n1,2\n", "line 2 .* has 2 fields"),
        ("a.csv", "label,x,y\n0,1,2\nyes,2,3\n", "line 3 .*class ids"),
        ("a.csv", "label,x,y\n0,1,2\n0,two,3\n", "line 3"),
        ("a.csv", "label,x,y\n", "a header and no rows"),
        ("a.csv", "label,x,y\n7,1,2\n", r"a.csv: labels must lie in 0\.\.1"),
        ("a.csv", ",label,x,y\n0,1,2,3\n", "a column without a name"),
        ("a.npz", "no zip", "damaged"),
        ("a.CSV", "x,y\n1,2\n", 'one column "label"'),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        score_file(tmp_path / name)


def test_arrays_of_other_names_and_too_few_rows_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", scores=np.zeros((3, 2)))
    with pytest.raises(InputError, match="holds scores; wanted are labels"):
        score_file(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"neither \.npz"):
        score_file(tmp_path / "a.npy")
    (tmp_path / "latin.csv").write_bytes("label,é,y\n0,1,2\n".encode("latin-1"))
    with pytest.raises(InputError, match="CSV in UTF-8"):
        score_file(tmp_path / "latin.csv")
    np.savez(tmp_path / "c.npz", probabilities=np.ones((3, 2)), labels=[0, 1, 0])
    with pytest.raises(InputError, match=r"c\.npz: row 0 of probabilities"):
        score_file(tmp_path / "c.npz")
    np.savez(tmp_path / "b.npz", logits=np.zeros((9, 2)), labels=np.zeros(9, int))
    with pytest.raises(InputError, match="9 rows, too few"):
        score_file(tmp_path / "b.npz")
