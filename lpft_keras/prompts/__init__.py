"""Prompts: templates with a mask in the place of a label word. Nothing here knows of models, tokens or tasks' rows."""

from lpft_keras.prompts.catalogue import PROMPTS, asked_prompt
from lpft_keras.prompts.prompt import Prompt
from lpft_keras.prompts.template import parse_template

__all__ = ["PROMPTS", "Prompt", "asked_prompt", "parse_template"]
