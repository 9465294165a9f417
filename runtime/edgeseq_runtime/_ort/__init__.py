"""The only place where onnxruntime is touched."""
