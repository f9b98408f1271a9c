"""The classifier: a backbone, its features pooled to one vector a row, dropout, and one Dense head."""

import json
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import unknown_name
from lpft_keras.hyperparameters import POOLINGS
from lpft_keras.models.backbones import TextBackbone, sequence_output
from lpft_keras.models.exact import ACTIVATIONS
from lpft_keras.models.masked_lm import MaskedLM
from lpft_keras.models.prompting import label_word_ids, mask_id
from lpft_keras.prompts.prompt import Prompt


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


@keras.saving.register_keras_serializable(package="lpft_keras")
class MaskState(keras.layers.Layer):
    """Take the hidden state at the mask, in its own dtype.

    Args:
        mask_id: The mask's token id; a row that the prompt was put around has it once.
    """

    def __init__(self, mask_id: int, **kwargs):
        super().__init__(**kwargs)
        self.mask_id = mask_id

    def call(self, hidden, token_ids):
        """Return the states, [rows, d], of hidden states [rows, tokens, d] and token ids [rows, tokens]."""
        # A product instead of a look-up: its gradient is one on every backend.
        place = ops.expand_dims(ops.cast(ops.equal(token_ids, self.mask_id), self.compute_dtype), -1)
        return ops.sum(ops.cast(hidden, self.compute_dtype) * place, axis=1)

    def get_config(self):
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "mask_id": self.mask_id}


def build_classifier(
    backbone: TextBackbone,
    classes: int,
    *,
    pooling: str | None = None,
    dropout: float = 0.1,
    seed: int = 0,
    prompt: Prompt | None = None,
) -> keras.Model:
    """Put one Dense head on a backbone.

    The paper's model: hidden state of the first token, dropout, one Dense layer, without the tanh layer that KerasHub's
    own classifiers put between. The head starts as RoBERTa's does, N(0, 0.02^2), bias 0, drawn by NumPy so that it is
    the same on every backend.

    With a prompt it is the masked language model itself, asked for its label words alone (Malladi et al. 2023): the
    features are the masked-LM head's transform of the hidden state at the mask, and the head starts as the label words'
    rows of the word embedding, with their output biases. From then on the head is one of its own. The tied model would
    also move these rows where the words stand in a text, and the rows by what goes through the decoder.

    Args:
        backbone: A loaded backbone.
        classes: Number of classes.
        pooling: "first" or "mean"; None takes the backbone's own default. A prompt has none.
        dropout: Dropout rate before the head; none there with a prompt.
        seed: Seed of the head and of all dropout masks.
        prompt: The prompt that rows are encoded by, its words in the order of the classes; None for none.

    Returns:
        A functional model from token arrays to logits, float32 of shape [rows, classes]. Its layers "features" and
        "head" give the features and the head.

    Raises:
        InputError: The pooling is unknown, or a label word or the backbone can't be used.
    """
    model = backbone.model
    words = None if prompt is None else label_word_ids(backbone, prompt)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in {**model.input, "padding_mask": None}}
    hidden = sequence_output(model({name: inputs[name] for name in model.input}))
    if words is None:
        pool = Pooling(pooling or backbone.pooling, name="features", dtype="float32")
        features = pool(hidden, inputs["padding_mask"])
    else:
        features = _transformed(backbone, hidden, inputs["token_ids"])
    head = keras.layers.Dense(classes, name="head", dtype="float32")
    # A masked language model has none there.
    rate = dropout if words is None else 0.0
    dropped = keras.layers.Dropout(rate, name="head_dropout", dtype="float32")(features)
    classifier = keras.Model(inputs, head(dropped), name="classifier")
    rng = np.random.default_rng([seed, 1])
    set_head(classifier, _draw_head(rng, *head.kernel.shape), np.zeros(classes))
    if words is not None and backbone.masked_lm is not None:
        set_head(classifier, *backbone.masked_lm.rows(model, words))
    _seed_dropout(classifier, rng)
    return classifier


def _transformed(backbone: TextBackbone, hidden, token_ids):
    """Return the masked-LM head's transform of the state at the mask, [rows, e], its weights the checkpoint's."""
    known = backbone.masked_lm
    assert known is not None, "label words were found"
    state = MaskState(mask_id(backbone), name="mask_state", dtype="float32")(hidden, token_ids)
    dense = keras.layers.Dense(
        len(known.bias), activation=ACTIVATIONS[known.activation], name="transform", dtype="float32"
    )
    norm = keras.layers.LayerNormalization(epsilon=known.epsilon, name="features", dtype="float32")
    features = norm(dense(state))
    for variable, value in zip(
        [dense.kernel, dense.bias, norm.gamma, norm.beta],
        [known.kernel, known.bias, known.gamma, known.beta],
        strict=True,
    ):
        variable.assign(value)
    return features


def freeze_transform(classifier: keras.Model) -> None:
    """Freeze what lies between backbone and head, where there is a prompt: it belongs to the pre-trained model."""
    for layer in classifier.layers:
        if layer.name in ("transform", "features"):
            layer.trainable = False


def trained_masked_lm(classifier: keras.Model, before: MaskedLM) -> MaskedLM:
    """Return a masked-LM head with the transform of a classifier with a prompt, all else as it was before."""
    dense, norm = classifier.get_layer("transform"), classifier.get_layer("features")
    kernel, bias, gamma, beta = map(ops.convert_to_numpy, (dense.kernel, dense.bias, norm.gamma, norm.beta))
    return replace(before, kernel=kernel, bias=bias, gamma=gamma, beta=beta)


def representation(classifier: keras.Model) -> str:
    """Return what its features are of the hidden states, as text: the pooling, or the settings of the transform."""
    layer = classifier.get_layer("features")
    if isinstance(layer, Pooling):
        return layer.mode
    return json.dumps([classifier.get_layer(name).get_config() for name in ("transform", "features")], default=repr)


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
