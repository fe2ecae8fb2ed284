"""The ONNX frontend: find pools, gather facts, splice programs, read and write files."""
