"""Products of gradients as a GPU takes them, here by the same operations on a CPU."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.ntk import gram, on_gpu
from lpft_keras.ntk.problem import pose
from tests.ntk import cases
from tests.ntk.cases import difference

pytestmark = [
    pytest.mark.timeout(1500),  # JAX compiles each model's segments
    pytest.mark.skipif(
        keras.backend.backend() == "tensorflow", reason="on TensorFlow, gradients are multiplied on the host"
    ),
]


@pytest.mark.parametrize("buffer", [1 << 28, 2000])
@pytest.mark.parametrize("piece", [1 << 13, 20])
def test_products_of_tensors_are_the_inner_products_of_the_gradients(rng, monkeypatch, buffer, piece):
    monkeypatch.setattr(on_gpu, "_BUFFER", buffer)
    monkeypatch.setattr(on_gpu, "_PIECE", piece)
    parts = [
        (rng.normal(size=(n, tokens, 12)).astype("float32"), rng.normal(size=(n, 3, tokens, 10)).astype("float32"))
        for n, tokens in ((3, 5), (2, 5), (2, 7))
    ]
    inputs, deltas = ([ops.convert_to_tensor(array) for array in arrays] for arrays in zip(*parts, strict=True))
    found = on_gpu.product_gram(inputs, deltas, columns=4)
    gradients = np.concatenate([np.einsum("ntd,ncte->ncde", *(a.astype("float64") for a in part)) for part in parts])
    expected = np.einsum("ncde,mkde->ncmk", gradients, gradients[:4])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.fixture(params=["perceptron", "convolutional", "roberta", "bert"])
def case(request, monkeypatch):
    """A model whose gradients stay tensors."""
    case = cases.make(request.param)
    monkeypatch.setattr(pose(case.model, [case.x], None).jacobian, "keeps", True)
    return case


@pytest.fixture
def taken(monkeypatch):
    """A list that fills with the products that are taken of tensors."""
    found = []

    def noted(*arguments):
        found.append(on_gpu.product_gram(*arguments))
        return found[-1]

    monkeypatch.setattr(gram, "product_gram", noted)
    return found


def test_kernels_of_gradients_that_stay_are_those_of_the_float64_jacobian(case, taken):
    part = {k: v[:3] for k, v in case.x.items()} if isinstance(case.x, dict) else case.x[:3]
    inside, across = ntk.train_test_ntk(case.model, case.x, part)
    assert difference(inside.finetune, case.finetune) < 1e-6
    assert difference(across.finetune, case.finetune[:3]) < 1e-6
    if isinstance(case.x, dict):  # a vector a row is multiplied without forming its gradient
        assert taken


def test_signs_rounded_factors_and_projections_are_of_numpy_all_the_same(case, taken, monkeypatch):
    def found():
        return [
            ntk.empirical_ntk(case.model, case.x, kind="signgd").finetune,
            ntk.empirical_ntk(case.model, case.x, kind="asymmetric-signgd").finetune,
            ntk.empirical_ntk(case.model, case.x, dtype="bfloat16").finetune,
            ntk.projected_ntk(case.model, case.x, 64, 0).kernel().finetune,
        ]

    ours = found()
    monkeypatch.undo()
    for kept, fetched in zip(ours, found(), strict=True):
        np.testing.assert_array_equal(kept, fetched)
    assert not taken
