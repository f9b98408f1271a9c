"""The model card of a preset: Markdown with the front matter that Hugging Face reads, from what a run left on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from lpft_keras import __version__
from lpft_keras.evaluation import METRIC_NAMES, evaluate
from lpft_keras.markdown import escaped_markdown, one_line
from lpft_keras.methods import METHODS, FineTune, LinearProbe
from lpft_keras.settings import RunSettings
from lpft_keras.sharing.loading import loading_section
from lpft_keras.storage import read_json

if TYPE_CHECKING:
    from lpft_keras.results import RunResult

_OPTIMIZERS = {"adam": "Adam", "sgd": "SGD without momentum", "signgd": "SGD on the signs of the gradient"}
_FEW = 1000  # test rows, below which an accuracy is uncertain by some three points or more


def model_card(result: "RunResult", about: dict[str, Any], license: str | None, place: str) -> str:
    """Return the model card of a run's preset.

    Args:
        result: The run.
        about: What `lpft_keras.json` will hold.
        license: As the front matter takes it.
        place: What the examples load: a URI or a directory's name.

    Returns:
        Markdown.
    """
    known = read_json(result.directory / "environment.json") or {}
    rows = read_json(result.directory / "rows.json") or {"splits": {}, "leaks": []}
    settings = RunSettings(**result.config["settings"])
    backbone = shown_backbone(settings.backbone)
    title = f"{settings.task}, {settings.method} on {backbone}"
    parts = [
        f"---\n{_front_matter(result, about, settings, license)}\n---\n",
        f"# {escaped_markdown(title)}\n",
        f"A text classifier with {len(result.config['labels'])} classes, trained with "
        f"[KerasHub](https://keras.io/keras_hub/) and lpft-keras {__version__}. Its backbone is a KerasHub preset; "
        "`classifier.keras` is the whole of it, head and temperature included"
        + (".\n" if about["classifier"]["calibrated"] else " (the temperature is not folded in).\n"),
        loading_section(about, place),
        _data(result, rows["splits"]),
        _method(result, settings, backbone, known),
        _metrics(result),
        _calibration(result, about["classifier"]["calibrated"]),
        _limits(result, settings, rows),
    ]
    return "\n".join(parts)


def shown_backbone(name: str) -> str:
    """Return a backbone's name without the folders of the machine that it lay on."""
    plain = name.removeprefix("random:")
    local = Path(plain).is_absolute() or plain.startswith((".", "~"))
    return name.removesuffix(plain) + Path(plain).name if local else name


def _front_matter(result: "RunResult", about: dict[str, Any], settings: RunSettings, license: str | None) -> str:
    """Return the YAML; its numbers are those of the classifier as it is written, scaled or not."""
    from huggingface_hub import EvalResult, ModelCardData

    backbone, predictions = shown_backbone(settings.backbone), result.predictions
    temperature = result.summary["temperature"] if about["classifier"]["calibrated"] else 1.0
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=settings.task,
            dataset_name=f"{settings.task} ({split})",
            dataset_split=split,
            metric_type=name,
            metric_name=METRIC_NAMES[name],
            metric_value=round(values[name], 6),
        )
        for split in _measured(result)
        for values in [evaluate(predictions[split]["logits"] / temperature, predictions[split]["labels"])]
        for name in ("accuracy", "macro_f1", "matthews_correlation", "nll", "brier", "ece")
    ]
    base = backbone.removeprefix("hf://").partition("@")[0] if backbone.startswith("hf://") else None
    return ModelCardData(
        library_name="keras-hub",
        pipeline_tag="text-classification",
        license=license,
        base_model=base,
        tags=["keras", "lpft-keras", "text-classification", settings.method],
        metrics=sorted({"accuracy", result.config["metric"]}),
        model_name=f"{settings.task}, {settings.method} on {backbone}",
        eval_results=results,
    ).to_yaml()


def _measured(result: "RunResult") -> dict[str, dict[str, float]]:
    """Return the metrics of test and shifted rows; of the validation rows where there are no others."""
    others = {split: values for split, values in result.metrics.items() if split != "validation"}
    return others or result.metrics


