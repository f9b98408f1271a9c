"""Train a classifier on texts and labels at hand, save it, and ask it for probabilities."""

import tempfile

from lpft_keras import TextClassifier
from lpft_keras.tasks import get_task, load_task

task = get_task("demo")
data = load_task(task)
labels = [task.labels[label] for label in data.train.labels]

classifier = TextClassifier(method="lp", backbone="pocket").fit(data.train.texts, labels)
with tempfile.TemporaryDirectory() as directory:
    classifier.save(directory)
    loaded = TextClassifier.load(directory)
for text, probabilities in zip(data.test.texts[:3], loaded.predict_proba(data.test.texts[:3]), strict=True):
    print(text, dict(zip(loaded.classes_.tolist(), probabilities.round(3).tolist(), strict=True)))
