"""`python -m lpft_keras` is the command `lpft-keras`."""

from lpft_keras.cli import entry

entry()
