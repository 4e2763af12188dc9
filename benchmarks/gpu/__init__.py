"""Everything about a GPU in one call: `python -m benchmarks.gpu`. Needs torch, numpy, onnx and onnxruntime alone."""
