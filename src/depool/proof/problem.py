"""Why a pool cannot be proved, or a certificate does not hold."""

from __future__ import annotations

from depool.errors import DepoolError, Exit


class ProofError(DepoolError):
    """No proof was found; the text names the pool, the tensor or the field, and says what is wrong there."""

    exit_code = Exit.NOT_EQUAL
