"""How the documentation's docstring parser (griffe) reads ours."""

import re
from typing import Any

import griffe


class KerasDocstrings(griffe.Extension):
    """Read the section that Keras calls "Example" as the one that Google calls "Examples"."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section before anybody parses the docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
