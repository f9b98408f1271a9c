import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import get_task, load_task, own_task

ROWS = "title,body,stars,good\n" + "".join(f"T{n},B{n},{n % 3 + 1},{n % 3 > 0}\n" for n in range(30))


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "held", "other"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    return tmp_path


def toml(folder, text):
    (folder / "my.toml").write_text(text)
    return get_task(folder / "my.toml")


def test_a_toml_file_says_all_that_arguments_say(folder, monkeypatch):
    task = toml(
        folder,
        """
        name = "reviews"
        train = "train.csv"
        validation = "held.csv"
        test = "held.csv"
        text = ["title", "body"]
        label = "stars"
        labels = ["3", "1", "2"]
        metric = "macro_f1"
        backbone = "pocket"
        [ood]
        shop = "other.csv"
        """,
    )
    monkeypatch.chdir("/")  # paths count from the file, wherever it is read from
    data = load_task(task)
    assert (task.name, task.metric, task.backbone, data.labels) == ("reviews", "macro_f1", "pocket", ("3", "1", "2"))
    assert data.train.texts[1] == ("T1", "B1")
    assert data.train.labels[:3].tolist() == [1, 2, 0]
    assert {name: len(split) for name, split in data.every().items()} == dict.fromkeys(
        ("train", "validation", "test", "shop"), 30
    )


def test_without_validation_and_test_the_last_tenth_is_both(folder):
    data = load_task(toml(folder, 'train = "train.csv"\ntext = "body"\nlabel = "stars"'))
    assert data.test is None
    assert list(data.evaluated()) == ["validation"]
    assert [text for (text,) in data.validation.texts] == ["B27", "B28", "B29"]
    assert data.labels == ("1", "2", "3")
    assert toml(folder, 'train = "train.csv"').name == "my"


def test_templates_and_stratified_splits(folder):
    task = toml(
        folder,
        """
        train = "train.csv"
        template = "{title}: {body}"
        label = "good"
        split = "stratified"
        validation_fraction = 0.2
        """,
    )
    data = load_task(task)
    assert data.train.texts[0][0].split(": ")[0].startswith("T")
    assert data.labels == ("False", "True")
    assert data.validation.labels.tolist().count(1) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train = ", "is no valid TOML"),
        ('name = "x"', "names no training rows"),
        ('train = "nowhere.csv"', "no train file .*nowhere.csv"),
        ('train = "train.csv"\ntrian = "x"', "unknown key in .*my.toml.*did you mean 'train'"),
        ("train = 3", "train must be a string, not 3"),
        ('train = "train.csv"\ntext = ["a", "b", "c"]', "one name or two"),
        ('train = "train.csv"\ntext = []', "one name or two"),
        ('train = "train.csv"\nname = "cb"', "is a task of the catalogue"),
        ('train = "train.csv"\nname = "../up"', "also that of its folder"),
        ('train = "train.csv"\nname = "cache"', "not cache or tuning"),
        ('train = "train.csv"\nmetric = "acuracy"', "did you mean 'accuracy'"),
        ('train = "train.csv"\nsplit = "random"', "unknown split 'random'"),
        ('train = "train.csv"\nlabels = ["a", "a"]', "each once"),
        ('train = "train.csv"\nlabels = ["a"]', "two or more names"),
        ('train = "train.csv"\ntemplate = "no column"', "names no column"),
        ('train = "train.csv"\ntemplate = "{open"', "no format string"),
        ('train = "train.csv"\nvalidation_fraction = 1.5', "validation_fraction must be a number above 0 and below 1"),
        ('train = "train.csv"\ndelimiter = "::"', "delimiter must be one character"),
        ('train = "train.csv"\n[ood]\ntest = "other.csv"', "can't be called 'test'"),
        ('train = "train.csv"\n[ood]\na = 3', "ood.a must be a path"),
        ('train = "train.csv"\n[ood]\na = "nowhere.csv"', "no a file"),
        ('train = "train.csv"\nquotes = "no"', "quotes must be true or false"),
    ],
)
def test_what_is_wrong_in_a_toml_file_is_said_with_its_name(folder, text, words):
    with pytest.raises(InputError, match=words) as caught:
        toml(folder, text)
    assert "my.toml" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_errors_of_rows_are_those_of_loading(folder):
    (folder / "one.csv").write_text("text,label\n" + "a,same\n" * 20)
    with pytest.raises(InputError, match="all training rows are of class 'same'"):
        load_task(own_task(folder / "one.csv"))
    with pytest.raises(InputError, match="metric 'f1' is that of the positive of two classes, and there are 3"):
        load_task(own_task(folder / "train.csv", name="x", text="body", label="stars", metric="f1"))
    (folder / "train.csv").write_text("body,stars\n" + "a,1\nb,3\n" * 10)
    with pytest.raises(InputError, match=r"held\.csv, line 3: unknown label '2'; task 'train' has the labels 1, 3"):
        load_task(own_task(folder / "train.csv", text="body", label="stars", test=folder / "held.csv"))
    with pytest.raises(InputError, match="can't read"):
        get_task(folder / "none.toml")
