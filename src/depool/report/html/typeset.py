"""What the terminal prints in ASCII, as one would set it: 2x2, 2^-24, <=, -."""

from __future__ import annotations

import re

RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def typeset(text: str) -> str:
    """With times signs between numbers, raised powers, and comparisons of one sign."""
    text = re.sub(r"(?<=[\d?])x(?=[\d?])", "×", text)
    text = re.sub(r"\^(-?\d+)", lambda power: power.group(1).translate(RAISED), text)
    return text.replace(">=", "≥").replace("<=", "≤").replace(" - ", " − ")
