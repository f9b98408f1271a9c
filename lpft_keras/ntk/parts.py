"""Names for the parts that a kernel can be split into: which group of variables each belongs to."""

from collections.abc import Callable, Sequence

from lpft_keras.errors import unknown_name

_KINDS = ("layer", "block", "kind")


def grouping(parts: str | Callable[[str], str] | None, paths: Sequence[str]) -> Callable[[str], str]:
    """Return a function that gives the name of the group for a variable's path.

    Args:
        parts: "layer": "embeddings", then each layer by its name. "block": layers with attention in two,
            "<layer>/attention" and "<layer>/feedforward" (each with its normalisation), which is how the paper's code
            cuts. "kind": "embeddings", "attention", "feedforward", "normalization", "biases", and "kernels" of
            whatever else. A function of the path is taken as it is; None puts all into one group, named "".
        paths: The paths of all variables.

    Raises:
        InputError: There is no such splitting.
    """
    if parts is None:
        return lambda path: ""
    if callable(parts):
        return parts
    attentive = {_top(path) for path in paths if "attention" in _inside(path)}

    def layer(path: str) -> str:
        return "embeddings" if "embedding" in _top(path) else _top(path)

    def half(path: str) -> str:
        return "attention" if "attention" in _inside(path) else "feedforward"

    def block(path: str) -> str:
        return f"{layer(path)}/{half(path)}" if _top(path) in attentive else layer(path)

    def kind(path: str) -> str:
        *_, owner, name = ["", *path.split("/")]
        if name.endswith(("gamma", "beta")) or "norm" in owner:
            return "normalization"
        if name.endswith("bias"):
            return "biases"
        if "embedding" in _top(path):
            return "embeddings"
        return half(path) if _top(path) in attentive else "kernels"

    match parts:
        case "layer":
            return layer
        case "block":
            return block
        case "kind":
            return kind
    raise unknown_name("parts", parts, _KINDS)


def _top(path: str) -> str:
    return path.split("/", 1)[0]


def _inside(path: str) -> str:
    return path.partition("/")[2]
