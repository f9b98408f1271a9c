"""A look at a model on two examples, before any work: what its shapes alone do not tell, and whether it is random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.calls import Slot, run
from lpft_keras.ntk.graph import Network
from lpft_keras.ntk.segments import value_of, variables_as, variables_of
from lpft_keras.ntk.taps import Record, find_taps, tapped

# What float32 may make of one function, computed in two ways.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Probe:
    """What was seen.

    Attributes:
        sizes: How many numbers each slot holds for one example.
        heard: Of each tapped layer, how many numbers go in and come out for one example, over all its calls.
        untapped: Layers to which taps don't apply: some call's first axis does not count examples.
        features: Of the two examples, [2, h].
        trims: Whether columns beyond an example's length change nothing.
    """

    sizes: dict[Slot, int]
    heard: dict[keras.layers.Layer, tuple[int, int]]
    untapped: frozenset[keras.layers.Layer]
    features: np.ndarray
    trims: bool


def probe(
    network: Network,
    inputs: Sequence[np.ndarray],
    chosen: Sequence[keras.Variable],
    dtype: str,
    lengths: np.ndarray | None,
) -> Probe:
    """Run a model on one example and on two, and mark its slots by what their first axes do.

    Args:
        network: The model taken apart. Its slots are marked.
        inputs: One array an input.
        chosen: The variables whose kernel is asked for.
        dtype: What is computed in.
        lengths: How many columns each example uses, where there is a padding mask.

    Raises:
        InputError: The model fails or is random, or its features are not one row an example.
    """
    last = len(inputs[0]) - 1
    pair = [0, last if lengths is None else int(lengths.argmin())]
    try:
        one, heard = _run(network, [array[pair[:1]] for array in inputs], chosen, dtype, 0)
        two, heard_twice = _run(network, [array[pair] for array in inputs], chosen, dtype, 1)
    except InputError:
        raise
    except Exception as error:  # whatever the model's own code says of wrong input
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise InputError(f"the model fails on the first example: {' '.join(lines[:2])[:200]}") from error
    for slot in one:
        sizes = [len(value) if np.ndim(value) else 0 for value in (one[slot], two[slot])]
        slot.batched = sizes == [1, 2]
        slot.mixed = sizes[0] != sizes[1] and not slot.batched
    untapped = set()
    if len(heard) != len(heard_twice):
        untapped = {record.tap.layer for record in [*heard, *heard_twice]}
    for first, second in zip(heard, heard_twice, strict=False):
        sides = [(first.seen, second.seen), (first.output, second.output)]
        if not all(a is not None and np.ndim(a) and (len(a), len(b)) == (1, 2) for a, b in sides):
            untapped.add(first.tap.layer)
    features = [_host(values[network.features]) for values in (one, two)]
    if features[0].ndim != 2:
        raise InputError(f"the head reads features of shape {features[0].shape[1:]} an example; one axis is wanted")
    if not _alike(features[0], features[1][:1]):
        raise InputError("the model differs between two calls on the same example, though dropout is off")
    trims = lengths is not None
    width = 0 if lengths is None else int(lengths[pair[1]])
    if lengths is not None and width < lengths.max():
        cut = [
            array[pair[1:], :width] if wide else array[pair[1:]]
            for array, wide in zip(inputs, trimmed(network, inputs), strict=True)
        ]
        short, _ = _run(network, cut, chosen, dtype, 0)
        trims = _alike(_host(short[network.features]), features[1][1:])
    sizes_of = {slot: int(np.prod(np.shape(value))) for slot, value in one.items()}
    volumes: dict[keras.layers.Layer, tuple[int, int]] = {}
    for record in heard:
        into, out = volumes.get(record.tap.layer, (0, 0))
        seen = 0 if record.seen is None else int(np.prod(record.seen.shape))
        volumes[record.tap.layer] = (into + seen, out + int(np.prod(record.output.shape)))
    return Probe(sizes_of, volumes, frozenset(untapped), features[1], trims)


def trimmed(network: Network, inputs: Sequence[np.ndarray]) -> list[bool]:
    """Return for each input whether columns of padding can be cut off it: as wide as the mask, but not bound to be."""
    width = inputs[network.names.index("padding_mask")].shape[1]
    return [
        open_ and array.ndim == 2 and array.shape[1] == width for open_, array in zip(network.open, inputs, strict=True)
    ]


def _run(network: Network, arrays, chosen, dtype: str, shift: int) -> tuple[dict[Slot, Any], list[Record]]:
    """Return the value of each slot and what taps heard, with states of random numbers so far on."""
    values = {slot: ops.convert_to_tensor(array) for slot, array in zip(network.inputs, arrays, strict=True)}
    pairs = []
    for variable in variables_of(network.calls):
        value = value_of(variable, dtype)
        pairs.append((variable, value + shift if variable.name == "seed_generator_state" else value))
    layers = [layer for call in network.calls for layer in call.layers]
    with variables_as(pairs), tapped(find_taps(layers, chosen)) as records:
        run(network.calls, values)
    return values, records


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    scale = max(float(np.abs(np.nan_to_num(first)).max()), 1e-30)
    return bool(np.allclose(first, second, rtol=0, atol=_TOLERANCE * scale, equal_nan=True))


def _host(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")
