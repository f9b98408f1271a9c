"""Models that have no twin outside Keras, and plain autodiff of the present backend to compare them with."""

import keras
import keras_hub
import numpy as np
from keras import ops

from lpft_keras.models.lora import enable_lora
from tests.ntk.cases import LENGTH, ROWS, token_rows, with_head


def by_autodiff(model, x):
    """Return F by the present backend's gradients of one logit of one example after the other, in its float32.

    Knows nothing of segments, taps or chunks: for models that have no twin outside Keras.
    """
    head = {id(variable) for variable in model.layers[-1].variables}
    variables = [variable for variable in model.trainable_variables if id(variable) not in head]
    rows = [_gradients(model, keras.tree.map_structure(lambda a, i=i: a[i : i + 1], x), variables) for i in range(ROWS)]
    jacobian = np.stack(rows).astype("float64")
    return np.einsum("icp,jdp->icjd", jacobian, jacobian)


def _gradients(model, x, variables):
    """Return the gradients of one example's logits, [classes, numbers]."""
    match keras.backend.backend():
        case "torch":
            import torch

            logits = model(x, training=False)[0]
            values = [variable.value for variable in variables]
            found = [
                torch.autograd.grad(logit, values, retain_graph=True, allow_unused=True, materialize_grads=True)
                for logit in logits
            ]
        case "jax":
            import jax

            others = [variable.value for variable in model.non_trainable_variables]
            chosen = {id(variable) for variable in variables}

            def logits(values):
                given = iter(values)
                whole = [next(given) if id(v) in chosen else v.value for v in model.trainable_variables]
                return model.stateless_call(whole, others, x, training=False)[0][0]

            by_variable = jax.jacrev(logits)([variable.value for variable in variables])
            found = list(zip(*by_variable, strict=True))
        case _:
            import tensorflow as tf

            with tf.GradientTape(persistent=True) as tape:
                logits = tf.unstack(model(x, training=False)[0])
            values = [variable.value for variable in variables]
            zero = tf.UnconnectedGradients.ZERO
            found = [tape.gradient(logit, values, unconnected_gradients=zero) for logit in logits]
            found = [[tf.convert_to_tensor(gradient) for gradient in gradients] for gradients in found]
    return np.stack([np.concatenate([ops.convert_to_numpy(g).reshape(-1) for g in each]) for each in found])


def family(name):
    """A tiny encoder of one of KerasHub's families with its rows; "keras" and "paper" are styles of adapters."""
    rng = np.random.default_rng(4)
    kinds = {"albert": "Albert", "deberta": "DebertaV3", "distilbert": "DistilBert", "xlm_roberta": "XLMRoberta"}
    extra = {"albert": {"embedding_dim": 8, "num_groups": 1, "num_inner_repetitions": 1}, "deberta": {"bucket_size": 8}}
    backbone = getattr(keras_hub.models, f"{kinds.get(name, 'Roberta')}Backbone")(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
        max_sequence_length=16,
        **extra.get(name, {}),
    )
    if name in ("keras", "paper"):
        enable_lora(backbone, rank=2, style=name)
    for variable in backbone.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape) + (variable.path.endswith("gamma")))
    x = token_rows()
    if name == "albert":
        x["segment_ids"] = (np.arange(LENGTH) > 4).astype("int32") * np.ones((ROWS, 1), "int32")
        backbone.get_layer("pooled_dense").trainable = False
    output = backbone.output
    hidden = output["sequence_output"] if isinstance(output, dict) else output
    return with_head(dict(backbone.input), hidden[:, 0])[0], x


def recurrent():
    """An LSTM that skips padding by an implicit mask."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    embedded = keras.layers.Embedding(50, 6, mask_zero=True)(inputs)
    model, _ = with_head(inputs, keras.layers.LSTM(5)(keras.layers.Dense(4, activation="tanh")(embedded)))
    x = token_rows()
    return model, x["token_ids"] * x["padding_mask"]


class Scaled(keras.layers.Embedding):
    def call(self, inputs):
        return super().call(inputs) * 3.0


class Positions(keras.layers.Layer):
    """keras.io's: the table is looked up once for all examples, not by each."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = keras.layers.Embedding(50, 6), keras.layers.Embedding(LENGTH, 6)

    def build(self, shape):
        self.tokens.build(shape)
        self.positions.build((LENGTH,))

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(ops.shape(x)[-1]))


