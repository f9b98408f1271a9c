import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.models.classifier import build_classifier
from lpft_keras.training.batches import (
    EvaluationBatches,
    TrainingBatches,
    check_cut,
    default_micro_batches,
    micro_batched,
    uses_xla,
)
from lpft_keras.training.forward import forward_function
from tests.helpers import MAX_LENGTH, small_backbone, small_classifier, small_data, small_tokens


@pytest.mark.parametrize("micro_batches", [1, 2, 4])
def test_every_batch_holds_the_rows_that_padding_to_the_maximum_would(rng, micro_batches):
    data = small_data(rng, 37)
    batches = TrainingBatches(data, 8, micro_batches, epochs=3, seed=5)
    for epoch in range(3):
        expected = np.random.default_rng([5, epoch]).permutation(37)
        for step in range(batches.steps_per_epoch):
            inputs, labels, weights = batches[epoch * batches.steps_per_epoch + step]
            real = weights > 0
            rows = expected[step * 8 : step * 8 + 8]
            assert sorted(labels[real]) == sorted(data.labels[rows])
            lengths = np.concatenate([inputs[f"padding_mask_{k}"].sum(1) for k in range(micro_batches)])
            assert sorted(lengths[real]) == sorted(data.tokens.lengths[rows])
            # Keras divides by the number of rows in the batch: the weights make that the mean over the real ones.
            assert weights.sum() == pytest.approx(8)


def test_real_tokens_are_kept_and_padding_is_masked(rng):
    data = small_data(rng, 16)
    inputs, _, _ = TrainingBatches(data, 16, 4, epochs=1, seed=0)[0]
    seen = {tuple(row[:10]) for k in range(4) for row in inputs[f"token_ids_{k}"]}
    assert seen <= {tuple(row[: len(next(iter(seen)))]) for row in data.tokens.token_ids}
    for k in range(4):
        assert inputs[f"token_ids_{k}"].shape == inputs[f"padding_mask_{k}"].shape
        assert (np.diff(inputs[f"padding_mask_{k}"], axis=1) <= 0).all()


def computed_tokens(batches):
    inputs = [batches[index][0] for index in range(batches.total)]
    return sum(array.size for batch in inputs for name, array in batch.items() if name.startswith("token_ids"))


def test_micro_batches_compute_fewer_tokens(rng):
    data = small_data(rng, 64)
    one, four = (computed_tokens(TrainingBatches(data, 16, k, epochs=2, seed=0)) for k in (1, 4))
    assert data.tokens.lengths.sum() * 2 <= four < one <= 2 * 64 * MAX_LENGTH


@pytest.mark.skipif(not uses_xla(), reason="only XLA compiles every shape anew")
def test_shapes_stay_few_for_xla(rng):
    batches = TrainingBatches(small_data(rng, 256), 16, 4, epochs=4, seed=0)
    shapes = {tuple(array.shape for array in batches[index][0].values()) for index in range(batches.total)}
    assert len(shapes) <= 3


def test_a_later_epoch_is_the_same_without_those_before(rng):
    data = small_data(rng, 20)
    whole, later = (TrainingBatches(data, 8, 2, epochs=3, seed=1, first_epoch=first) for first in (0, 2))
    for step in range(3):
        a, b = whole[6 + step], later[step]
        for name in a[0]:
            np.testing.assert_array_equal(a[0][name], b[0][name])


def test_evaluation_covers_every_row_once(rng):
    tokens = small_tokens(rng, 45)
    batches = EvaluationBatches(tokens, 16)
    assert sorted(batches.rows[batches.rows >= 0]) == list(range(45))
    for index in range(batches.total):
        assert batches[index][0]["token_ids"].shape[0] == 16


def test_evaluation_batches_past_the_end_are_the_last(rng):
    # On a GPU, JAX asks for the batch after the one it computes, the last one too.
    batches = EvaluationBatches(small_tokens(rng, 45), 16)
    for name, array in batches[batches.total][0].items():
        np.testing.assert_array_equal(array, batches[batches.total - 1][0][name])


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_padding_changes_no_output(rng, pooling):
    backbone = small_backbone(pooling=pooling)
    classifier = build_classifier(backbone, 3, dropout=0.0)
    tokens = small_tokens(rng, 45)
    features, logits = forward_function(classifier)(tokens)
    for row in (0, 7, 44):
        length = tokens.lengths[row]
        alone = {"token_ids": tokens.token_ids[row : row + 1, :length], "padding_mask": np.ones((1, length), "int32")}
        np.testing.assert_allclose(ops.convert_to_numpy(classifier(alone))[0], logits[row], atol=2e-5)
        hidden = ops.convert_to_numpy(backbone.model(alone))[0]
        expected = hidden[0] if pooling == "first" else hidden.astype(np.float64).mean(0)
        np.testing.assert_allclose(features[row], expected, atol=2e-5)


def one_step(data, micro_batches, batch_size):
    """Return all weights after one optimiser step of plain gradient descent, so that the gradient itself is seen."""
    classifier = small_classifier()
    model = micro_batched(classifier, micro_batches)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    model.train_on_batch(*TrainingBatches(data, batch_size, micro_batches, epochs=1, seed=0)[0])
    return [ops.convert_to_numpy(variable) for variable in classifier.trainable_variables]


@pytest.mark.parametrize("rows", [16, 11])
def test_micro_batches_give_the_gradient_of_the_padded_batch(rng, rows):
    data = small_data(rng, rows)
    classifier = small_classifier()
    before = [ops.convert_to_numpy(variable) for variable in classifier.trainable_variables]
    mask = (np.arange(MAX_LENGTH) < data.tokens.lengths[:, None]).astype("int32")
    classifier.compile(
        keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    classifier.train_on_batch({"token_ids": data.tokens.token_ids, "padding_mask": mask}, data.labels)
    expected = [ops.convert_to_numpy(variable) for variable in classifier.trainable_variables]
    assert max(np.abs(a - b).max() for a, b in zip(expected, before, strict=True)) > 1e-2
    for micro_batches in (1, 2, 4):
        for a, b in zip(one_step(data, micro_batches, 16), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_default_micro_batches_divide_the_batch():
    assert [default_micro_batches(size) for size in (1, 3, 4, 8, 16, 20, 32)] == [1, 1, 1, 2, 4, 4, 4]


def test_devices_share_micro_batches_where_that_is_possible():
    assert [default_micro_batches(size, 4) for size in (4, 8, 16, 20, 32)] == [1, 2, 4, 1, 4]
    assert [default_micro_batches(size, 8) for size in (8, 16, 32)] == [1, 2, 4]
    for size, devices in ((4, 4), (16, 8), (24, 8), (18, 3)):
        check_cut(size, None, devices)
    with pytest.raises(InputError, match=r"8 devices .* 16 rows in 4 micro-batches .* or leave micro_batches out"):
        check_cut(16, 4, 8)
    with pytest.raises(InputError, match=r"3 devices .* 16 rows in 1 micro-batch .* take a batch_size that 3 divides$"):
        check_cut(16, None, 3)
