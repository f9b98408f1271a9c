import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from lpft_keras import InputError, TextClassifier, run
from lpft_keras.calibration import TemperatureScaling
from lpft_keras.tasks import get_task, load_task

SMALL = {"backbone": "tiny", "max_length": 48, "epochs": 2, "learning_rate": 3e-3, "batch_size": 8}


@pytest.fixture(scope="module")
def rows():
    train = load_task(get_task("demo")).train.head(60)
    return list(train.texts), np.array(["yes", "no", "maybe"])[train.labels]


@pytest.mark.parametrize("method", ["lp", "lp-ft", "lp-lora"])
def test_fit_predict_save_load(rows, tmp_path, method):
    texts, labels = rows
    classifier = TextClassifier(method=method, **SMALL).fit(texts, labels)
    probabilities = classifier.predict_proba(texts)
    assert classifier.classes_.tolist() == ["maybe", "no", "yes"]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    assert (classifier.predict(texts) == classifier.classes_[probabilities.argmax(1)]).all()
    assert classifier.score(texts, labels) == np.mean(classifier.predict(texts) == labels)
    classifier.save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(texts), probabilities, atol=1e-6)
    assert (loaded.predict(texts) == classifier.predict(texts)).all()


@pytest.mark.parametrize("method", ["lp", "ft", "lora"])
def test_a_run_becomes_a_classifier_of_texts(tmp_path, method):
    done = run("demo", method, output_dir=tmp_path, limit=60, **SMALL)
    texts = list(load_task(get_task("demo"), limit=60).test.texts)
    plain = TextClassifier.from_run(done.directory, calibrated=False)
    logits = done.predictions["test"]["logits"]
    np.testing.assert_allclose(plain.decision_function(texts), logits, atol=1e-5)
    assert plain.classes_.tolist() == ["entailment", "contradiction", "neutral"]
    calibrated = TextClassifier.from_run(done.directory)
    scaled = plain.decision_function(texts) / done.summary["temperature"]
    np.testing.assert_allclose(calibrated.decision_function(texts), scaled, rtol=1e-4, atol=1e-5)
    names = ["neutral", "entailment", "contradiction"] * 4
    assert plain.calibrate(texts[:12], names).temperature_ == 1, "labels are known in the order of the task, too"
    calibrated.save(tmp_path / "saved")
    again = TextClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(again.predict_proba(texts), calibrated.predict_proba(texts), atol=1e-6)
    with pytest.raises(InputError, match="holds no finished run"):
        TextClassifier.from_run(tmp_path)


def test_single_texts_numbers_as_labels_and_own_validation(rows):
    texts, labels = [pair[0] for pair in rows[0]], (rows[1] == "yes").astype(int)
    classifier = TextClassifier(method="lp", **SMALL).fit(texts[:50], labels[:50], validation=(texts[50:], labels[50:]))
    assert set(classifier.predict(texts)) <= {0, 1}
    assert classifier.history_[0]["stage"] == "linear_probe"


def test_it_is_a_scikit_learn_estimator(rows):
    classifier = TextClassifier(method="lp", **SMALL)
    assert clone(classifier).get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        classifier.predict(["a text"])


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        (["a", "b"], [0], "2 texts and 1 labels"),
        (["a", "b"], [0, 0], "one class only"),
        ("a text", [0], "list of strings"),
        (["a", 3], [0, 1], "text 1 must be"),
        ([], [], "no texts"),
        (["a", "b", "c"], [0, 1, 1], "hold out"),
    ],
)
def test_wrong_texts_and_labels_are_named(texts, labels, words):
    with pytest.raises(InputError, match=words):
        TextClassifier(method="lp", **SMALL).fit(texts, labels)


def test_unknown_names_are_refused_before_any_work(rows):
    with pytest.raises(InputError, match="did you mean 'lp-ft'"):
        TextClassifier(method="lpft", backbone="tiny").fit(*rows)
    with pytest.raises(InputError, match="holds no saved"):
        TextClassifier.load("/nowhere")


@pytest.mark.parametrize("method", ["lp", "lora"])
def test_calibrating_folds_a_temperature_into_the_head(rows, tmp_path, method):
    texts, labels = rows
    classifier = TextClassifier(method=method, **SMALL).fit(texts, labels)
    logits, temperature = classifier.decision_function(texts), classifier.temperature_
    seen = logits.argmax(1)
    seen[::4] = (seen[::4] + 1) % 3  # right on three rows of four: a finite temperature
    fitted = TemperatureScaling().fit(logits, seen)
    classifier.calibrate(texts, classifier.classes_[seen])
    np.testing.assert_allclose(classifier.predict_proba(texts), fitted.predict_proba(logits), atol=1e-6)
    assert (classifier.predict(texts) == classifier.classes_[logits.argmax(1)]).all()
    assert classifier.temperature_ == 1
    classifier.save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(texts), fitted.predict_proba(logits), atol=1e-6)
    # Once folded in, there is nothing more to fold; without rows those held out by `fit` are taken.
    np.testing.assert_array_equal(loaded.calibrate().predict_proba(texts), loaded.predict_proba(texts))
    again = TextClassifier(method=method, **SMALL).fit(texts, labels)
    np.testing.assert_allclose(again.calibrate().decision_function(texts), logits / temperature, rtol=1e-4, atol=1e-5)


def test_calibrating_takes_texts_and_labels_that_fit(rows):
    texts, labels = rows
    classifier = TextClassifier(method="lp", **SMALL).fit(texts, labels)
    for arguments, words in (
        ((texts,), "texts and labels, or neither"),
        ((texts, labels[:3]), "60 texts and 3 labels"),
        ((texts[:1], ["perhaps"]), "label 'perhaps' is not among"),
    ):
        with pytest.raises(InputError, match=words):
            classifier.calibrate(*arguments)


def test_rows_that_are_all_right_say_nothing_of_sureness(rows, caplog):
    texts, labels = rows
    classifier = TextClassifier(method="lp", **SMALL).fit(texts, labels)
    guessed = classifier.predict(texts)
    before = classifier.predict_proba(texts)
    classifier.calibrate(texts, guessed)
    assert "its temperature stays 1" in caplog.text
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)
