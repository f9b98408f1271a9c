"""A trained classifier for others: a preset with its model card, on disk or uploaded."""

from lpft_keras.sharing.export import write_preset
from lpft_keras.sharing.upload import check_uri, upload

__all__ = ["check_uri", "upload", "write_preset"]
