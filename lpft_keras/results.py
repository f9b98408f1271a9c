"""What a run leaves behind: its directory, written whole, and the `RunResult` that reads it."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lpft_keras.checksums import is_intact
from lpft_keras.errors import InputError
from lpft_keras.settings import completed
from lpft_keras.storage import has_form, read_arrays, read_json, write_csv

if TYPE_CHECKING:
    import keras

HISTORY_COLUMNS = (
    "stage",
    "step",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "head_norm",
    "bias_norm",
    "logit_norm",
)

_NUMBER = (int, float, type(None))  # what is no number is null in JSON
_SUMMARY = {
    "task": str,
    "method": str,
    "backbone": str,
    "seed": int,
    "metrics": {"*": {"*": _NUMBER}},
    "head_norm": _NUMBER,
    "temperature": _NUMBER,
    "seconds": (int, float),
    "zero_shot?": {"*": {"*": _NUMBER}},
}
_CONFIG = {
    "settings": {"task": str, "method": str, "backbone": str, "seed": int},
    "labels?": [str],
    "metric?": str,
    "backend?": str,
    "data?": {"*": (str, type(None))},
}
_ENVIRONMENT = {
    "versions": {"*": str},
    "backend": str,
    "devices": [str],
    "platform": str,
    "data?": {"*": (str, type(None))},
    "backbone": {"*": (str, type(None))},
}
_ERROR = {"row": int, "texts": [str], "characters": [int], "label": str, "predicted": str, "probability": float}
_ROWS = {
    "splits": {"*": {"rows": int, "labels": {"*": int}, "truncated": int}},
    "leaks": [{"split": str, "other": str, "rows": int}],
    "errors": {"*": [_ERROR]},
}


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        directory: The run directory; everything else is read from there.
        summary: What `metrics.json` holds and `--json` prints: task, method, backbone, seed, metrics, temperature,
            head_norm, seconds, directory; with a prompt also `zero_shot`, the metrics before any training.

    Example:
        >>> result = lpft_keras.run("demo", method="lp-ft")
        >>> result.metrics["ood"]["accuracy"]
    """

    directory: Path
    summary: dict[str, Any]

    @classmethod
    def load(cls, directory: str | Path) -> "RunResult":
        """Read a finished run.

        Args:
            directory: A run directory.

        Returns:
            The result.

        Raises:
            InputError: The directory holds no finished run, or its `metrics.json` is damaged.
        """
        path = Path(directory) / "metrics.json"
        summary = read_json(path)
        if summary is None and path.is_file():
            raise InputError(f"{path} is damaged; run it again with --overwrite")
        if not has_form(summary, _SUMMARY):
            raise InputError(f"{directory} holds no finished run (no whole metrics.json of this version); run it again")
        return cls(Path(directory), summary)

    def __post_init__(self):
        """Let the summary name the directory as it is named here, wherever it was when the run was made."""
        object.__setattr__(self, "summary", {**self.summary, "directory": str(self.directory)})

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics by split ("validation", "test", and each shifted test) and name."""
        return self.summary["metrics"]

    @property
    def config(self) -> dict[str, Any]:
        """The settings the run was made with."""
        return completed(self._json("config.json", _CONFIG))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, backend, devices, and checksums of data and backbone that the run was made with."""
        return self._json("environment.json", _ENVIRONMENT)

    @property
    def rows(self) -> dict[str, Any]:
        """`splits` (rows, of each class, truncated), `leaks` between them, and the surest `errors` by split."""
        return self._json("rows.json", _ROWS)

    @property
    def predictions(self) -> dict[str, dict[str, np.ndarray]]:
        """`logits` (float32 [rows, classes]) and `labels` (int64 [rows]) by split."""
        found = self._by_split("predictions.npz")
        for split, rows in found.items():
            logits, labels = (self._needed(rows.get(part), "predictions.npz") for part in ("logits", "labels"))
            whole = logits.ndim == 2 and logits.dtype.kind == "f" and labels.dtype.kind in "iu"
            fits = whole and labels.shape == logits.shape[:1] and len(labels) > 0
            if not fits or labels.min() < 0 or labels.max() >= logits.shape[1]:
                self._needed(None, f"predictions.npz ({split})")
        return found

    @property
    def features(self) -> dict[str, np.ndarray]:
        """Features of the trained model (float32 [rows, d]) by split."""
        return self._features("features")

    @property
    def pretrained_features(self) -> dict[str, np.ndarray]:
        """Features of the same rows by the pre-trained backbone (float32 [rows, d]) by split."""
        return self._features("pretrained")

    def _features(self, part: str) -> dict[str, np.ndarray]:
        found = self._by_split("features.npz")
        named = {split: parts.get(part) for split, parts in found.items()}
        for split, features in named.items():
            if features is None or features.ndim != 2 or features.dtype.kind != "f" or not len(features):
                self._needed(None, f"features.npz ({split}, {part})")
        return {split: features for split, features in named.items() if features is not None}

    @property
    def start_head_norm(self) -> float:
        """Norm of the head at the start of fine-tuning, NaN for a method without that stage."""
        norms = [row["head_norm"] for row in self.history if row["stage"] == "fine_tune" and row["step"] == 0]
        return norms[0] if norms else float("nan")

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an iteration of the linear probe, then one an epoch of fine-tuning (step 0 is the start)."""
        path = self.directory / "history.csv"
        self._needed(is_intact(path) or None, path.name)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._needed(set(HISTORY_COLUMNS) == set(reader.fieldnames or ()) or None, path.name)
                return [
                    {
                        name: value if name == "stage" else int(value) if name == "step" else float(value or "nan")
                        for name, value in row.items()
                    }
                    for row in reader
                ]
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise self._damaged(path.name) from error

    def model(self, *, calibrated: bool = False) -> "keras.Model":
        """Rebuild the trained classifier.

        Args:
            calibrated: Fold the temperature T that suits the validation rows best into the head, V/T and b/T.
                Predictions stay; the softmax of the logits is that of temperature scaling. Adapters are merged into the
                weights, so that `model.save("classifier.keras")` writes one file that is all of it.

        Returns:
            A Keras model from token arrays (as `models.encoding.encode` and `training.batches.model_inputs` make them)
            to logits, float32 [rows, classes].

        Raises:
            InputError: The run's weights are missing or damaged.

        Example:
            >>> result.model(calibrated=True).save("classifier.keras")  # import lpft_keras.models before you load it
        """
        from lpft_keras.weights import load_run_model

        return load_run_model(self.directory, self.config, self.summary["temperature"] if calibrated else None)

    def to_preset(self, directory: str | Path, *, calibrated: bool = True, license: str | None = None) -> Path:
        """Write the trained classifier for others: a preset, the whole classifier, and a model card.

        `keras_hub.models.Backbone.from_preset(directory)` and KerasHub's tokenizers and preprocessors load it without
        this package; `TextClassifier.from_preset(directory)` predicts by it; `run(backbone=directory)` goes on from it.
        `classifier.keras` is all of the classifier in one file, for Keras once `lpft_keras.models` is imported.
        Adapters are merged. `README.md` is the model card, and says where KerasHub alone differs from us, as measured.

        Args:
            directory: A new or empty directory; one that was written so before is replaced. Whole or not there.
            calibrated: Fold the temperature that suits the validation rows best into the head, as in `model`.
            license: Licence for the model card, such as "apache-2.0"; the backbone's own may bind you.

        Returns:
            The directory.

        Raises:
            InputError: The directory holds something else, or the run's weights are missing or damaged.

        Example:
            >>> result.to_preset("my-preset", license="apache-2.0")
        """
        from lpft_keras.sharing import write_preset

        return write_preset(self, directory, calibrated=calibrated, license=license)

    def upload(
        self,
        uri: str,
        directory: str | Path | None = None,
        *,
        calibrated: bool = True,
        license: str | None = None,
        private: bool = False,
    ) -> None:
        """Upload what `to_preset` writes to Kaggle or Hugging Face.

        Args:
            uri: "hf://user/name" or "kaggle://user/model/keras/variation"; you must be logged in there.
            directory: Where to keep what is uploaded; None keeps nothing.
            calibrated: As for `to_preset`, like `license`.
            license: Licence for the model card.
            private: Whether Hugging Face makes a new repository a private one. Kaggle's are until you publish them.

        Raises:
            InputError: The URI is wrong or nobody is logged in there: before any work; or the upload failed.

        Example:
            >>> result.upload("hf://user/name", license="apache-2.0", private=True)
        """
        from lpft_keras.sharing import upload

        upload(self, uri, directory, calibrated=calibrated, license=license, private=private)

    def _by_split(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        arrays = self._needed(read_arrays(self.directory / name), name)
        splits: dict[str, dict[str, np.ndarray]] = {}
        for key, array in arrays.items():
            split, _, part = key.rpartition("/")
            splits.setdefault(split, {})[part] = array
        return splits

    def _json(self, name: str, form: Any) -> dict[str, Any]:
        value = read_json(self.directory / name)
        return self._needed(value if has_form(value, form) else None, name)

    def _needed(self, value: Any, name: str) -> Any:
        if value is None:
            raise self._damaged(name)
        return value

    def _damaged(self, name: str) -> InputError:
        return InputError(f"{self.directory / name} is missing or damaged; run it again with --overwrite")


def write_history(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a history as CSV, atomically; what has no value stays empty."""
    write_csv(path, HISTORY_COLUMNS, rows)
