"""The model container: fetches a model's weights from S3, then becomes the engine that serves them.

`python -m lisa_model` reads its settings from the environment (`settings.py`), brings the local copy of the
weights up to date (`weights/`), and replaces itself by the engine (`engines/`). Two engines for CPUs run
from this package: llama.cpp (`llamacpp_server.py`) and an ONNX embedding server (`embeddings/`); vLLM, TGI
and TEI run from their own images.
"""
