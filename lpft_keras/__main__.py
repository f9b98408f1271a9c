"""`python -m lpft_keras` is the command `lpft-keras`."""

import sys

from lpft_keras.cli import main

sys.exit(main())
