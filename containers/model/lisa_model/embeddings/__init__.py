"""Sentence embeddings on a CPU: safetensors -> ONNX graph -> server with OpenAI's embeddings route."""
