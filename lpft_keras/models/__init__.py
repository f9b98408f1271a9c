"""Models: pre-trained backbones by name, texts to tokens, one Dense head, LoRA. Nothing here trains.

Importing it makes the classes here known to Keras, so that `keras.saving.load_model` finds them in a file of ours.
"""

from lpft_keras.models import classifier, exact  # noqa: F401
