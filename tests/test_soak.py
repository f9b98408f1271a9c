"""Run after run in one process: what a run made goes with it, and what is the user's stays."""

import gc

import keras
import pytest

from lpft_keras import TextClassifier, run
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import Tokens
from lpft_keras.randomness import global_state_kept
from lpft_keras.training.batches import Batches

SMALL = {"backbone": "tiny", "limit": 24, "max_length": 32, "epochs": 1, "learning_rate": 1e-3, "micro_batches": 1}
TEXTS = [f"a {'good' if n % 2 else 'bad'} film of {n} minutes" for n in range(40)]


def alive():
    """Return how many models, layers, optimisers, batches and traced functions there are, by kind."""
    kinds = [keras.Model, keras.Layer, keras.optimizers.Optimizer, keras.Variable, Batches, Tokens]
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework.func_graph import FuncGraph

        kinds.append(FuncGraph)
    gc.collect()
    gc.collect()
    types = [type(one) for one in gc.get_objects()]
    return {kind.__name__: sum(issubclass(one, kind) for one in types) for kind in kinds}


def test_runs_and_fits_leave_nothing_behind(tmp_path):
    mine = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def both(seed):
        run("demo", "lp-ft", seed=seed, output_dir=tmp_path, **SMALL)
        classifier = TextClassifier("lora", seed=seed, backbone="tiny", epochs=1, batch_size=16, learning_rate=1e-3)
        classifier.fit(TEXTS, [n % 2 for n in range(40)]).predict(TEXTS[:2])

    both(1)
    before = alive()
    assert before["Model"] >= 1
    both(2)
    assert alive() == before
    assert mine(keras.ops.zeros((1, 2))).shape == (1, 1)


def test_names_start_anew_and_the_users_count_on():
    counted = keras.layers.Dense(1).name
    names = []
    for _ in range(2):
        with global_state_kept():
            names.append([keras.layers.Dense(1).name for _ in range(2)])
    assert names == [["dense", "dense_1"]] * 2
    number = int(counted.partition("_")[2] or 0)
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_tables_of_a_tokenizer_go_with_it_and_stay_right():
    tf = pytest.importorskip("tensorflow")
    tokenizer = load_backbone("tiny").preprocessor.tokenizer
    ids = [int(index) for index in tokenizer("a cat sat")]
    tables = [one for one in vars(tokenizer).values() if isinstance(one, tf.lookup.StaticHashTable)]
    assert len(tables) == 5
    # Of a table that has a name TensorFlow keeps hold.
    assert all(table._is_anonymous for table in tables)
    rows = tf.data.Dataset.from_tensor_slices(["a cat sat"]).batch(1).map(tokenizer)
    del tokenizer, tables
    gc.collect()
    assert next(iter(rows)).to_list() == [ids]
