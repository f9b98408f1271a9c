"""LoRA adapters: a small file beside a backbone, loaded into a fresh one, and merged into its weights to serve.

Printed with pocket on TensorFlow:

    adapter and head: 28 kB
    adapters: 6144 numbers on 503680 frozen ones
    merged: 0 adapters are left, and logits moved by 1e-07
"""

import math
import tempfile

import numpy as np

import lpft_keras
from lpft_keras.models.adapter_files import load_adapter
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.encoding import encode
from lpft_keras.models.lora import lora_variables, merge_lora
from lpft_keras.training.forward import forward_function

pairs = [("Anna bought a violin.", "Anna bought an instrument."), ("Tom lost a bike.", "Tom did not lose a bike.")]

with tempfile.TemporaryDirectory() as folder:
    options = {"backbone": "pocket", "limit": 100, "epochs": 1, "output_dir": folder}
    result = lpft_keras.run("demo", method="lp-lora", lora_rank=4, lora_alpha=8, **options)
    adapter = result.directory / "adapter.safetensors"
    print(f"adapter and head: {adapter.stat().st_size / 1e3:.0f} kB")

    # Elsewhere: the same pre-trained backbone, a head of three classes, and the file.
    backbone = load_backbone("pocket")
    classifier = build_classifier(backbone, classes=3)
    load_adapter(adapter, backbone.model, classifier.get_layer("head"))

added = sum(math.prod(variable.shape) for variable in lora_variables(backbone.model))
print(f"adapters: {added} numbers on {backbone.model.count_params() - added} frozen ones")

tokens = encode(backbone, pairs)
_, with_adapters = forward_function(classifier)(tokens)
merge_lora(backbone.model)
_, merged = forward_function(classifier)(tokens)
moved = np.abs(merged - with_adapters).max()
print(f"merged: {len(lora_variables(backbone.model))} adapters are left, and logits moved by {moved:.0e}")
