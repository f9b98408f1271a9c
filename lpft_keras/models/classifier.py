"""The classifier: a backbone, its features pooled to one vector a row, dropout, and one Dense head."""

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import unknown_name
from lpft_keras.models.backbones import TextBackbone, sequence_output

POOLINGS = ("first", "mean")


@keras.saving.register_keras_serializable(package="lpft_keras")
class Pooling(keras.layers.Layer):
    """Pool hidden states to one feature vector a row, in its own dtype.

    Args:
        mode: "first" takes the first token, as the paper does; "mean" the mean of the real tokens, for sentence
            encoders.
    """

    def __init__(self, mode: str = "first", **kwargs):
        super().__init__(**kwargs)
        if mode not in POOLINGS:
            raise unknown_name("pooling", mode, POOLINGS)
        self.mode = mode

    def call(self, hidden, padding_mask):
        """Return the features, [rows, d], of hidden states [rows, tokens, d] and a mask [rows, tokens]."""
        if self.mode == "first":
            return ops.cast(hidden[:, 0], self.compute_dtype)
        weights = ops.expand_dims(ops.cast(padding_mask, self.compute_dtype), -1)
        return ops.sum(ops.cast(hidden, self.compute_dtype) * weights, axis=1) / ops.sum(weights, axis=1)

    def get_config(self):
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "mode": self.mode}


def build_classifier(
    backbone: TextBackbone, classes: int, *, pooling: str | None = None, dropout: float = 0.1, seed: int = 0
) -> keras.Model:
    """Put one Dense head on a backbone.

    The paper's model: hidden state of the first token, dropout, one Dense layer, without the tanh layer that KerasHub's
    own classifiers put between. The head starts as RoBERTa's does, N(0, 0.02^2), bias 0, drawn by NumPy so that it is
    the same on every backend.

    Args:
        backbone: A loaded backbone.
        classes: Number of classes.
        pooling: "first" or "mean"; None takes the backbone's own default.
        dropout: Dropout rate before the head.
        seed: Seed of the head and of all dropout masks.

    Returns:
        A functional model from token arrays to logits, float32 of shape [rows, classes]. Its layers "features" and
        "head" give the features and the head.

    Raises:
        InputError: The pooling is unknown.
    """
    model = backbone.model
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in {**model.input, "padding_mask": None}}
    hidden = sequence_output(model({name: inputs[name] for name in model.input}))
    pool = Pooling(pooling or backbone.pooling, name="features", dtype="float32")
    features = pool(hidden, inputs["padding_mask"])
    head = keras.layers.Dense(classes, name="head", dtype="float32")
    dropped = keras.layers.Dropout(dropout, name="head_dropout", dtype="float32")(features)
    classifier = keras.Model(inputs, head(dropped), name="classifier")
    rng = np.random.default_rng([seed, 1])
    set_head(classifier, _draw_head(rng, *head.kernel.shape), np.zeros(classes))
    _seed_dropout(classifier, rng)
    return classifier


def drawn_head(seed: int, features: int, classes: int) -> np.ndarray:
    """Return the kernel of the head that `build_classifier` draws by a seed, float64 [features, classes]."""
    return _draw_head(np.random.default_rng([seed, 1]), features, classes)


def _draw_head(rng: np.random.Generator, features: int, classes: int) -> np.ndarray:
    return rng.normal(0, 0.02, (features, classes))


def _seed_dropout(model: keras.Model, rng: np.random.Generator) -> None:
    """Give every dropout layer's generator its state from our own seed, without touching any global one."""
    for variable in seed_states(model):
        variable.assign(rng.integers(0, 2**31, variable.shape).astype("uint32"))


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that hold the state of the model's random generators (dropout)."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def get_head(classifier: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return the head's kernel, float32 [features, classes], and bias, float32 [classes]."""
    head = classifier.get_layer("head")
    return ops.convert_to_numpy(head.kernel), ops.convert_to_numpy(head.bias)


def set_head(classifier: keras.Model, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Write the head.

    Args:
        classifier: A model of `build_classifier`.
        kernel: Array of shape [features, classes].
        bias: Array of shape [classes].
    """
    head = classifier.get_layer("head")
    head.kernel.assign(np.asarray(kernel, "float32"))
    head.bias.assign(np.asarray(bias, "float32"))


def scale_head(classifier: keras.Model, factor: float) -> None:
    """Multiply the head by a factor: logits scale, predictions stay, F of the NTK grows by its square.

    Args:
        classifier: A model of `build_classifier`.
        factor: The multiplier.
    """
    kernel, bias = get_head(classifier)
    set_head(classifier, kernel * factor, bias * factor)


def with_features(classifier: keras.Model) -> keras.Model:
    """Return a model of the same inputs that gives (features [rows, d], logits [rows, classes])."""
    return keras.Model(classifier.input, [classifier.get_layer("features").output, classifier.output])