def _table(heads: list[str], rows: list[list[str]], names: int = 1) -> str:
    rule = [":--"] * names + ["--:"] * (len(heads) - names)
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows]) + "\n"


def _data(result: "RunResult", rows: dict[str, Any]) -> str:
    config, predictions = result.config, result.predictions
    lines = ["## Data\n", f"Task: {escaped_markdown(config['settings']['task'])}.\n"]
    table = []
    for split, checksum in config["data"].items():
        count = rows.get(split, {}).get("rows")
        if count is None and split in predictions:
            count = len(predictions[split]["labels"])
        cut = rows.get(split, {}).get("truncated")
        shown = ["unknown" if number is None else str(number) for number in (count, cut)]
        table.append([escaped_markdown(split), *shown, f"`{checksum}`"])
    length = config["settings"]["max_length"]
    lines.append(_table(["rows of", "how many", f"of them cut to {length} tokens", "checksum"], table))
    limit = config["settings"]["limit"]
    if limit is not None:
        lines.append(f"Only the first {limit} rows of each file were used.\n")
    split = "test" if "test" in predictions else "validation"
    labels, guesses = predictions[split]["labels"], predictions[split]["logits"].argmax(axis=1)
    classes = [
        [escaped_markdown(name), str(int((labels == i).sum())), _share(guesses[labels == i] == i)]
        for i, name in enumerate(config["labels"])
    ]
    lines.append(f"Classes, in the order of the logits, with their rows in {split}, and how many of these are found:\n")
    lines.append(_table(["class", "rows", "found"], classes))
    return "\n".join(lines)


def _share(right: np.ndarray) -> str:
    return f"{right.mean():.3f}" if len(right) else ""


