"""From token arrays to a trained classifier: the stages of a method, one after the other.

`performing` puts rows before it and a run directory behind it; `estimator` puts texts before it and nothing behind.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lpft_keras import __version__
from lpft_keras.hyperparameters import PipelineSettings
from lpft_keras.methods import LinearProbe, fine_tuning, get_method
from lpft_keras.models.backbones import TextBackbone
from lpft_keras.models.classifier import (
    build_classifier,
    freeze_transform,
    get_head,
    scale_head,
    set_head,
)
from lpft_keras.models.lora import enable_lora
from lpft_keras.models.packing import Tokens
from lpft_keras.storage import cached_arrays, fingerprint
from lpft_keras.training.batches import Encoded
from lpft_keras.training.features import Features
from lpft_keras.training.fine_tune import HistoryRow, Score, fine_tune, head_record, mean_loss
from lpft_keras.training.forward import Forward, forward_function
from lpft_keras.training.linear_probe import linear_probe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A trained classifier.

    Attributes:
        classifier: The model.
        history: One row an iteration of the probe, then one an epoch.
        outputs: Computes (features, logits) of token arrays by the trained classifier.
        pretrained: Features of the observed rows before training, float32 [rows, d] by name.
        zero_shot: Logits of the observed rows by the untouched masked language model, float32 [rows, classes] by name;
            none without a prompt.
    """

    classifier: keras.Model
    history: list[HistoryRow]
    outputs: Forward
    pretrained: dict[str, np.ndarray]
    zero_shot: dict[str, np.ndarray] = field(default_factory=dict)


def prepare_classifier(backbone: TextBackbone, classes: int, settings: PipelineSettings) -> keras.Model:
    """Build the classifier of a method with the right variables trainable: freeze first, compile after.

    Args:
        backbone: A loaded backbone.
        classes: Number of classes.
        settings: Method, adapters, pooling and seed.

    Returns:
        The classifier, adapters in place where the method has them.
    """
    stage = fine_tuning(settings.method)
    if stage is not None and stage.lora:
        enable_lora(backbone.model, **asdict(settings.lora), seed=settings.seed)
    elif stage is None:
        backbone.model.trainable = False
    classifier = build_classifier(
        backbone,
        classes,
        pooling=settings.pooling,
        dropout=settings.head_dropout,
        seed=settings.seed,
        prompt=settings.prompt,
    )
    if stage is None or stage.lora:
        freeze_transform(classifier)
    else:
        head = {id(variable) for variable in classifier.get_layer("head").variables}
        for variable in classifier.trainable_variables:
            if id(variable) not in head and not stage.trains(variable.path):
                variable.trainable = False
    return classifier


def before_fine_tuning(
    backbone: TextBackbone,
    classes: int,
    train: Encoded,
    validation: Encoded,
    settings: PipelineSettings,
    cache: Path | None = None,
) -> keras.Model:
    """Return the classifier of a method as its fine-tuning stage finds it: with the head of LP where that comes first.

    Args:
        backbone: A freshly loaded backbone.
        classes: Number of classes.
        train: Training rows.
        validation: Rows that the probe's history is made on.
        settings: The settings.
        cache: Where features of the frozen backbone are kept.

    Returns:
        The classifier.
    """
    classifier = prepare_classifier(backbone, classes, settings)
    if LinearProbe() in get_method(settings.method):
        features = Features(classifier, forward_function(classifier), backbone, cache)
        _probe(classifier, features, train, validation, classes, settings)
    scale_head(classifier, settings.head_scale)
    return classifier


