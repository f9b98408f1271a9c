"""Features of a frozen backbone: computed once, kept by a hash of all that decides them."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lpft_keras import __version__
from lpft_keras.models.backbones import TextBackbone
from lpft_keras.models.classifier import representation, seed_states
from lpft_keras.models.lora import lora_variables
from lpft_keras.models.packing import Tokens
from lpft_keras.storage import cached_arrays, fingerprint
from lpft_keras.training.forward import Forward


def model_config(backbone: TextBackbone) -> dict:
    """Return what decides a backbone's function beside its weights; its name and adapters don't."""
    config = dict(backbone.model.get_config())
    config.pop("name", None)
    config.pop("trainable", None)
    return config


class Features:
    """Features of the frozen backbone, computed once: kept in a folder, so that LP, LP-FT and LP-LoRA share them.

    Args:
        classifier: The classifier, not trained yet.
        forward: Its forward function.
        backbone: The backbone in it.
        cache: The folder; None keeps nothing.
    """

    def __init__(self, classifier: keras.Model, forward: Forward, backbone: TextBackbone, cache: Path | None):
        self._forward = forward
        self.cache = cache
        # Fresh adapters change no feature, so LP-LoRA shares those of LP.
        passive = [*seed_states(classifier), *lora_variables(backbone.model), *classifier.get_layer("head").variables]
        known = {id(variable) for variable in passive}
        weights = [ops.convert_to_numpy(v) for v in classifier.variables if id(v) not in known]
        policy = backbone.model.dtype_policy.name
        function = [
            __version__,
            keras.backend.backend(),
            policy,
            representation(classifier),
            json.dumps(model_config(backbone), default=repr),
        ]
        self._key = fingerprint([*function, *weights]) if cache else ""

    def __call__(self, tokens: Tokens) -> np.ndarray:
        """Return the features of token arrays, float32 [rows, d]."""

        def make() -> dict[str, np.ndarray]:
            return {"features": self._forward(tokens)[0]}

        if self.cache is None:
            return make()["features"]
        key = fingerprint([self._key, *(value for value in vars(tokens).values() if value is not None)])
        return cached_arrays(self.cache / f"features-{key}.npz", make)["features"]
