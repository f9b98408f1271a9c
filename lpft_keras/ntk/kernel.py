"""The empirical neural tangent kernel of a classifier, exact, split into P and F, without ever holding a Jacobian.

And its like for other optimisers (Malladi et al. 2023): kernels of the signs of gradients.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from lpft_keras.ntk.computation import NTK, Options, compute
from lpft_keras.ntk.subsets import Choice


def empirical_ntk(
    model: keras.Model,
    x1: Any,
    x2: Any = None,
    *,
    kind: str = "sgd",
    variables: Choice | None = None,
    single_logit: bool = False,
    parts: str | Callable[[str], str] | None = None,
    dtype: str = "float32",
    max_memory: float = 8e9,
    directory: str | Path | None = None,
    workers: int | Sequence[str] = 1,
    show_progress: bool | None = None,
) -> NTK:
    """Compute the empirical neural tangent kernel of a classifier, exactly.

    Dropout and other randomness are off; normalisation statistics are those of inference. Where the model takes an
    input "padding_mask" and heeds it, columns of padding are left out. Before the work, v^T F v is compared with the
    squared norm of the model's gradient of v . f on two examples.

    Args:
        model: A Keras model that ends in a Dense head; a softmax on it is taken off.
        x1: N1 examples, as the model takes them: an array, or a dict or list of arrays.
        x2: N2 examples; None takes `x1`, and computes half.
        kind: Which kernel (Malladi et al. 2023, Definitions 3.4, 4.2, 4.4): "sgd" is the neural tangent kernel
            <g(x), g(x')>, with g the gradient of a logit by the variables; "signgd" <sign g(x), sign g(x')>, for early
            steps of Adam; "asymmetric-signgd" <g(x), sign g(x')>, x' an example of `x2`, the training examples;
            "asymmetric-signgd-flipped" <sign g(x), g(x')>. Zero has the sign 0, and so has a sum over tokens that
            rounding alone keeps from being zero, as a key's bias has.
        variables: What the kernel is taken over. "all" trainable variables (also None), "no-embeddings", "no-head" (P
            is 0), "biases" (those of LayerNormalization too, and the head's), "lora" (adapters, of either style, and
            the head), "layer:NAME" (P is 0); or variables, or a function that says of a variable whether it belongs:
            these two choose below the head, and P is whole.
        single_logit: Of two classes, take the kernel of f_1 - f_0, C = 1, in place of that of both logits.
        parts: What F is split into besides: "layer" (embeddings, and each layer by its name), "block" (layers with
            attention once more, into "<layer>/attention" and "<layer>/feedforward"), "kind" (embeddings, attention,
            feedforward, normalization, biases; kernels of whatever else), or a function from a variable's path to the
            name of its group; None splits nothing.
        dtype: What is computed in, whatever the model's own policy. "float32": products are added in float64.
            "float64": TensorFlow only, since Keras does not keep to it on the others; some three times as slow.
            "tensorfloat32" and "bfloat16" round gradients to 10 and 7 bits of mantissa before they are multiplied, as a
            GPU's matrix units do; on a CPU that shows their error and saves no time.
        max_memory: Bytes that may be held for the examples of a tile. A tile holds for each example what every segment
            reads (4 T d a layer of a Transformer) and, of one segment, what goes into its layers and C times what comes
            back (4 T (9 d + 9 C d) for a layer with a feed-forward part of 4 d). Where not all fit, the kernel is
            computed in tiles, and examples are differentiated once for each tile they are in. Beside it: the model,
            some 0.5 GB of buffers, and the kernel itself, 8 N1 N2 C^2. Each worker takes as much. On a GPU, PyTorch and
            JAX hold the one segment's part there, with some 3 GB of buffers.
        directory: Where finished pieces are kept, so that a killed computation goes on, and several processes share
            one; None keeps nothing.
        workers: Processes that share the work, or the device of each, as Keras names it: `["gpu:0", "gpu:1"]`.
        show_progress: Whether to show a progress bar; None decides by the terminal.

    Returns:
        The kernel, [N1, C, N2, C].

    Raises:
        InputError: The model has no Dense head, is random, gives NaN, or does what can't be followed; a variable is
            unknown; `x1` is empty or does not fit the model; memory or disk are too small; `directory` holds another
            kernel; workers can't be sent the model. A kernel larger than this machine's memory is refused with its
            size; see `projected_ntk`.

    Example:
        >>> ntk = empirical_ntk(model, images)
        >>> ntk.total.shape
        (32, 10, 32, 10)
    """
    options = Options(variables, kind, single_logit, parts, dtype, max_memory, directory, workers, show_progress)
    if x2 is None:
        return compute(model, [x1], True, options)[0]
    return compute(model, [x2, x1], False, options)[1]


def train_test_ntk(
    model: keras.Model,
    train: Any,
    test: Any,
    *,
    kind: str = "sgd",
    variables: Choice | None = None,
    single_logit: bool = False,
    parts: str | Callable[[str], str] | None = None,
    dtype: str = "float32",
    max_memory: float = 8e9,
    directory: str | Path | None = None,
    workers: int | Sequence[str] = 1,
    show_progress: bool | None = None,
) -> tuple[NTK, NTK]:
    """Compute the kernels of training rows with themselves and of test rows with training rows in one pass.

    Args:
        model: As for `empirical_ntk`, like the other arguments.
        train: N1 examples.
        test: N2 examples.
        kind: Which kernel; asymmetric ones have the signs of `train` in their columns.
        variables: What the kernel is taken over.
        single_logit: Whether to take that of f_1 - f_0.
        parts: What F is split into besides.
        dtype: What is computed in.
        max_memory: Bytes that may be held for the examples of a tile.
        directory: Where finished pieces are kept.
        workers: Processes that share the work, or their devices.
        show_progress: Whether to show a progress bar.

    Returns:
        The kernels, [N1, C, N1, C] and [N2, C, N1, C].

    Raises:
        InputError: As `empirical_ntk`.
    """
    options = Options(variables, kind, single_logit, parts, dtype, max_memory, directory, workers, show_progress)
    inside, across = compute(model, [train, test], True, options)
    return inside, across
