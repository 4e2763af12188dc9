"""Everything about a GPU in one call: `python -m benchmarks.gpu`.

It needs torch, numpy, onnx, onnxruntime and safetensors alone.
"""
