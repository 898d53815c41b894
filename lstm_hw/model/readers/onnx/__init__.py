"""Reader of ONNX files: LSTM, GRU or RNN nodes of a graph, linear layers in front of them, between and behind, and what
joins their outputs.

``graph`` follows the graph from its input to its output and asks for each node the module of its kind: ``recurrent``,
``linear``, ``joints`` or ``moves``, which asks ``shapes`` for sizes that nodes compute. All read the ``file`` and hand
on a tensor of ``flow``; ``outcome`` makes the model of what was found.
"""
