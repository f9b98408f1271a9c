"""The TFDS road, with TFDS's own builder: only the download itself is missing."""

import json
import os
import string
import subprocess
import sys

import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import TASKS, get_task, load_task
from lpft_keras.tasks.sources import tfds_rows
from tests.conftest import write_jsonl


@pytest.fixture
def super_glue(tmp_path, monkeypatch):
    """Let TFDS's downloads answer with official files at hand, and keep what it prepares in a folder of this test."""
    import requests
    import tensorflow_datasets as tfds

    monkeypatch.setattr(requests, "head", lambda url, **_: None)

    def from_disk(folder):
        downloads = tmp_path / "downloads"
        for source in folder.glob("*/*.jsonl"):
            rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
            write_jsonl(downloads / source.parent.name.upper() / source.name, rows)
            write_jsonl(
                downloads / source.parent.name.upper() / "test.jsonl",
                [{name: value for name, value in row.items() if name != "label"} for row in rows[:2]],
            )
        monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, url: str(downloads))
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))

    return from_disk


def test_rows_come_in_the_order_of_the_official_file(super_glue, official_files):
    super_glue(official_files)
    by_tfds, by_files = load_task(get_task("cb")), load_task(get_task("cb"), official_files)
    assert by_tfds.train.texts == by_files.train.texts
    for name, split in by_tfds.evaluated().items():
        assert split.checksum == by_files.evaluated()[name].checksum


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["cb", "rte"])
def test_the_official_rows_are_the_same_by_both_roads(super_glue, real_data, tmp_path, name):
    (tmp_path / "official" / name).mkdir(parents=True)
    for file in ("train.jsonl", "val.jsonl"):
        (tmp_path / "official" / name / file).write_bytes((real_data / name / file).read_bytes())
    super_glue(tmp_path / "official")
    by_tfds, by_files = load_task(get_task(name)), load_task(get_task(name), real_data)
    assert by_tfds.train.checksum == by_files.train.checksum
    assert by_tfds.test.checksum == by_files.test.checksum


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.tfds])
def test_builders_have_our_labels_columns_and_splits(name, tmp_path):
    """Of labels it matters which id is which: a builder's own order of the names decides."""
    import tensorflow_datasets as tfds

    task = TASKS[name]
    builder = tfds.builder(task.tfds, data_dir=tmp_path)
    features = builder.info.features
    assert tuple(features[task.label].names) == task.labels
    columns = {column for segment in task.template for _, column, _, _ in string.Formatter().parse(segment) if column}
    assert columns <= set(features)
    assert set(task.tfds_splits) == {*task.files} & {"train", "validation", "test", *task.ood}
    assert ("idx" in features) == task.tfds.startswith(("glue/", "super_glue/"))


@pytest.mark.parametrize("name", ["cb", "snli", "trec", "ag_news", "mnli"])
@pytest.mark.parametrize("answers", [False, True])
def test_a_failed_download_says_how_to_go_on(tmp_path, monkeypatch, name, answers):
    """No host answers at all, or the download itself breaks off."""
    import requests
    import tensorflow_datasets as tfds

    def head(url, **_):
        if not answers:
            raise requests.ConnectionError("no route")

    def broken(self, url):
        assert answers, "no download is begun where no host answers"
        raise ConnectionError(f"can't reach {url}")

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", broken)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=rf"official files \({name}/train.* as data_dir|snli_1") as caught:
        list(tfds_rows(get_task(name), "train"))
    assert len(str(caught.value).splitlines()) == 1


def test_notes_of_tensorflow_stay_off_standard_error(tmp_path):
    """No setting silences them; TFDS imports TensorFlow once a builder is asked for."""
    code = (
        "import requests\nfrom lpft_keras.tasks import get_task\nfrom lpft_keras.tasks.sources import tfds_rows\n"
        "def head(*_, **__):\n    raise requests.ConnectionError('no route')\n"
        "requests.head = head\nlist(tfds_rows(get_task('cb'), 'train'))"
    )
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "could not prepare super_glue/cb" in done.stderr
    assert "absl" not in done.stderr
