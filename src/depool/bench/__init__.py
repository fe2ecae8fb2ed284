"""How fast is a conversion? `depool.bench.compare(path)` times native against converted pools and models."""

from depool.bench.comparison import compare
from depool.bench.results import Bench, PoolTimes, Row, WholeTimes

__all__ = ["Bench", "PoolTimes", "Row", "WholeTimes", "compare"]
