"""Small files of our own in the official formats of the paper's sets, for machines that have none of the real ones.

`python -m tests.official_files FOLDER pubmed` writes a set's files, larger ones with `--train 2000 --test 1000`.
"""

import argparse
import csv
import io
import json
import random
from pathlib import Path

from lpft_keras.tasks import TASKS
from lpft_keras.tasks.grammar import demo_rows

_VERDICTS = (  # in the order of BOSS's ids: negative, positive, neutral
    ("dull", "awful", "broken", "a waste of money", "far too slow"),
    ("superb", "a joy", "well made", "worth every penny", "better than I hoped"),
    ("of medium size", "blue", "as described", "made of wood", "neither good nor bad"),
)
_THINGS = {  # shops, restaurants, posts and films: each shifted set has words of its own
    "amazon": ("lamp", "novel", "kettle", "shirt", "radio"),
    "dynasent": ("soup", "waiter", "terrace", "menu", "bill"),
    "semeval": ("match", "concert", "keynote", "new phone", "debate"),
    "sst5": ("plot", "cast", "score", "script", "ending"),
}
_SECTIONS = {
    "BACKGROUND": ("Little is known about {} .", "{} is a common condition in older adults ."),
    "OBJECTIVE": ("We aimed to assess the effect of @ mg on {} .", "To compare two treatments of {} ."),
    "METHODS": ("Patients with {} were randomised to two arms .", "{} was measured at baseline and at week @ ."),
    "RESULTS": ("{} fell by @ % ( P < @ ) .", "There was no difference in {} between groups ( P = @ ) ."),
    "CONCLUSIONS": ("The treatment of {} appears to be safe .", "Further trials on {} are needed ."),
}
_ANYWHERE = ("Data on {} were limited .", "{} differed between groups .")  # sentences that no section owns
_ILLS = ("asthma", "back pain", "hypertension", "insomnia", "migraine", "type @ diabetes")


def write_official_files(folder, task, train=100, test=40):
    """Write each file of a task of the catalogue: `train` rows for training, `test` rows in every other one."""
    for split, path in TASKS[task].files.items():
        file = Path(folder, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        count = train if split == "train" else test
        rng = random.Random(f"{task} {split}")
        if task in _PAIRS:
            pairs = demo_rows("train" if split == "train" else "test")
            rows = [_PAIRS[task](n, *pairs[n % len(pairs)]) for n in range(count)]
            text = "".join(json.dumps(row) + "\n" for row in rows) if file.suffix == ".jsonl" else _table(rows)
            text = "\ufeff" * (task == "mrpc") + text
        elif task == "pubmed":
            text = _abstracts(count, rng)
        else:
            text = _opinions(count, rng, "amazon" if split in ("train", "test") else split, boss=task != "sst2")
        file.write_text(text, encoding="utf-8")


def _wic(number, first, second, label):
    word = next((word for word in first.split() if word in second.split()), second.split()[0])
    at = {"start1": max(first.find(word), 0), "start2": second.find(word)}
    ends = {f"end{key[-1]}": start + len(word) for key, start in at.items()}
    row = {"word": word, "sentence1": first, "sentence2": second, "idx": number, "label": label == "entailment"}
    return {**row, **at, **ends, "version": 1.1}


def _wsc(number, first, second, label):
    words = first.split()
    target = {"span2_index": len(words) - 1, "span1_index": 0, "span1_text": words[0], "span2_text": words[-1]}
    return {"text": f"{first} {second}", "target": target, "idx": number, "label": label == "entailment"}


def _cola(number, first, second, label):
    wrong = number % 3 == 0
    words = first.removesuffix(".").split()
    sentence = " ".join(reversed(words) if wrong else words) + "."
    return {"code": "gr01", "label": 1 - wrong, "mark": "*" * wrong, "sentence": sentence}


def _mrpc(number, first, second, label):
    ids = {"#1 ID": 1000 + number, "#2 ID": 2000 + number}
    return {"Quality": int(label == "entailment"), **ids, "#1 String": first, "#2 String": second}


_PAIRS = {
    "cb": lambda n, a, b, label: {"premise": a, "hypothesis": b, "label": label, "idx": n},
    "rte": lambda n, a, b, label: {
        "premise": a,
        "hypothesis": b,
        "label": "entailment" if label == "entailment" else "not_entailment",
        "idx": n,
    },
    "boolq": lambda n, a, b, label: {
        "question": f"is it so that {b[:-1]}".lower(),
        "passage": f"News -- {a} " * 4,
        "idx": n,
        "label": label == "entailment",
    },
    "wic": _wic,
    "wsc": _wsc,
    "cola": _cola,
    "mrpc": _mrpc,
}


def _table(rows):
    """Return lines of fields parted by tabs, no quoting, with a header where the official file has one."""
    lines = [row.values() for row in rows]
    if "mark" not in rows[0]:
        lines.insert(0, rows[0])
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def _opinions(count, rng, source, boss):
    """Return BOSS's form, three classes and pandas' quoting, or SST-2's, two classes and none."""
    text = io.StringIO(newline="")
    plain = {"quoting": csv.QUOTE_NONE, "quotechar": None}
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", **({} if boss else plain))
    writer.writerow(("Text", "Label") if boss else ("sentence", "label"))
    for _ in range(count):
        label = rng.randrange(3 if boss else 2)
        quote = ' , they say " really "' * (rng.random() < 0.1)
        writer.writerow((f"the {rng.choice(_THINGS[source])} is {rng.choice(_VERDICTS[label])}{quote} .", label))
    return text.getvalue()


def _abstracts(count, rng):
    """Return abstracts of a sentence a section, of which one in five could stand in any section."""
    text = ""
    for number in range(count):
        section = list(_SECTIONS)[number % len(_SECTIONS)]
        text += f"###{10_000_000 + number}\n" if number % len(_SECTIONS) == 0 else ""
        sentence = rng.choice(_ANYWHERE if rng.random() < 0.2 else _SECTIONS[section]).format(rng.choice(_ILLS))
        text += f"{section}\t{sentence[0].upper()}{sentence[1:]}\n"
        text += "\n" if number % len(_SECTIONS) == len(_SECTIONS) - 1 else ""
    return text + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("task")
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--test", type=int, default=40)
    arguments = parser.parse_args()
    write_official_files(arguments.folder, arguments.task, arguments.train, arguments.test)
