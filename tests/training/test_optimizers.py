import itertools

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.hyperparameters import FineTuneSettings
from lpft_keras.training.batches import TrainingBatches
from lpft_keras.training.fine_tune import fine_tune
from lpft_keras.training.forward import forward_function
from lpft_keras.training.optimizers import make_optimizer
from tests import reference
from tests.helpers import small_classifier, small_data


def test_adam_is_the_paper_s(rng):
    """Against the float64 twin and against torch's AdamW without decay, clipping and linear decay by torch too."""
    torch = pytest.importorskip("torch")
    # The last column's gradients are as small as epsilon, so that where epsilon is added shows.
    start, gradients = rng.normal(size=(5, 4)), rng.normal(size=(30, 5, 4)) * [3, 3, 3, 1e-8]
    variable = keras.Variable(start.astype("float32"))
    optimizer = make_optimizer("adam", 0.05, len(gradients), clip_norm=1.0)
    weight = torch.nn.Parameter(torch.tensor(start))
    peer = torch.optim.AdamW([weight], lr=0.05, eps=1e-8, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(peer, lambda t: 1 - t / len(gradients))
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient.astype("float32"))], [variable])
        weight.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        peer.step()
        schedule.step()
    expected = reference.adam(start, gradients, 0.05)
    assert np.abs(expected - start).max() > 0.1
    np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-5)
    assert float(optimizer.learning_rate) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["sgd", "signgd"])
def test_descent_is_that_of_torch(rng, name):
    """Against the float64 twin and torch's SGD, some gradients below the norm that is clipped at, and one number 0."""
    torch = pytest.importorskip("torch")
    start, gradients = rng.normal(size=(5, 4)), rng.normal(size=(30, 5, 4)) * rng.choice([0.1, 3.0], size=(30, 1, 1))
    gradients[:, 2, 1] = 0.0
    norms = np.linalg.norm(gradients, axis=(1, 2))
    assert (norms < 1).any()
    assert (norms > 1).any()
    # Two variables, so that a norm that is not of all of them shows.
    variables = [keras.Variable(part.astype("float32")) for part in (start[:2], start[2:])]
    optimizer = make_optimizer(name, 0.05, len(gradients), clip_norm=1.0)
    weight = torch.nn.Parameter(torch.tensor(start))
    peer = torch.optim.SGD([weight], lr=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(peer, lambda t: 1 - t / len(gradients))
    for gradient in gradients:
        parts = (gradient[:2], gradient[2:])
        optimizer.apply([ops.convert_to_tensor(part.astype("float32")) for part in parts], variables)
        weight.grad = torch.tensor(gradient)
        if name == "signgd":
            weight.grad = weight.grad.sign()
        else:
            torch.nn.utils.clip_grad_norm_([weight], 1.0)
        peer.step()
        schedule.step()
    expected = start
    for step, gradient in enumerate(gradients):
        rate = 0.05 * (1 - step / len(gradients))
        (expected,) = reference.descent_step([expected], [gradient], rate, signs=name == "signgd")
    found = np.concatenate([ops.convert_to_numpy(variable) for variable in variables])
    assert np.abs(expected - start).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-5)
    assert found[2, 1] == np.float32(start[2, 1])
    assert float(optimizer.learning_rate) == pytest.approx(0.0, abs=1e-9)


def gradients_of(model, inputs, labels, weights):
    """Return the gradients of the mean cross-entropy by plain autodiff, float64."""

    def loss(logits):
        rows = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return ops.sum(ops.multiply(rows, weights)) / len(labels)

    variables = model.trainable_variables
    if keras.backend.backend() == "jax":
        import jax

        fixed = [variable.value for variable in model.non_trainable_variables]
        found = jax.grad(lambda own: loss(model.stateless_call(own, fixed, inputs)[0]))([v.value for v in variables])
    elif keras.backend.backend() == "torch":
        import torch

        found = torch.autograd.grad(loss(model(inputs)), [variable.value for variable in variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(model(inputs))
        found = tape.gradient(value, [variable.value for variable in variables])
    return [ops.convert_to_numpy(gradient).astype(float) for gradient in found]


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.5), ("signgd", 1e-3)])
def test_fine_tuning_takes_the_steps_of_the_whole_gradient(rng, name, rate, micro_batches):
    """Two epochs of three steps, the last not whole, on tokens that come often: one sum a row of the table."""
    data, epochs, size, clip = small_data(rng, 22), 2, 8, 0.7
    data.tokens.token_ids[data.tokens.token_ids > 40] = 5
    classifier, twin = small_classifier(), small_classifier()
    start = [ops.convert_to_numpy(variable).astype(float) for variable in twin.trainable_variables]
    scores = itertools.count()
    fine_tune(
        classifier,
        forward_function(classifier),
        data,
        data,
        FineTuneSettings(rate, size, epochs, micro_batches, clip, name),
        score=lambda logits, labels: next(scores),  # the last epoch is kept
        seed=3,
    )
    batches = TrainingBatches(data, size, 1, epochs, 3)
    lengths, expected = [], start
    for step in range(batches.total):
        inputs, labels, weights = batches[step]
        inputs = {key.removesuffix("_0"): value for key, value in inputs.items()}
        gradients = gradients_of(twin, inputs, labels, weights)
        lengths.append(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
        now = rate * (1 - step / batches.total)
        expected = reference.descent_step(expected, gradients, now, clip=clip, signs=name == "signgd")
        for variable, value in zip(twin.trainable_variables, expected, strict=True):
            variable.assign(value)
    assert max(lengths) > clip
    for variable, before, after in zip(classifier.trainable_variables, start, expected, strict=True):
        # Of a key's bias the gradient is 0 but for rounding, since a softmax does not see it.
        if "key/bias" in variable.path:
            continue
        found = ops.convert_to_numpy(variable)
        moved = np.abs(after - before).max()
        assert moved > 5e-4
        wrong = np.abs(found - after) > 0.01 * moved
        # A number whose gradient is as small as rounding may have the other sign.
        assert wrong.mean() <= (0.01 if name == "signgd" else 0.0), variable.path
        if "token_embedding" in variable.path:
            np.testing.assert_array_equal(found[41:], before[41:].astype("float32"))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow gives a table's gradient in slices"
)
def test_adam_clips_by_the_norm_of_rows_that_are_summed():
    """Two look-ups of one row: their sum has the norm 6, the two as they come 4.2."""
    import tensorflow as tf

    table = keras.Variable(np.zeros((4, 2), "float32"))
    optimizer = make_optimizer("adam", 0.1, 10, clip_norm=1.0)
    optimizer.build([table])
    slices = tf.IndexedSlices(tf.constant([[3.0, 0.0], [3.0, 0.0]]), tf.constant([1, 1]), tf.constant([4, 2]))
    optimizer.apply([slices], [table])
    first_moment = next(v for v in optimizer.variables if "momentum" in v.path)
    np.testing.assert_allclose(ops.convert_to_numpy(first_moment)[1], [0.1, 0.0], rtol=1e-5)
