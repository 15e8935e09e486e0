"""Networks, built with torch or transformers or read from ONNX files. Functions import these modules, and only when they run."""
