"""Networks, built with torch or transformers or read from ONNX files. Only functions of `avbench.extract` import these
modules, and only when they run."""
