"""The paper's tables and figures by name: what each needs, what that costs, and what is made of it."""

from lpft_keras.reproduction.cost import Cost
from lpft_keras.reproduction.front import Reproduction, reproduce

__all__ = ["Cost", "Reproduction", "reproduce"]
