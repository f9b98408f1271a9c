"""Train a classifier on texts and labels at hand, save it, and ask it for probabilities.

Printed with pocket on TensorFlow:

    Julia bought two trucks in the street on Monday. Julia sold two trucks in the street.
      contradiction, with probability 0.693
    Anna lost four bikes in the kitchen. Anna did not lose four vehicles in the kitchen.
      contradiction, with probability 0.614
    Tom damaged a vehicle on Monday evening. Tom fixed a vehicle on Monday evening.
      contradiction, with probability 0.656
"""

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

unseen = data.test.texts[:3]
for text, label, probabilities in zip(unseen, loaded.predict(unseen), loaded.predict_proba(unseen), strict=True):
    print(*text)
    print(f"  {label}, with probability {probabilities.max():.3f}")
