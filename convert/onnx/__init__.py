"""A checkpoint -> ONNX graphs."""
