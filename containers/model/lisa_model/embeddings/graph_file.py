"""Names that converter and server share; here, so that the server does not load the converter's libraries."""

# The folder's name: raise the number with every change to the graph, so that older ones are not used.
FORMAT = "bert-onnx-1"
GRAPH_FILE = "model.onnx"
