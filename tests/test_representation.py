import numpy as np
import pytest

from lpft_keras import representation
from lpft_keras.errors import InputError
from tests import reference


def features(rng, rows=60, width=7, classes=3):
    labels = rng.integers(0, classes, rows)
    return rng.normal(0, 1, (rows, width)) + 0.7 * labels[:, None] + 1, labels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_measures_equal_their_slow_twins(rng, dtype):
    x, labels = features(rng)
    y = x + rng.normal(0, 0.3, x.shape)
    x, y = x.astype(dtype), y.astype(dtype)
    close = {"rel": 1e-12}
    exact, moved = x.astype(float), y.astype(float)
    for with_self in (False, True):
        found = representation.cosine_similarity(x, with_self=with_self)
        assert found == pytest.approx(reference.cosine_similarity(exact, with_self), **close)
    assert representation.feature_change(y, x) == pytest.approx(reference.feature_change(moved, exact), **close)
    for ridge in (None, 1e-3, 1.0):
        found = representation.fisher_discriminant_ratio(x, labels, ridge=ridge)
        assert found == pytest.approx(reference.fisher_discriminant_ratio(exact, labels, ridge), rel=1e-9)
    assert representation.linear_cka(x, y[:, :4]) == pytest.approx(reference.linear_cka(exact, moved[:, :4]), rel=1e-9)
    assert representation.head_norm(x) == pytest.approx(float(np.sqrt((exact**2).sum())), **close)


def test_cosines_equal_scikit_learn(rng):
    from sklearn.metrics.pairwise import cosine_similarity

    x, _ = features(rng)
    pairs = cosine_similarity(x)[np.triu_indices(len(x), 1)]
    assert representation.cosine_similarity(x) == pytest.approx(pairs.mean(), rel=1e-12)


def test_the_ratio_is_that_of_linear_discriminant_analysis(rng):
    """scikit-learn's eigenvalues of S_W^-1 S_B, found through its explained variance, add up to the trace."""
    from scipy.linalg import eigh
    from sklearn.covariance import empirical_covariance

    x, labels = features(rng, rows=400)
    within = sum(np.mean(labels == k) * empirical_covariance(x[labels == k]) for k in range(3))
    values = eigh(empirical_covariance(x) - within, within, eigvals_only=True)
    assert representation.fisher_discriminant_ratio(x, labels) == pytest.approx(values.sum(), rel=1e-9)


def test_shares_of_the_classes_add_up(rng):
    x, labels = features(rng)
    shares = representation.fisher_discriminant_shares(x, labels)
    assert shares.shape == (3,)
    assert shares.min() > 0
    assert shares.sum() == pytest.approx(representation.fisher_discriminant_ratio(x, labels), rel=1e-12)


def test_a_singular_scatter_is_treated_as_said(rng):
    """Fewer rows than features: the pseudo-inverse leaves directions out, a small ridge makes them count most."""
    x, labels = features(rng, rows=12, width=40)
    left_out = representation.fisher_discriminant_ratio(x, labels)
    assert left_out == pytest.approx(reference.fisher_discriminant_ratio(x, labels), rel=1e-6)
    ridges = [representation.fisher_discriminant_ratio(x, labels, ridge=r) for r in (1.0, 1e-3, 1e-6)]
    assert left_out < ridges[1] < ridges[2] / 100
    assert ridges[0] < ridges[1]


def test_many_rows_need_no_square_array(rng):
    """60,000 rows: the similarity of two halves, each of one direction, known beforehand."""
    x = np.concatenate([np.tile([[1.0, 0.0]], (30_000, 1)), np.tile([[0.6, 0.8]], (30_000, 1))]).astype("float32")
    x *= rng.uniform(0.5, 2, (60_000, 1)).astype("float32")
    pairs = 2 * (30_000 * 29_999 / 2) + 30_000**2 * 0.6
    assert representation.cosine_similarity(x) == pytest.approx(pairs / (60_000 * 59_999 / 2), rel=1e-7)


def test_by_class_is_the_measure_of_each_class_alone(rng):
    x, labels = features(rng)
    found = representation.by_class(representation.feature_change, labels, x, np.zeros_like(x))
    assert list(found) == [0, 1, 2]
    assert found[1] == pytest.approx(np.linalg.norm(x[labels == 1], axis=1).mean())


def test_alignment_heeds_neither_turning_nor_scaling(rng):
    x, _ = features(rng)
    turned = 3 * x @ np.linalg.qr(rng.normal(0, 1, (7, 7)))[0] + 5
    assert representation.linear_cka(x, turned) == pytest.approx(1)
    assert representation.feature_change(turned, x) > 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: representation.cosine_similarity(x[:1]), "features hold one row"),
        (
            lambda x, y: representation.cosine_similarity(x * (np.arange(len(x)) != 5)[:, None]),
            "row 5 of features is zero",
        ),
        (lambda x, y: representation.cosine_similarity(x[0]), r"features must be of shape \[rows, d\]"),
        (lambda x, y: representation.cosine_similarity(np.where(x > 2, np.nan, x)), "features hold NaN"),
        (lambda x, y: representation.feature_change(x, x[:3]), "reference must be of the shape"),
        (lambda x, y: representation.feature_change(x[:0], x[:0]), "with a row or more"),
        (lambda x, y: representation.fisher_discriminant_ratio(x, y[:3]), "labels must be of shape"),
        (lambda x, y: representation.fisher_discriminant_ratio(x, y * 0), "one class only"),
        (lambda x, y: representation.fisher_discriminant_ratio(x, y / 2), "labels must be integers"),
        (lambda x, y: representation.fisher_discriminant_ratio(x, y, ridge=0), "ridge must be a number above 0"),
        (lambda x, y: representation.fisher_discriminant_ratio(y[:, None] * 1.0, y), "do not vary within any class"),
        (lambda x, y: representation.linear_cka(x, x[:5]), "as many rows"),
        (lambda x, y: representation.linear_cka(x, x * 0), "all rows of other are equal"),
    ],
)
def test_what_can_not_be_measured_is_refused(rng, call, words):
    with pytest.raises(InputError, match=words):
        call(*features(rng))