def train_classifier(
    backbone: TextBackbone,
    classes: int,
    train: Encoded,
    validation: Encoded,
    settings: PipelineSettings,
    *,
    score: Score,
    observed: Mapping[str, Tokens] | None = None,
    folder: Path | None = None,
    cache: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show_progress: bool | None = None,
) -> Trained:
    """Run the stages of a method.

    Args:
        backbone: A freshly loaded backbone; its variables are trained in place.
        classes: Number of classes.
        train: Training rows.
        validation: Rows that choose the best epoch.
        settings: The settings.
        score: What the best epoch is best in, a function of (logits, labels).
        observed: Rows, by name, whose features by the pre-trained backbone are wanted beside those after training.
        folder: Where an interrupted fine-tuning keeps its state.
        cache: Where features of the frozen backbone are kept.
        callbacks: Keras callbacks for the fine-tuning.
        show_progress: Whether to show progress bars; None decides by the terminal.

    Returns:
        The classifier with its history.

    Raises:
        InputError: A class has too few rows for the probe, or the loss diverged.
    """
    classifier = prepare_classifier(backbone, classes, settings)
    forward = forward_function(classifier)
    features = Features(classifier, forward, backbone, cache)
    pretrained = {name: features(tokens) for name, tokens in (observed or {}).items()}
    kernel, bias = get_head(classifier)
    zero_shot = {} if settings.prompt is None else {name: one @ kernel + bias for name, one in pretrained.items()}
    history: list[HistoryRow] = []
    outputs = forward
    for stage in get_method(settings.method):
        if isinstance(stage, LinearProbe):
            history += _probe(classifier, features, train, validation, classes, settings)
            outputs = _frozen_outputs(classifier, features)
        else:
            assert settings.fine_tune is not None
            scale_head(classifier, settings.head_scale)
            history += fine_tune(
                classifier,
                forward,
                train,
                validation,
                settings.fine_tune,
                score=score,
                seed=settings.seed,
                folder=folder,
                callbacks=callbacks,
                show_progress=show_progress,
            )
            outputs = forward
    return Trained(classifier, history, outputs, pretrained, zero_shot)


def _probe(
    classifier: keras.Model,
    features: Features,
    train: Encoded,
    validation: Encoded,
    classes: int,
    settings: PipelineSettings,
) -> list[HistoryRow]:
    """Fit the head, write it into the classifier, and return its path."""
    seen, unseen = features(train.tokens), features(validation.tokens)

    def make() -> dict[str, np.ndarray]:
        probe = linear_probe(seen, train.labels, classes, settings.probe, settings.seed)
        return {
            "steps": np.array([step for step, _, _ in probe.path]),
            "kernels": np.stack([kernel for _, kernel, _ in probe.path]),
            "biases": np.stack([bias for _, _, bias in probe.path]),
            "kernel": probe.kernel,
            "bias": probe.bias,
            "inverse_strength": np.array(probe.inverse_strength),
        }

    key = fingerprint([__version__, seen, train.labels, asdict(settings.probe), settings.seed])
    fitted = make() if features.cache is None else cached_arrays(features.cache / f"probe-{key}.npz", make)
    log.info("linear probe: C = %.3g (inverse L2 strength, by cross-validation)", fitted["inverse_strength"])
    set_head(classifier, fitted["kernel"], fitted["bias"])
    rows: list[HistoryRow] = []
    for step, kernel, bias in zip(fitted["steps"], fitted["kernels"], fitted["biases"], strict=True):
        logits, unseen_logits = seen @ kernel + bias, unseen @ kernel + bias
        rows.append(
            {
                "stage": "linear_probe",
                "step": int(step),
                "loss": mean_loss(logits, train.labels),
                "accuracy": float((logits.argmax(axis=1) == train.labels).mean()),
                "validation_loss": mean_loss(unseen_logits, validation.labels),
                "validation_accuracy": float((unseen_logits.argmax(axis=1) == validation.labels).mean()),
                **head_record((kernel, bias), unseen_logits),
            }
        )
    return rows


def _frozen_outputs(classifier: keras.Model, features: Features) -> Forward:
    """Return the outputs of a classifier whose backbone was not trained, without running the backbone again."""

    def outputs(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        pooled = features(tokens)
        head = classifier.get_layer("head")
        return pooled, ops.convert_to_numpy(head(ops.convert_to_tensor(pooled)))

    return outputs
