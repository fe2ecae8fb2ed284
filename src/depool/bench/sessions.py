"""Models ready to be timed in ONNX Runtime: inputs and outputs bound, so that only the model runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from depool.onnx import files
from depool.program import Array
from depool.verification.oracle import CannotRunError, session


class Bound:
    """A model with its input in place; a call runs it once.

    All optimisations are on and the graph is run node by node, as by default. Threads that wait do not spin: they
    would take the processor from the candidate whose turn it is.

    Args:
        model: with its weights inside, or a `files.Source`.
        feeds: its inputs.
        threads: that one node may use.

    Raises:
        CannotRunError: where the runtime does not take the model, or fails on this input.
    """

    def __init__(self, model: onnx.ModelProto | files.Source, feeds: Mapping[str, Array], threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = session(model, options)
            names = [output.name for output in self._session.get_outputs()]
            self.outputs: dict[str, Any] = dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
            self._binding = self._session.io_binding()
            for name, array in feeds.items():
                self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
            for name, value in self.outputs.items():
                if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
                    self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(value.copy()))
                else:  # a sequence, a map or strings: the runtime makes a new one each time
                    self._binding.bind_output(name)
        except Exception as error:  # ONNX Runtime's errors share no base class but Exception
            raise CannotRunError(f"ONNX Runtime: {' '.join(str(error).split())[:200]}") from error

    def __call__(self) -> None:
        """Run it once."""
        self._session.run_with_iobinding(self._binding)
