"""The part of a model card that says how it is loaded, with KerasHub alone and with us, and what differs."""

import json
from typing import Any

from lpft_keras.markdown import one_line

_ACTIVATIONS = {
    "gelu": "keras.activations.gelu",
    "relu": "keras.activations.relu",
    "silu": "keras.activations.silu",
    "swish": "keras.activations.silu",
}
_TANH = "lambda x: keras.activations.gelu(x, approximate=True)"


def loading_section(about: dict[str, Any], place: str) -> str:
    """Return the section.

    Args:
        about: What `lpft_keras.json` will hold.
        place: What the examples load: a URI or a directory's name.

    Returns:
        Markdown.
    """
    name = json.dumps(one_line(place), ensure_ascii=False)
    predict = (
        f"from lpft_keras import TextClassifier\n\nclassifier = TextClassifier.from_preset({name})\n"
        'classifier.predict_proba(["A text."])  # of pairs: [("A text.", "Another.")]'
        if not place.startswith("kaggle://")
        else "from lpft_keras import TextClassifier\n\n# kagglehub.model_download(...) gives the directory\n"
        'classifier = TextClassifier.from_preset("directory")\nclassifier.predict_proba(["A text."])'
    )
    return (
        "## How to load it\n\n"
        "Backbone and tokenizer, with KerasHub alone:\n\n"
        f"```python\nimport keras\nimport keras_hub\n\nbackbone = keras_hub.models.Backbone.from_preset({name})\n"
        f"preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset({name})\n"
        'inputs = preprocessor(["A text.", "Another text."])  # of pairs: preprocessor((firsts, seconds), None)\n'
        "hidden = backbone(inputs)\n```\n\n"
        + _differences(about)
        + f"The whole classifier, with lpft-keras:\n\n```python\n{predict}\n```\n\n"
        "Or as a Keras model from tokens to logits:\n\n"
        "```python\nimport keras\nimport lpft_keras.models\n\n"
        'model = keras.saving.load_model("classifier.keras")\n```\n'
    )


def _differences(about: dict[str, Any]) -> str:
    alone, exact = about["kerashub_alone"], about["exact"]
    text = ""
    if alone["hidden_states"] > 1e-5:
        activation = _ACTIVATIONS.get(exact["activation"], _TANH)
        epsilon = exact["layer_norm_epsilon"]
        text += (
            f"KerasHub's class fixes the activation, so that the hidden states differ by up to "
            f"{alone['hidden_states']:.1e} from those of the classifier. This makes them equal, before the first call:"
            "\n\n```python\nfor layer in backbone._flatten_layers():\n"
            "    if isinstance(layer, keras_hub.layers.TransformerEncoder):\n"
            f"        layer._feedforward_intermediate_dense.activation = {activation}\n"
            "    if isinstance(layer, keras.layers.LayerNormalization):\n"
            f"        layer.epsilon = {epsilon!r}\n```\n\n"
        )
    if alone["texts"]:
        text += (
            "KerasHub's own tokenizer cuts some texts into other tokens than the classifier was trained on: in a test "
            f"with a text of each kind, those with {', '.join(alone['texts'])}. lpft-keras cuts all as in training.\n\n"
        )
    return text
