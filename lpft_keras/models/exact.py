"""KerasHub's encoders, able to keep to the settings of a checkpoint that KerasHub fixes by the class.

KerasHub gives BERT and ALBERT the tanh approximation of GELU, every class one LayerNorm epsilon, and hidden
states and attention weights one dropout rate. Checkpoints in Hugging Face layout name all three. The classes
here are KerasHub's own plus those arguments, which they also keep in their config: a saved model loads with
the same function. The variables and layers are unchanged.
"""

from typing import Any

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="lpft_keras")
def gelu_tanh(x):
    """Apply the tanh approximation of GELU, which Hugging Face calls `gelu_new` and `gelu_pytorch_tanh`."""
    return keras.activations.gelu(x, approximate=True)


# By the names that `hidden_act` takes in Hugging Face's config.json.
ACTIVATIONS = {
    "gelu": keras.activations.gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "swish": keras.activations.silu,
}


EXACT: dict[type, type] = {}
"""The classes here, by the KerasHub class that each derives from."""

_SETTINGS = ("activation", "layer_norm_epsilon", "attention_dropout")


def plain_class(model: keras.Model) -> type:
    """Return the KerasHub class of a backbone, whether or not it is one of those here."""
    return next((base for base, own in EXACT.items() if isinstance(model, own)), type(model))


def exact_settings(model: keras.Model) -> dict[str, Any]:
    """Return what a backbone of a class here has beyond KerasHub's class; of any other, nothing."""
    return {name: getattr(model, name) for name in _SETTINGS} if type(model) in EXACT.values() else {}


def _exact(base: type) -> type:
    """Return a subclass of a KerasHub encoder with `activation`, `layer_norm_epsilon` and `attention_dropout`."""

    class Exact(base):
        def __init__(self, *args, activation=None, layer_norm_epsilon=None, attention_dropout=None, **kwargs):
            hidden_dropout = kwargs.get("dropout", 0.1)
            # A Dropout layer that is made with rate 0 has no random state and can't be raised later, so the
            # encoder is made with the larger of the two rates.
            kwargs["dropout"] = max(hidden_dropout, attention_dropout or 0.0)
            super().__init__(*args, **kwargs)
            self.dropout = hidden_dropout
            self.activation = activation
            self.layer_norm_epsilon = layer_norm_epsilon
            self.attention_dropout = hidden_dropout if attention_dropout is None else attention_dropout
            for layer in self._flatten_layers(include_self=False):
                self._follow(layer)

        def _follow(self, layer):
            if isinstance(layer, keras_hub.layers.TransformerEncoder):
                layer.dropout = self.dropout
                if self.activation is not None:
                    layer.activation = ACTIVATIONS[self.activation]
                    layer._feedforward_intermediate_dense.activation = layer.activation
                if self.layer_norm_epsilon is not None:
                    layer.layer_norm_epsilon = self.layer_norm_epsilon
                layer._self_attention_dropout.rate = self.dropout
                layer._feedforward_dropout.rate = self.dropout
                attention = layer._self_attention_layer
                attention._dropout = attention._dropout_layer.rate = self.attention_dropout
            elif isinstance(layer, keras.layers.LayerNormalization) and self.layer_norm_epsilon is not None:
                layer.epsilon = self.layer_norm_epsilon
            elif layer is self.embeddings_dropout:
                layer.rate = self.dropout

        def get_config(self):
            config = super().get_config()
            config["activation"] = self.activation
            config["layer_norm_epsilon"] = self.layer_norm_epsilon
            config["attention_dropout"] = self.attention_dropout
            return config

    Exact.__name__ = Exact.__qualname__ = f"Exact{base.__name__}"
    Exact.__doc__ = f"`keras_hub.models.{base.__name__}` that keeps to a checkpoint's settings."
    EXACT[base] = keras.saving.register_keras_serializable(package="lpft_keras")(Exact)
    return EXACT[base]


ExactBertBackbone = _exact(keras_hub.models.BertBackbone)
ExactRobertaBackbone = _exact(keras_hub.models.RobertaBackbone)
ExactXLMRobertaBackbone = _exact(keras_hub.models.XLMRobertaBackbone)
ExactDistilBertBackbone = _exact(keras_hub.models.DistilBertBackbone)
ExactAlbertBackbone = _exact(keras_hub.models.AlbertBackbone)
