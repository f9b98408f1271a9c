"""The five methods, as data: the stages of each, how it is named and drawn, and default rates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lpft_keras.errors import unknown_name


@dataclass(frozen=True)
class LinearProbe:
    """Fit the head to the frozen features of the pre-trained backbone."""


@dataclass(frozen=True)
class FineTune:
    """Train head and backbone together; with `lora`, head and low-rank adapters while the backbone stays frozen."""

    lora: bool = False

    def trains(self, path: str) -> bool:
        """Whether the pre-trained variable of that path is trained, where there are no adapters; the head always is."""
        return True


Stage = LinearProbe | FineTune


@dataclass(frozen=True)
class Method:
    """A way to train a classifier.

    Attributes:
        stages: A linear probe, a fine-tuning, or one after the other.
        title: How tables and figures write it.
        about: What it does, for model cards.
        colour: In figures; told apart by readers with any colour vision (Paul Tol's palettes).
    """

    stages: tuple[Stage, ...]
    title: str
    about: str
    colour: str


METHODS: dict[str, Method] = {
    "lp": Method(
        (LinearProbe(),),
        "LP",
        "linear probing: the backbone stays as it was pre-trained, a linear head is fitted to its features",
        "#777777",
    ),
    "ft": Method((FineTune(),), "FT", "fine-tuning: head and backbone are trained together", "#cc6677"),
    "lp-ft": Method(
        (LinearProbe(), FineTune()),
        "LP-FT",
        "linear probing, then fine-tuning of head and backbone together",
        "#4477aa",
    ),
    "lora": Method(
        (FineTune(lora=True),),
        "LoRA",
        "LoRA: low-rank updates of the attention's query and value projections and a head; merged into the weights",
        "#ddaa33",
    ),
    "lp-lora": Method(
        (LinearProbe(), FineTune(lora=True)),
        "LP-LoRA",
        "linear probing, then LoRA (low-rank updates of query and value); merged into the weights",
        "#228833",
    ),
}
"""The methods by name, in the order of tables and figures."""


HEAD_SCALES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
"""What the head is multiplied by in the paper's head-norm experiment (Tomihari and Sato 2024, Figures 3, 10 and 11)."""


EVALUATION_SEEDS = (1001, 2002, 3003, 4004, 5005)
"""The seeds of the paper's evaluation (its released scripts)."""

TUNING_SEEDS = (11, 22, 33)
"""Our seeds for choosing hyper-parameters; the paper has three, too, and does not name them."""


FEW_SHOT_SEEDS = (13, 21, 42, 87, 100)
"""The seeds of the few-shot splits of Malladi et al. 2023 (released code), for runs with `shots`."""


def get_method(name: str) -> tuple[Stage, ...]:
    """Return the stages of a method.

    Args:
        name: A name of `METHODS`.

    Returns:
        Its stages in order.

    Raises:
        InputError: No method has that name.

    Example:
        >>> get_method("lp-ft")
        (LinearProbe(), FineTune(lora=False))
    """
    if not isinstance(name, str) or name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name].stages


def every_method(names: Sequence[str]) -> list[str]:
    """Return names of methods, "all" as every one; each must be known."""
    found = [method for name in names for method in (METHODS if name == "all" else [name])]
    for name in found:
        get_method(name)
    return list(dict.fromkeys(found))


def fine_tuning(method: str) -> FineTune | None:
    """Return the fine-tuning stage of a method, None where it has none; raises as `get_method`."""
    return next((stage for stage in get_method(method) if isinstance(stage, FineTune)), None)


# Batch size and learning rate of Tomihari and Sato 2024, Table 6, tuned there for RoBERTa-base. The released LoRA
# script of MRPC has 1e-5; the table's 5e-4 is taken.
_PAPER_TASKS = ("cb", "rte", "boolq", "wic", "wsc", "cola", "sst2", "mrpc", "amazon", "pubmed")
_PAPER: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "ft": (
        (16, 16, 32, 32, 16, 32, 32, 16, 16, 8),
        (5e-5, 1e-5, 1e-5, 1e-5, 1e-3, 5e-5, 1e-5, 1e-5, 1e-5, 5e-6),
    ),
    "lora": (
        (16, 16, 32, 16, 16, 16, 32, 32, 16, 8),
        (1e-3, 1e-3, 5e-4, 1e-3, 1e-4, 1e-3, 5e-4, 5e-4, 1e-3, 5e-4),
    ),
    "lp-ft": ((8,) * 10, (5e-6, 1e-5, 1e-5, 1e-5, 1e-3, 1e-5, 1e-5, 1e-5, 1e-6, 5e-6)),
    "lp-lora": ((8,) * 10, (1e-4, 5e-4, 5e-4, 1e-3, 1e-4, 1e-3, 1e-3, 1e-3, 5e-4, 1e-3)),
}
# Our own, for small backbones, which want larger steps: chosen on validation rows of CB and RTE, and of the demo.
_SMALL: dict[str, dict[str, tuple[int, float]]] = {
    "minilm": {"ft": (16, 3e-4), "lora": (16, 2e-3), "lp-ft": (16, 1e-4), "lp-lora": (16, 1e-3)},
    "pocket": {"ft": (16, 3e-4), "lora": (16, 5e-3), "lp-ft": (16, 3e-4), "lp-lora": (16, 2e-3)},
}

