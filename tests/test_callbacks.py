import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.callbacks import RepresentationHistory
from lpft_keras.errors import InputError
from lpft_keras.representation import feature_change, head_norm


class Subclassed(keras.Model):
    """Two inputs, two Dense layers, the head called last but made first; dropout that must be off."""

    def __init__(self):
        super().__init__()
        self.top = keras.layers.Dense(2, "softmax", name="top")
        self.hidden = keras.layers.Dense(4, "tanh", name="hidden")
        self.drop = keras.layers.Dropout(0.5)

    def call(self, inputs, training=False):
        return self.top(self.drop(self.hidden(inputs["a"] + inputs["b"]), training=training))


def sequential():
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, "tanh", name="hidden"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, "softmax", name="top"),
        ]
    )


def data(rng, subclassed):
    x = rng.normal(0, 1, (50, 5)).astype("float32")
    y = rng.integers(0, 2, 50)
    return ({"a": x, "b": 0.5 * x} if subclassed else x), y


def features(model, x):
    inputs = x["a"] + x["b"] if isinstance(x, dict) else x
    return ops.convert_to_numpy(model.get_layer("hidden")(ops.convert_to_tensor(inputs)))


@pytest.mark.parametrize("subclassed", [False, True])
def test_head_norm_and_feature_change_are_recorded(rng, subclassed):
    model = Subclassed() if subclassed else sequential()
    x, y = data(rng, subclassed)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.evaluate(x, y, verbose=0)  # builds it
    before = features(model, x)
    watch = RepresentationHistory(x, batch_size=16)
    history = model.fit(x, y, epochs=3, batch_size=10, verbose=0, callbacks=[watch]).history
    assert [row["epoch"] for row in watch.history] == [0, 1, 2, 3]
    assert watch.history[0]["feature_change"] == 0
    assert watch.history[0]["head_norm"] > 0
    assert history["feature_change"] == [row["feature_change"] for row in watch.history[1:]]
    assert history["feature_change"][-1] == pytest.approx(feature_change(features(model, x), before), rel=1e-5)
    kernel = ops.convert_to_numpy(model.get_layer("top").kernel)
    assert history["head_norm"][-1] == pytest.approx(head_norm(kernel), rel=1e-6)
    assert np.ptp(history["head_norm"]) > 0


def test_a_head_is_found_by_name_and_another_model_watched(rng):
    model = sequential()
    x, y = data(rng, False)
    outer = keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(2.0), model])
    outer.compile("sgd", "sparse_categorical_crossentropy")
    watch = RepresentationHistory(x, head="hidden", model=model)
    outer.fit(x, y, verbose=0, callbacks=[watch])
    # What goes into the first layer is the data itself, which does not move.
    assert watch.history[1]["feature_change"] == 0
    assert watch.history[1]["head_norm"] == pytest.approx(head_norm(ops.convert_to_numpy(model.layers[0].kernel)))


class Breaks(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            kernel = self.model.get_layer("hidden").kernel
            kernel.assign(np.full(kernel.shape, np.nan))


def test_a_diverged_model_trains_on(rng):
    model = sequential()
    x, y = data(rng, False)
    model.compile("sgd", "sparse_categorical_crossentropy")
    watch = RepresentationHistory(x)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[Breaks(), watch])
    changes = [row["feature_change"] for row in watch.history]
    assert np.isfinite(changes[:2]).all()
    assert np.isnan(changes[2:]).all()


def test_a_model_without_such_a_head_is_refused_as_training_begins(rng):
    model = sequential()
    x, y = data(rng, False)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(InputError, match="does not call a Dense layer named 'heat'; it calls: hidden, top"):
        model.fit(x, y, verbose=0, callbacks=[RepresentationHistory(x, head="heat")])
    with pytest.raises(InputError, match=r"can't be called on a row of x .*model="):
        model.fit(x, y, verbose=0, callbacks=[RepresentationHistory(np.zeros((3, 7), "float32"))])
    for rows, batch_size, words in (
        (x, 0, "batch_size must be"),
        ([], 8, "x must hold rows"),
        ({"a": x, "b": x[:3]}, 8, "equally many"),
        ("text", 8, "x must be real numbers"),
    ):
        with pytest.raises(InputError, match=words):
            RepresentationHistory(rows, batch_size=batch_size)
    assert len(RepresentationHistory([[1.0, 2.0], [3.0, 4.0]])._x) == 2
