"""Prompt-based fine-tuning: sixteen rows a class; the masked language model's own label words, beside a drawn head.

Printed with pocket on TensorFlow:

    <s1><sep>[M] <s2>: So is entailment, But is contradiction, Perhaps is neutral
    before any training test 0.94 ood 0.90
    lp test 0.95 ood 0.94
    lp with the prompt test 0.92 ood 0.91
    ft test 0.60 ood 0.54
    ft with the prompt test 0.94 ood 0.91
"""

import tempfile

import lpft_keras
from lpft_keras.methods import FEW_SHOT_SEEDS
from lpft_keras.prompts import PROMPTS

prompt = PROMPTS["demo"]
print(f"{prompt.template}: {', '.join(f'{word} is {name}' for name, word in prompt.words.items())}")

with tempfile.TemporaryDirectory() as folder:
    options = {"shots": 16, "seed": FEW_SHOT_SEEDS[0], "epochs": 5, "max_length": 48, "output_dir": folder}
    for method in ("lp", "ft"):
        plain = lpft_keras.run("demo", method, **options)
        asked = lpft_keras.run("demo", method, prompt=True, **options)
        if method == "lp":
            untouched = asked.summary["zero_shot"]
            print("before any training", *(f"{name} {untouched[name]['accuracy']:.2f}" for name in ("test", "ood")))
        for name, result in ((method, plain), (f"{method} with the prompt", asked)):
            print(name, *(f"{split} {result.metrics[split]['accuracy']:.2f}" for split in ("test", "ood")))