def _method(result: "RunResult", settings: RunSettings, backbone: str, known: dict[str, Any]) -> str:
    source = known.get("backbone", {})
    lines = ["## Method\n", f"- {settings.method}: {METHODS[settings.method].about}.", f"- Backbone: {_code(backbone)}"]
    for name in ("revision", "sha256"):
        if source.get(name):
            lines[-1] += f", {name} {_code(source[name])}"
    lines[-1] += "."
    stages = METHODS[settings.method].stages
    prompt = settings.pipeline().for_classes(result.config["labels"]).prompt
    if prompt is not None:
        words = ", ".join(map(_code, prompt.words))
        lines.append(
            f"- Prompt: {_code(prompt.template)}; the features are the masked-LM head's at the mask, and the head "
            f"started as the rows of the label words {words}, in the order of the classes."
        )
    if settings.shots is not None:
        lines.append(
            f"- Few-shot: {settings.shots} training rows a class and as many for validation, drawn by the seed."
        )
    if LinearProbe() in stages:
        lines.append(f"- Linear probe: cross-validated logistic regression, solver {_code(settings.probe_solver)}.")
    fine_tune = settings.pipeline().fine_tune
    if fine_tune is not None:
        epochs = [row for row in result.history if row["stage"] == "fine_tune" and row["step"]]
        signs = fine_tune.optimizer == "signgd"
        clipped = "" if signs else f", gradients clipped at norm {fine_tune.clip_norm:g}"
        lines.append(
            f"- Fine-tuning: {_OPTIMIZERS[fine_tune.optimizer]}, epochs {len(epochs)}, batch size "
            f"{fine_tune.batch_size}, learning rate {fine_tune.learning_rate:g} falling linearly to zero{clipped}; "
            f"the epoch best in {METRIC_NAMES[result.config['metric']]} on the validation rows was kept."
        )
    if FineTune(lora=True) in stages:
        lora = settings.pipeline().lora
        lines.append(f"- Adapters: rank {lora.rank}, alpha {lora.alpha:g}, style {lora.style}.")
    versions = known.get("versions", {})
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines.append(f"- Seed {settings.seed}; {settings.dtype}; {result.config['backend']}, {software}.\n")
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{one_line(text).replace('`', chr(39))}`"


def _metrics(result: "RunResult") -> str:
    columns = ["accuracy", "macro_f1", "matthews_correlation", "nll", "brier", "ece"]
    metric = result.config["metric"]
    if metric not in columns:
        columns.insert(0, metric)
    rows, predictions = [], result.predictions
    for split, values in result.metrics.items():
        labels, guesses = predictions[split]["labels"], predictions[split]["logits"].argmax(axis=1)
        interval = binomtest(int((guesses == labels).sum()), len(labels)).proportion_ci(method="wilson")
        shown = [f"{values[name]:.3f}" for name in columns]
        rows.append([escaped_markdown(split), *shown, f"{interval.low:.3f} to {interval.high:.3f}"])
    heads = [METRIC_NAMES[name] for name in columns]
    return (
        "## Metrics\n\n"
        "`test` is of the kind of the training rows, further names are shifted test sets, and `validation` chose the "
        "best epoch, so that it flatters. NLL in nats, Brier score summed over the classes, ECE of 15 bins; "
        "all before the temperature.\n\n"
        + _table(["rows of", *heads, "accuracy, 95 % interval (Wilson)"], rows)
        + f"\nThe norm of the head is {result.summary['head_norm']:.4g}.\n"
    )


def _calibration(result: "RunResult", calibrated: bool) -> str:
    temperature = result.summary["temperature"]
    rows = []
    for split in _measured(result):
        part = result.predictions[split]
        before, after = evaluate(part["logits"], part["labels"]), evaluate(part["logits"] / temperature, part["labels"])
        both = [f"{values[name]:.3f}" for name in ("ece", "mce", "nll", "brier") for values in (before, after)]
        rows.append([escaped_markdown(split), *both])
    heads = [f"{name}, {when}" for name in ("ECE", "MCE", "NLL", "Brier") for when in ("before", "after")]
    folded = "It is folded into the head" if calibrated else "It is not folded into the head: divide the logits by it"
    return (
        "## Calibration\n\n"
        f"Temperature {temperature:.4g}, fitted on the validation rows (Guo et al. 2017). {folded}.\n\n"
        + _table(["rows of", *heads], rows)
    )


def _limits(result: "RunResult", settings: RunSettings, rows: dict[str, Any]) -> str:
    predictions = result.predictions
    lines = [
        "## Limits\n",
        f"- One seed ({settings.seed}). Other seeds give other numbers, on small data by several points; nothing here "
        "says that this method is better than another.",
    ]
    for split in _measured(result):
        labels, guesses = predictions[split]["labels"], predictions[split]["logits"].argmax(axis=1)
        name = escaped_markdown(split)
        commonest = np.bincount(labels).max() / len(labels)
        if len(labels) < _FEW:
            lines.append(f"- {name} has {len(labels)} rows: one row is {100 / len(labels):.2g} points of accuracy.")
        if (guesses == labels).mean() <= commonest:
            lines.append(
                f"- On {name} it is right on no more rows than who always gives the commonest class ({commonest:.3f})."
            )
        if len(np.unique(guesses)) == 1:
            lines.append(f"- It collapsed: it gives all rows of {name} the same class, and is of no use.")
    if "test" not in predictions:
        lines.append("- There were no test rows: the numbers are of validation rows, which also chose the epoch.")
    for leak in rows["leaks"]:
        lines.append(
            f"- {leak['rows']} of the {escaped_markdown(leak['split'])} rows stand among the "
            f"{escaped_markdown(leak['other'])} rows too, which flatters the numbers."
        )
    cut = sum(one["truncated"] for one in rows["splits"].values())
    lines.append(
        f"- Texts longer than {settings.max_length} tokens are cut at the end"
        + (f" ({cut} rows of its own data were)." if rows["splits"] else ".")
    )
    lines += [
        "- A temperature from few validation rows is uncertain, and fits data of their kind: shifted data may need "
        "another.",
        "- It knows the classes above and gives one of them to any text, in whatever language and on whatever subject.",
        "- The backbone has a licence of its own, which binds those who pass this on, and biases that training on a "
        "task leaves in place.\n",
    ]
    return "\n".join(lines)
