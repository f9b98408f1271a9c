"""The streaming metrics against the functions of arrays."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import calibration, metrics
from lpft_keras.errors import InputError
from tests import reference

CLASSES = 3
PAIRS = {
    metrics.ExpectedCalibrationError: calibration.expected_calibration_error,
    metrics.MaximumCalibrationError: calibration.maximum_calibration_error,
    metrics.ClassWiseCalibrationError: calibration.class_wise_calibration_error,
    metrics.BrierScore: calibration.brier_score,
    metrics.NegativeLogLikelihood: lambda p, y: calibration.negative_log_likelihood(np.log(p), y),
    metrics.Overconfidence: calibration.overconfidence,
}


def make(kind, **options):
    return kind(CLASSES, **options) if kind is metrics.ClassWiseCalibrationError else kind(**options)


def rows(rng, count=2000, classes=CLASSES):
    logits = rng.normal(0, 2, (count, classes)).astype("float32")
    return logits, reference.softmax(logits.astype(float)), rng.integers(0, classes, count)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("batch", [7, 256, 2000])
@pytest.mark.parametrize("from_logits", [True, False])
def test_batches_give_what_all_rows_give(rng, kind, batch, from_logits):
    logits, p, y = rows(rng)
    metric = make(kind, from_logits=from_logits)
    for start in range(0, len(y), batch):
        part = slice(start, start + batch)
        metric.update_state(y[part], logits[part] if from_logits else p[part].astype("float32"))
    assert float(metric.result()) == pytest.approx(PAIRS[kind](p, y), abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("kind", PAIRS)
def test_a_weight_counts_as_so_many_rows(rng, kind):
    logits, p, y = rows(rng, 300)
    weights = rng.integers(0, 4, 300)
    metric = make(kind, from_logits=True)
    for start in range(0, 300, 77):
        part = slice(start, start + 77)
        metric.update_state(y[part, None], logits[part], sample_weight=weights[part, None].astype("float32"))
    expected = PAIRS[kind](np.repeat(p, weights, axis=0), np.repeat(y, weights))
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", PAIRS)
def test_one_hot_labels_are_ids(rng, kind):
    logits, p, y = rows(rng, 200)
    metric = make(kind, from_logits=True)
    metric.update_state(np.eye(CLASSES, dtype="float32")[y], logits)
    assert float(metric.result()) == pytest.approx(PAIRS[kind](p, y), abs=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_one_sigmoid_is_two_classes(rng, from_logits):
    score = rng.normal(0, 2, (300, 1)).astype("float32")
    y = rng.integers(0, 2, 300)
    p = 1 / (1 + np.exp(-score.astype(float)))
    for kind in (metrics.ExpectedCalibrationError, metrics.BrierScore, metrics.NegativeLogLikelihood):
        metric = kind(from_logits=from_logits)
        metric.update_state(y, score if from_logits else p.astype("float32"))
        expected = PAIRS[kind](np.concatenate([1 - p, p], axis=1), y)
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_edges_of_bins_fall_as_in_arrays():
    p = np.array([[0.6, 0.4], [0.7, 0.3], [1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], "float32")
    y = np.array([0, 1, 0, 1, 1])
    for bins in (5, 10, 15):
        for kind in (metrics.ExpectedCalibrationError, metrics.MaximumCalibrationError):
            metric = kind(bins)
            metric.update_state(y, p)
            assert float(metric.result()) == pytest.approx(PAIRS[kind](p, y, bins), abs=1e-6)


def test_long_sums_lose_nothing():
    """A hundred thousand batches of one row would lose some 1e-4 in float32; a few large and small ones show it."""
    metric = metrics.Overconfidence()
    for weight in (1e8, 1.0, 1.0, 1.0, -1e8):
        metric.update_state([1], [[0.75, 0.25]], sample_weight=[weight])
    assert float(metric.result()) == pytest.approx(0.75, abs=1e-6)


def small_model(rng):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(CLASSES)])
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 1, variable.shape))
    return model


@pytest.mark.parametrize("jit", [True, False])
def test_a_compiled_model_reports_them(rng, jit, tmp_path):
    """Under jit where the backend has it, weighted, a last batch of another size; saved and loaded."""
    if jit and keras.backend.backend() == "torch":
        pytest.skip("torch.compile needs a compiler")
    model = small_model(rng)
    x, y = rng.normal(0, 1, (230, 5)).astype("float32"), rng.integers(0, CLASSES, 230)
    weights = rng.integers(1, 4, 230)
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[make(kind, from_logits=True) for kind in PAIRS],
        jit_compile=jit,
    )
    found = model.evaluate(x, y, sample_weight=weights.astype("float32"), batch_size=64, verbose=0, return_dict=True)
    p = reference.softmax(model.predict(x, verbose=0).astype(float))
    names = [make(kind).name for kind in PAIRS]
    for name, function in zip(names, PAIRS.values(), strict=True):
        expected = function(np.repeat(p, weights, axis=0), np.repeat(y, weights))
        assert found[name] == pytest.approx(expected, abs=1e-6), name
    history = model.fit(x, y, epochs=1, batch_size=64, verbose=0).history
    assert set(names) < set(history)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_metric_is_rebuilt_from_its_config(kind):
    options = {"from_logits": True, "name": "mine"}
    if "Calibration" in kind.__name__:
        options["bins"] = 4
    metric = make(kind, **options)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is kind
    assert again.get_config() == metric.get_config()


def test_wrong_numbers_are_refused():
    with pytest.raises(InputError, match="bins must be"):
        metrics.ExpectedCalibrationError(0)
    with pytest.raises(InputError, match="num_classes must be"):
        metrics.ClassWiseCalibrationError(1)
    with pytest.raises(InputError, match="predictions have 2 columns; num_classes is 3"):
        metrics.ClassWiseCalibrationError(3).update_state([0], [[0.5, 0.5]])
    with pytest.raises(InputError, match="one-hot"):
        metrics.BrierScore().update_state([[0, 1, 0]], [[0.5, 0.5]])
    with pytest.raises(InputError, match="predictions must be of shape"):
        metrics.BrierScore().update_state([0], [[[0.5, 0.5]]])


def test_tensors_are_taken(rng):
    logits, p, y = rows(rng, 50)
    metric = metrics.BrierScore(from_logits=True)
    metric.update_state(ops.convert_to_tensor(y), ops.convert_to_tensor(logits))
    assert float(metric.result()) == pytest.approx(calibration.brier_score(p, y), abs=1e-6)