# Rates of the other optimisers: those that were searched for, on validation rows of the demo and CB with one seed, and
# for all else multiples of Adam's, of the order that these are.
_OTHERS: dict[str, dict[str, dict[str, float]]] = {
    "sgd": {"minilm": {"ft": 1e-1}, "pocket": {"ft": 1e-1, "lora": 1e-1, "lp-ft": 3e-2}},
    "signgd": {"pocket": {"ft": 3e-4, "lp-ft": 1e-4}},
}
_OF_ADAM = {
    "sgd": {"ft": 100.0, "lora": 20.0, "lp-ft": 100.0, "lp-lora": 20.0},
    "signgd": {"ft": 0.3, "lora": 0.3, "lp-ft": 0.3, "lp-lora": 0.3},
}


@dataclass(frozen=True)
class Defaults:
    """Batch size and learning rate where the user gives none, and whose they are."""

    batch_size: int
    learning_rate: float
    origin: str


def default_rates(method: str, task: str, backbone: str, optimizer: str = "adam") -> Defaults | None:
    """Return the default batch size and learning rate of a method's fine-tuning stage.

    Args:
        method: Name of the method.
        task: Name of the task.
        backbone: Name of the backbone.
        optimizer: Name of the optimiser. The batch size is Adam's for all of them; where no rate was searched for, it
            is a multiple of Adam's, 100 times for "sgd" (20 with LoRA), 0.3 times for "signgd", and the origin says so.

    Returns:
        The defaults, those of the method most like it where it has none of its own; None for a method without a
        fine-tuning stage.
    """
    if fine_tuning(method) is None:
        return None
    own = backbone.removeprefix("random:")
    own = "pocket" if own == "tiny" else own
    akin = _akin(method)
    if method not in _SMALL.get(own, _PAPER):
        theirs = default_rates(akin, task, backbone, optimizer)
        assert theirs is not None
        return replace(theirs, origin=f"{theirs.origin}, of {akin}")
    if optimizer != "adam":
        adam = default_rates(method, task, backbone)
        assert adam is not None
        found = _OTHERS[optimizer].get(own, {}).get(method)
        if found is not None:
            return replace(adam, learning_rate=found, origin=f"our own for {own} by {optimizer}")
        factor = _OF_ADAM[optimizer][akin]
        rate = float(f"{factor * adam.learning_rate:.6g}")
        return replace(adam, learning_rate=rate, origin=f"by our rule for {optimizer}, {factor:g} times {adam.origin}")
    if own in _SMALL:
        return Defaults(*_SMALL[own][method], origin=f"our own for {own}")
    known = task.removesuffix("-small")  # a part of a task has the rates of the whole
    # A task the paper does not have gets those of RTE, its most ordinary one.
    column = _PAPER_TASKS.index(known if known in _PAPER_TASKS else "rte")
    batch_sizes, rates = _PAPER[method]
    row = "" if known in _PAPER_TASKS else ", column RTE"
    return Defaults(batch_sizes[column], rates[column], f"the paper's Table 6{row}, tuned for RoBERTa-base")


def _akin(method: str) -> str:
    """Return the method of the paper whose rates suit: where a part of the weights is trained, steps are LoRA's."""
    stages = get_method(method)
    return "lp-" * (LinearProbe() in stages) + ("ft" if FineTune() in stages else "lora")


def unused_settings(method: str) -> list[str]:
    """Return the names of the settings that a method does not use."""
    stages, unused = get_method(method), []
    if LinearProbe() not in stages:
        unused += ["probe_solver"]
    if FineTune(lora=True) not in stages:
        unused += ["lora_rank", "lora_alpha", "lora_style"]
    if fine_tuning(method) is None:
        unused += ["epochs", "batch_size", "learning_rate", "optimizer", "micro_batches", "head_scale"]
    return unused
