"""What can't be computed is refused in one line, before the work."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments


class Noise(keras.layers.Layer):
    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.seeds)

    def build(self, shape):
        self.seeds = keras.random.SeedGenerator(1)


def _dense(*layers, x=None, **arguments):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), *layers])
    return lambda: ntk.empirical_ntk(model, np.ones((3, 6), "float32") if x is None else x, **arguments)


def _frozen():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, trainable=False), keras.layers.Dense(2)])
    return ntk.empirical_ntk(model, np.ones((3, 6), "float32"))


def _noise_below():
    model = keras.Sequential([keras.Input((6,)), Noise(), keras.layers.Dense(4), keras.layers.Dense(2)])
    return ntk.empirical_ntk(model, np.ones((3, 6), "float32"))


def _fixed_batch():
    inputs = keras.Input(batch_shape=(3, 6))
    return ntk.empirical_ntk(keras.Model(inputs, keras.layers.Dense(2)(inputs)), np.ones((3, 6), "float32"))


def _token_arrays_of_unlike_lengths():
    x = model_inputs(small_tokens(np.random.default_rng(0), 9), np.arange(9), 32)
    return ntk.empirical_ntk(small_classifier(), x | {"token_ids": x["token_ids"][:8]})


def _one_array_missing():
    x = model_inputs(small_tokens(np.random.default_rng(0), 9), np.arange(9), 32)
    return ntk.empirical_ntk(small_classifier(), {"token_ids": x["token_ids"]})


def _broken():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    model.layers[0].kernel.assign(np.full((6, 4), np.nan))
    return ntk.empirical_ntk(model, np.ones((3, 6), "float32"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (_dense(keras.layers.ReLU()), "must end in a Dense head"),
        (_dense(keras.layers.Dense(2, activation="sigmoid")), "activation 'sigmoid'"),
        (_dense(keras.layers.Dense(1)), "one output"),
        (_dense(keras.layers.Dense(2), x=np.ones((0, 6), "float32")), "no examples"),
        (_dense(keras.layers.Dense(2), x=np.ones((3, 5), "float32")), "wanted"),
        (_dense(keras.layers.Dense(2), x=np.full((3, 6), np.nan, "float32")), "NaN"),
        (_dense(keras.layers.Dense(2), x=[np.ones((3, 6))] * 2), "takes 1 inputs"),
        (_dense(keras.layers.Dense(2), variables=[keras.Variable(1.0, name="stranger")]), "'stranger'"),
        (_dense(keras.layers.Dense(2), variables=lambda variable: False), "chooses none"),
        (_dense(keras.layers.Dense(2), parts="layers"), "unknown parts 'layers'; did you mean 'layer'"),
        (_dense(keras.layers.Dense(2), dtype="float16"), "unknown dtype 'float16'"),
        (_dense(keras.layers.Dense(2), workers=0), "workers must be 1 or more"),
        (_dense(Noise(), keras.layers.Dense(2)), "differs between two calls"),
        (_noise_below, "differs between two calls"),
        (_dense(keras.layers.Dense(2), x=np.array(["a", "b"])), "must be an array of numbers"),
        (_dense(keras.layers.Dense(2), max_memory="8GB"), "max_memory must be a number"),
        (_dense(keras.layers.Dense(2), max_memory=float("nan")), "max_memory must be a number"),
        (_dense(keras.layers.Dense(2), kind=["sgd"]), "unknown kind"),
        (_dense(keras.layers.Dense(2), dtype=32), "unknown dtype"),
        (_dense(keras.layers.Dense(2), variables=5), "variables must be the name of a subset"),
        (_dense(keras.layers.Dense(2), workers="gpu:0"), "workers must be 1 or more"),
        (lambda: ntk.empirical_ntk(object(), np.ones((3, 6))), "must be a keras.Model"),
        (_fixed_batch, "takes just 3 examples at once"),
        (_token_arrays_of_unlike_lengths, "unlike numbers of examples"),
        (_one_array_missing, "x lacks the input 'padding_mask'"),
        (_frozen, "no variable below the head is trainable"),
        (_broken, "kernel' holds NaN"),
    ],
)
def test_wrong_input_is_named(wrong, words):
    with pytest.raises(InputError, match=words) as caught:
        wrong()
    assert len(str(caught.value).splitlines()) == 1
