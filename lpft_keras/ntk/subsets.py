"""Subsets of a classifier's variables by name, below the head and of the head: what a kernel is taken over."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras

from lpft_keras.errors import InputError, unknown_name

Choice = str | Callable[[keras.Variable], bool] | Iterable[keras.Variable]
SUBSETS = ("all", "no-embeddings", "no-head", "biases", "lora", "layer:NAME")


@dataclass(frozen=True)
class Subset:
    """Which variables.

    Attributes:
        below: Those below the head, in the model's order.
        kernel: Whether the head's kernel belongs.
        bias: Whether its bias does.
    """

    below: tuple[keras.Variable, ...]
    kernel: bool = True
    bias: bool = True


def chosen_subset(
    model: keras.Model, below: Sequence[keras.Variable], head: keras.layers.Dense, choice: Choice | None
) -> Subset:
    """Find the variables that a kernel is asked for over.

    Args:
        model: The model.
        below: All its variables of real numbers below the head.
        head: The head.
        choice: What `empirical_ntk` takes as `variables`.

    Returns:
        The subset. Functions and variables choose below the head, which is whole beside them.

    Raises:
        InputError: There is no such subset, or nothing below the head is in it.
    """
    whole = bool(head.use_bias)
    trainable = {id(variable) for variable in model.trainable_variables}
    if isinstance(choice, str):
        return _named(choice, [variable for variable in below if id(variable) in trainable], whole)
    if choice is None:
        found = [variable for variable in below if id(variable) in trainable]
        if not found:
            raise InputError(
                "no variable below the head is trainable, so F would be nothing; unfreeze the backbone, or name frozen "
                "variables (variables=model.variables); a model that is a head alone has P alone, <x, x'> + 1"
            )
        return Subset(tuple(found), bias=whole)
    if callable(choice):
        found = [variable for variable in below if choice(variable)]
    else:
        if not isinstance(choice, Iterable):
            raise InputError(
                "variables must be the name of a subset, a function of a variable or a list of variables, "
                f"not {choice!r}"
            )
        wanted = _known(model, list(choice))
        found = [variable for variable in below if id(variable) in wanted]
    if not found:
        raise InputError("variables= chooses none of the variables below the head")
    return Subset(tuple(found), bias=whole)


def _known(model: keras.Model, given: Sequence[keras.Variable]) -> set[int]:
    known = {id(variable) for variable in model.variables}
    for variable in given:
        if id(variable) not in known:
            raise InputError(f"variable {getattr(variable, 'path', variable)!r} is not one of model {model.name!r}")
    return {id(variable) for variable in given}


def _named(name: str, below: Sequence[keras.Variable], bias: bool) -> Subset:
    """Return a subset by its name, of the trainable variables."""

    def those(belongs: Callable[[str], bool], kernel: bool, bias: bool) -> Subset:
        found = tuple(variable for variable in below if belongs(variable.path))
        if not found:
            paths = ", ".join(variable.path for variable in below[:3]) or "none"
            raise InputError(f"subset {name!r} has no trainable variable of this model (there are {paths} ...)")
        return Subset(found, kernel, bias)

    match name:
        case "all":
            return those(lambda path: True, True, bias)
        case "no-embeddings":
            return those(lambda path: "embedding" not in path, True, bias)
        case "no-head":
            return those(lambda path: True, False, False)
        case "biases":
            return those(lambda path: path.rsplit("/", 1)[-1] in ("bias", "beta"), False, bias)
        case "lora":
            return those(lambda path: "lora" in path, True, bias)
    if not name.startswith("layer:"):
        raise unknown_name("subset of variables", name, SUBSETS)
    layer = name.removeprefix("layer:")
    names = sorted({part for variable in below for part in variable.path.split("/")[:-1]})
    if layer not in names:
        raise unknown_name("layer", layer, names)
    return those(lambda path: layer in path.split("/")[:-1], False, False)
