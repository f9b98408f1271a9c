import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.report import represent
from tests import reference


@pytest.mark.parametrize("number", [0, 2, 7])
def test_measures_are_those_of_the_runs_features(swept, number):
    result = swept[1][number]
    found = represent(result)
    after, before = (part["test"].astype(float) for part in (result.features, result.pretrained_features))
    labels = result.predictions["test"]["labels"]
    assert found.cosine_similarity == pytest.approx(reference.cosine_similarity(after), rel=1e-6)
    assert found.pretrained["cosine_similarity"] == pytest.approx(reference.cosine_similarity(before), rel=1e-6)
    assert found.feature_change == pytest.approx(reference.feature_change(after, before), rel=1e-6)
    assert found.feature_change == result.metrics["test"]["feature_change"]
    expected = reference.fisher_discriminant_ratio(after, labels)
    assert found.fisher_discriminant_ratio == pytest.approx(expected, rel=1e-3)
    assert sum(found.by_class["fisher_discriminant_ratio"].values()) == pytest.approx(found.fisher_discriminant_ratio)
    own = labels == 1
    assert found.by_class["feature_change"][1] == pytest.approx(reference.feature_change(after[own], before[own]))
    assert found.head_norm == result.summary["head_norm"]
    assert found.singular == (len(labels) - 3 < after.shape[1])


def test_the_same_rows_have_the_same_pretrained_features(swept):
    """Whatever the method, its seed and its scale; LP leaves them as they were."""
    results = swept[1]
    for result in results:
        np.testing.assert_allclose(
            result.pretrained_features["test"], results[0].features["test"], atol=1e-5, rtol=1e-4
        )
    assert represent(results[0]).linear_cka == pytest.approx(1)
    assert np.isnan(represent(results[0]).pretrained["head_norm"])


def test_ridge_and_split_are_heeded(swept):
    result = swept[1][2]
    assert (
        represent(result, ridge=1e-6).fisher_discriminant_ratio > represent(result, ridge=1.0).fisher_discriminant_ratio
    )
    assert represent(result, "ood").feature_change == result.metrics["ood"]["feature_change"]
    with pytest.raises(InputError, match="unknown split"):
        represent(result, "train")
