"""`TextClassifier`: the same pipeline as a scikit-learn estimator, for texts and labels at hand."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from lpft_keras.arrays import real_number
from lpft_keras.atomic import disk_errors
from lpft_keras.errors import InputError, first_line
from lpft_keras.evaluation import accuracy, best_temperature
from lpft_keras.methods import LinearProbe, get_method
from lpft_keras.models.backbones import TextBackbone, check_backbone, load_backbone
from lpft_keras.models.classifier import scale_head
from lpft_keras.models.download import HF_PREFIX, parse_hf, snapshot
from lpft_keras.models.encoding import as_rows, encode
from lpft_keras.models.packing import Tokens
from lpft_keras.models.presets import ABOUT, read_about
from lpft_keras.models.prompting import label_word_ids, prompt_frame
from lpft_keras.pipeline import train_classifier
from lpft_keras.randomness import global_state_kept
from lpft_keras.results import HISTORY_COLUMNS, RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.storage import read_json, write_last
from lpft_keras.training.batches import Encoded
from lpft_keras.training.callbacks import check_callbacks
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import usable_folds
from lpft_keras.weights import check_same_weights, load_weights, save_weights

log = logging.getLogger(__name__)

_FILE = "classifier.json"


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Let errors of what a file holds name the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({first_line(error)}); save it again") from error


class TextClassifier(ClassifierMixin, BaseEstimator):
    """A text classifier fine-tuned by LP-FT or one of its relatives, as a scikit-learn estimator.

    Args:
        method: "lp", "ft", "lp-ft", "lora", "lp-lora", or what else is in `lpft_keras.methods.METHODS`.
        backbone: As for `lpft_keras.run`.
        seed: Seed of all that is random.
        epochs: Passes over the training rows; the best on validation is kept.
        batch_size: Rows an optimiser step; None takes the defaults of `lpft_keras.run`.
        learning_rate: Learning rate at the first step; None likewise.
        optimizer: "adam", "sgd" or "signgd", as for `lpft_keras.run`.
        max_length: Tokens a row.
        pooling: "first", "mean", or None for the backbone's own default.
        dropout: Dropout rate of backbone and head; None takes the checkpoint's, and 0.1 for the head.
        dtype: "float32" or "mixed_bfloat16".
        lora_rank: Rank of the adapters.
        lora_alpha: Scale of the adapters.
        lora_style: "paper" or "keras".
        probe_solver: Solver of the linear probe.
        prompt: A template that texts are put into, such as "<s1> It was [M]."; see `lpft_keras.run`.
        label_words: A word a class, by class or in the order of `classes_`.
        validation_fraction: Share of the rows that chooses the best epoch, stratified, where `fit` is given none.

    Attributes:
        classes_: The labels as given, sorted; of a run, the class names of its task in their order.
        model_: The Keras model.
        history_: One dict an iteration of the probe, then one an epoch.
        temperature_: The temperature that suits the held-out rows best, 1 where they have no finite one; `calibrate`
            folds it into the head, and leaves 1.

    Example:
        >>> texts = ["a fine film", "a dull film"] * 20
        >>> classifier = TextClassifier(method="lp", backbone="pocket").fit(texts, ["good", "bad"] * 20)
        >>> classifier.predict(["a fine film"])
        array(['good'], dtype='<U4')
    """

    def __init__(
        self,
        method: str = "lp-ft",
        backbone: str = "roberta_base_en",
        *,
        seed: int = 1001,
        epochs: int = 10,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        optimizer: str = "adam",
        max_length: int = 128,
        pooling: str | None = None,
        dropout: float | None = None,
        dtype: str = "float32",
        lora_rank: int = 8,
        lora_alpha: float = 8.0,
        lora_style: str = "paper",
        probe_solver: str = "newton-cg",
        prompt: str | None = None,
        label_words: Mapping[Any, str] | Sequence[str] | None = None,
        validation_fraction: float = 0.1,
    ):
        self.method = method
        self.backbone = backbone
        self.seed = seed
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.max_length = max_length
        self.pooling = pooling
        self.dropout = dropout
        self.dtype = dtype
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_style = lora_style
        self.probe_solver = probe_solver
        self.prompt = prompt
        self.label_words = label_words
        self.validation_fraction = validation_fraction

    def _settings(self) -> RunSettings:
        params = self.get_params()
        del params["validation_fraction"]
        return RunSettings(task="own texts", **params)

    def _check(self) -> None:
        """Refuse what no classifier can be restored by."""
        self._settings()
        check_backbone(self.backbone)
        if self.classes_.ndim != 1 or len(self.classes_) < 2:
            raise InputError("the classes must be two or more names")
        if self.temperature_ is not None:
            real_number(self.temperature_, "temperature", 0, np.inf)

    def fit(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        labels: Sequence[Any],
        validation: tuple[Sequence[Any], Sequence[Any]] | None = None,
        callbacks: Sequence[Any] = (),
    ) -> "TextClassifier":
        """Train on texts.

        Args:
            texts: Strings, or pairs of strings.
            labels: One a text: strings, integers or booleans.
            validation: Texts and labels that choose the best epoch; None holds out `validation_fraction` of the rows.
            callbacks: Keras callbacks for fine-tuning, as for `lpft_keras.run`.

        Returns:
            This estimator.

        Raises:
            InputError: A setting, a text or a label is wrong.
        """
        settings = self._settings()
        check_callbacks(callbacks)
        check_backbone(self.backbone)
        rows = as_rows(texts)
        if len(rows) != len(labels):
            raise InputError(f"there are {len(rows)} texts and {len(labels)} labels; give one label a text")
        self.classes_, ids = np.unique(np.asarray(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"the labels hold one class only ({self.classes_.tolist()}); two or more are needed")
        if validation is None:
            rows, held_rows, ids, held_ids = self._hold_out(rows, ids)
        else:
            held_rows, held_ids = as_rows(validation[0]), self._ids(validation[1])
            if len(held_rows) != len(held_ids):
                raise InputError(f"validation has {len(held_rows)} texts and {len(held_ids)} labels")
        pipeline = settings.pipeline().for_classes(self._class_names())
        if LinearProbe() in get_method(self.method):
            usable_folds(ids, len(self.classes_), pipeline.probe.folds)
        with global_state_kept():
            backbone = load_backbone(self.backbone, dropout=self.dropout, dtype=self.dtype)
            if pipeline.prompt is not None:
                label_word_ids(backbone, pipeline.prompt)  # before texts are encoded
            trained = train_classifier(
                backbone,
                len(self.classes_),
                Encoded(self._encoded(backbone, rows), ids),
                Encoded(self._encoded(backbone, held_rows), held_ids),
                pipeline,
                score=accuracy,
                callbacks=callbacks,
            )
        self.history_ = [{name: row[name] for name in HISTORY_COLUMNS} for row in trained.history]
        self._ready(backbone, trained.classifier)
        self.temperature_ = self._temperature(held_rows, held_ids)
        return self

    def calibrate(
        self, texts: Sequence[str] | Sequence[tuple[str, str]] | None = None, labels: Sequence[Any] | None = None
    ) -> "TextClassifier":
        """Fold a temperature T into the head, V/T and b/T: predictions stay, probabilities become calibrated.

        Args:
            texts: Texts that did not train the classifier; None takes the rows that `fit` held out, or was given.
            labels: One a text.

        Returns:
            This estimator, whose `predict_proba`, `decision_function`, `model_` and `save` are scaled from now on.

        Raises:
            InputError: A text or a label is wrong, or one of both is missing.

        Example:
            >>> TextClassifier(method="lp-ft").fit(texts, labels).calibrate().predict_proba(["An unseen text."])
        """
        check_is_fitted(self, "model_")
        if (texts is None) != (labels is None):
            raise InputError("calibrate takes texts and labels, or neither")
        if texts is not None and labels is not None:
            rows, ids = as_rows(texts), self._ids(labels)
            if len(rows) != len(ids):
                raise InputError(f"there are {len(rows)} texts and {len(ids)} labels; give one label a text")
            self.temperature_ = self._temperature(rows, ids)
        log.info("folding temperature %.4g into the head", self.temperature_)
        scale_head(self.model_, 1 / self.temperature_)
        self.temperature_ = 1.0
        return self

    def _temperature(self, rows: list[tuple[str, ...]], ids: np.ndarray) -> float:
        return best_temperature(self.decision_function(rows), ids)

    def _hold_out(self, rows: list[tuple[str, ...]], ids: np.ndarray):
        try:
            return train_test_split(rows, ids, test_size=self.validation_fraction, stratify=ids, random_state=self.seed)
        except ValueError as error:
            raise InputError(f"can't hold out rows for validation: {error}; give more rows, or validation=") from error

    def _ids(self, labels: Sequence[Any]) -> np.ndarray:
        known = {name: number for number, name in enumerate(self.classes_.tolist())}
        wanted = np.asarray(labels).tolist()
        for label in wanted:
            if label not in known:
                raise InputError(f"label {label!r} is not among {self.classes_.tolist()}")
        return np.array([known[label] for label in wanted], np.int64)

    def _restore(self, directory: Path) -> None:
        """Read the weights that belong to the settings at hand."""
        backbone = load_backbone(self.backbone, dropout=self.dropout, dtype=self.dtype)
        check_same_weights(directory, backbone)
        self._ready(backbone, load_weights(directory, self._class_names(), backbone, self._settings().pipeline()))

    def _class_names(self) -> list[str]:
        return [str(name) for name in self.classes_.tolist()]

    def _encoded(self, backbone: TextBackbone, rows: Sequence[tuple[str, ...]]) -> Tokens:
        template = self._settings().prompt
        frame = prompt_frame(backbone, template) if isinstance(template, str) else None
        return encode(backbone, rows, self.max_length, frame)

    def _ready(self, backbone, model) -> None:
        self.model_ = model
        self._backbone = backbone
        self._forward = forward_function(model)

    def decision_function(self, texts: Sequence[str] | Sequence[tuple[str, ...]]) -> np.ndarray:
        """Return the logits, float32 [texts, classes], classes in the order of `classes_`."""
        check_is_fitted(self, "model_")
        return self._forward(self._encoded(self._backbone, as_rows(texts)))[1]

    def predict_proba(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
        """Return the probabilities, float64 [texts, classes], classes in the order of `classes_`."""
        return softmax(self.decision_function(texts).astype(np.float64), axis=1)

    def predict(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
        """Return the labels, as `fit` was given them, [texts]."""
        best = self.decision_function(texts).argmax(axis=1)
        return self.classes_[best]

    def save(self, directory: str | Path) -> None:
        """Write the trained classifier into a directory (JSON and weights, no pickle).

        Args:
            directory: Where to; made where missing.
        """
        check_is_fitted(self, "model_")
        directory = Path(directory)
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        weights = save_weights(directory, self.method, self.model_, self._backbone)
        write_last(
            directory / _FILE,
            {
                # Words by the names of classes: JSON has no other keys.
                "params": {**self.get_params(), "label_words": self._settings().label_words},
                "classes": self.classes_.tolist(),
                "history": self.history_,
                "temperature": self.temperature_,
            },
            [weights],
        )

    @classmethod
    def from_run(cls, directory: str | Path, *, calibrated: bool = True) -> "TextClassifier":
        """Return the classifier that a finished run trained, for texts.

        Args:
            directory: The run's directory.
            calibrated: Fold the temperature that suits the validation rows best into the head.

        Returns:
            The fitted estimator; its classes are the task's label names.

        Raises:
            InputError: The directory holds no finished run, or its weights are damaged.

        Example:
            >>> run = lpft_keras.run("my-task.toml", backbone="minilm")
            >>> TextClassifier.from_run(run.directory).predict_proba(["An unseen text."])
        """
        run = RunResult.load(directory)
        own = cls().get_params()
        with _whole(run.directory / "config.json"):
            classifier = cls(**{name: value for name, value in run.config["settings"].items() if name in own})
            classifier.classes_ = np.array(run.config["labels"])
            classifier.temperature_ = run.summary["temperature"]
            classifier._check()
        classifier.history_ = run.history
        classifier._restore(run.directory)
        return classifier.calibrate() if calibrated else classifier

    @classmethod
    def from_preset(cls, preset: str | Path) -> "TextClassifier":
        """Return the classifier in a preset that `RunResult.to_preset` wrote or `RunResult.upload` uploaded.

        Args:
            preset: The directory, or "hf://user/name" or "hf://user/name@revision".

        Returns:
            The fitted estimator: a linear head (`method="lp"`) on the preset's backbone. Its classes are the task's
            label names; a temperature that was not folded into the head is its `temperature_`.

        Raises:
            InputError: There is no such preset, or it is damaged.

        Example:
            >>> TextClassifier.from_preset("my-preset").predict_proba(["An unseen text."])
        """
        name = str(preset)
        if name.startswith(HF_PREFIX):
            directory = snapshot(*parse_hf(name))
        else:
            directory = Path(name).expanduser()
            name = str(directory)
        about = read_about(directory)
        if about is None:
            raise InputError(f"{name} holds no preset of a classifier (no whole {ABOUT}); give one of to_preset")
        with _whole(directory / ABOUT):
            classifier = cls._of_preset(name, about)
        classifier._restore(directory)
        return classifier

    @classmethod
    def _of_preset(cls, name: str, about: dict[str, Any]) -> "TextClassifier":
        known = about["classifier"]
        params = {parameter: known[parameter] for parameter in ("max_length", "dropout", "dtype", "seed")}
        prompt = {parameter: known.get(parameter) for parameter in ("prompt", "label_words")}
        pooling = None if prompt["prompt"] else about["pooling"]
        classifier = cls("lp", name, pooling=pooling, **params, **prompt)
        classifier.classes_ = np.array(known["classes"])
        classifier.history_ = []
        classifier.temperature_ = 1.0 if known["calibrated"] else known["temperature"]
        classifier._check()
        return classifier

    @classmethod
    def load(cls, directory: str | Path) -> "TextClassifier":
        """Read a classifier that `save` wrote.

        Args:
            directory: Where it is.

        Returns:
            The fitted estimator.

        Raises:
            InputError: The directory holds none, or it is damaged.
        """
        directory = Path(directory)
        state = read_json(directory / _FILE)
        if state is None:
            raise InputError(f"{directory} holds no saved TextClassifier (no whole {_FILE})")
        with _whole(directory / _FILE):
            classifier = cls(**state["params"])
            classifier.classes_ = np.array(state["classes"])
            classifier.history_ = state["history"]
            classifier.temperature_ = state.get("temperature", 1.0)
            classifier._check()
        classifier._restore(directory)
        return classifier