class Tied(keras.layers.Layer):
    """Uses its inner layer's kernel once more, past the layer."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(4, activation="tanh")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return ops.matmul(self.inner(x), ops.transpose(self.inner.kernel))


class Own(keras.Sequential):
    def call(self, inputs, training=None):
        return super().call(2 * inputs, training=training)


def _scaled_tanh(scale):
    return lambda x: ops.tanh(scale * x)


def odd(name):
    """Models whose layers do not do what their kind, their shapes or their configuration say."""
    rng = np.random.default_rng(6)
    ids = token_rows()["token_ids"]
    numbers = rng.normal(size=(ROWS, 6)).astype("float32")
    average = keras.layers.GlobalAveragePooling1D()
    inputs = keras.Input((6,))
    match name:
        case "scaled lookup":
            inputs, x = keras.Input((LENGTH,), dtype="int32"), ids
            features = average(keras.layers.Dense(5, activation="tanh")(Scaled(50, 6)(inputs)))
        case "float ids":
            inputs, x = keras.Input((LENGTH,)), ids.astype("float32")
            features = average(keras.layers.Dense(5, activation="tanh")(keras.layers.Embedding(50, 6)(inputs)))
        case "shared positions":
            inputs, x = keras.Input((LENGTH,), dtype="int32"), ids
            features = average(keras.layers.Dense(5, activation="tanh")(Positions()(inputs)))
        case "windows":
            inputs, x = keras.Input((4, 6)), rng.normal(size=(ROWS, 4, 6)).astype("float32")
            rows = keras.layers.Dense(5, activation="tanh")(ops.reshape(inputs, (-1, 6)))
            rows = keras.layers.Dense(5, activation="tanh")(rows)
            features = average(ops.reshape(rows, (-1, 4, 5)))
        case "tied":
            x = numbers
            features = keras.layers.Dense(5, activation="tanh")(Tied()(inputs))
        case "closures":
            x = numbers
            hidden = keras.layers.Dense(6, activation=_scaled_tanh(0.3))(inputs)
            features = keras.layers.Dense(6, activation=_scaled_tanh(3.0))(hidden)
        case "own sequential":
            x = numbers
            features = Own([keras.Input((6,)), keras.layers.Dense(5, activation="tanh")])(inputs)
        case "bare variable":
            x = numbers
            layer = keras.layers.Dense(6, activation="tanh")
            features = keras.layers.Dense(5, activation="tanh")(ops.matmul(layer(inputs), layer.kernel))
        case "inputs by name":
            first, second = keras.Input((6,), name="zz"), keras.Input((6,), name="aa")
            inputs, x = [first, second], {"aa": numbers, "zz": 2 * numbers[::-1].copy()}
            features = keras.layers.Dense(5, activation="tanh")(
                ops.concatenate([keras.layers.Dense(3, activation="tanh")(first), second], -1)
            )
        case "a mask that is not taken":
            inputs, x = {"token_ids": keras.Input((None,), dtype="int32", name="token_ids")}, token_rows()
            embedded = keras.layers.Embedding(50, 6)(inputs["token_ids"])
            features = average(keras.layers.Dense(5, activation="tanh")(embedded))
        case "a mask that is not heeded":
            x = token_rows()
            inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in x}
            mask = ops.cast(ops.expand_dims(inputs["padding_mask"], -1), "float32")
            embedded = keras.layers.Embedding(50, 6)(inputs["token_ids"]) + 0.1 * mask
            features = average(keras.layers.Dense(5, activation="tanh")(embedded))
    return with_head(inputs, features)[0], x


ODD = (
    "scaled lookup",
    "float ids",
    "shared positions",
    "windows",
    "tied",
    "closures",
    "own sequential",
    "bare variable",
    "inputs by name",
    "a mask that is not taken",
    "a mask that is not heeded",
)
