"""Writes TFLite files, tensor by tensor and operator by operator."""

from collections.abc import Callable, Sequence

import flatbuffers
import numpy as np
import tflite as t


class TfliteBuilder:
    """A graph of float tensors.

    Parameters
    ----------
    codes : list of int
        Operators that it has, as ``tflite.BuiltinOperator``.
    bits8 : bool
        Whether constant matrices are of int8, with a scale each.
    """

    def __init__(self, codes: Sequence[int], bits8: bool = False):
        self.codes, self.bits8, self.builder = codes, bits8, flatbuffers.Builder(1 << 14)
        self.tensors, self.buffers, self.operators = [], [], []

    def _vector(self, start: Callable, values: Sequence, add: Callable) -> int:
        start(self.builder, len(values))
        for value in reversed(values):
            add(value)
        return self.builder.EndVector()

    def _table(self, kind: str, **fields: object) -> int:
        getattr(t, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            getattr(t, f"{kind}Add{name}")(self.builder, value)
        return getattr(t, f"{kind}End")(self.builder)

    def tensor(self, shape: Sequence[int], array: np.ndarray | None = None) -> int:
        """A tensor, a constant one if there is an array: its number."""
        builder, kind, quantization = self.builder, t.TensorType.FLOAT32, {}
        if array is not None and self.bits8 and array.ndim == 2:
            scale = float(np.abs(array).max()) / 127
            array, kind = np.round(array / scale).astype(np.int8), t.TensorType.INT8
            scales = self._vector(t.QuantizationParametersStartScaleVector, [scale], builder.PrependFloat32)
            zeros = self._vector(t.QuantizationParametersStartZeroPointVector, [0], builder.PrependInt64)
            quantization = {"Quantization": self._table("QuantizationParameters", Scale=scales, ZeroPoint=zeros)}
        data = {} if array is None else {"Data": builder.CreateByteVector(array.tobytes())}
        self.buffers.append(self._table("Buffer", **data))
        shape = self._vector(t.TensorStartShapeVector, list(shape), builder.PrependInt32)
        fields = {"Shape": shape, "Type": kind, "Buffer": len(self.buffers) - 1, **quantization}
        self.tensors.append(self._table("Tensor", **fields))
        return len(self.tensors) - 1

    def constant(self, array: np.ndarray) -> int:
        """A tensor that holds an array: its number."""
        return self.tensor(array.shape, np.ascontiguousarray(array, dtype=np.float32))

    def operator(self, code: int, inputs: Sequence[int], shape: Sequence[int], kind: str, **fields: object) -> int:
        """An operator whose output is a new tensor: its number.

        Parameters
        ----------
        code : int
            Place in ``codes``.
        inputs : list of int
            Numbers of tensors; -1 where there is none.
        shape : tuple of int
            Of the output.
        kind, fields : str and values
            Its options, as ``tflite`` calls them.
        """
        options, output = self._table(kind, **fields), self.tensor(shape)
        inputs = self._vector(t.OperatorStartInputsVector, inputs, self.builder.PrependInt32)
        outputs = self._vector(t.OperatorStartOutputsVector, [output], self.builder.PrependInt32)
        fields = {"OpcodeIndex": code, "Inputs": inputs, "Outputs": outputs}
        fields |= {"BuiltinOptionsType": getattr(t.BuiltinOptions, kind), "BuiltinOptions": options}
        self.operators.append(self._table("Operator", **fields))
        return output

    def file(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The whole file of a graph from and to these tensors."""
        offsets, numbers = self.builder.PrependUOffsetTRelative, self.builder.PrependInt32
        graph = {
            "Tensors": self._vector(t.SubGraphStartTensorsVector, self.tensors, offsets),
            "Inputs": self._vector(t.SubGraphStartInputsVector, inputs, numbers),
            "Outputs": self._vector(t.SubGraphStartOutputsVector, outputs, numbers),
            "Operators": self._vector(t.SubGraphStartOperatorsVector, self.operators, offsets),
        }
        graph = self._table("SubGraph", **graph)
        codes = [self._table("OperatorCode", BuiltinCode=c, DeprecatedBuiltinCode=c) for c in self.codes]
        model = {
            "OperatorCodes": self._vector(t.ModelStartOperatorCodesVector, codes, offsets),
            "Subgraphs": self._vector(t.ModelStartSubgraphsVector, [graph], offsets),
            "Buffers": self._vector(t.ModelStartBuffersVector, self.buffers, offsets),
        }
        self.builder.Finish(self._table("Model", Version=3, **model), b"TFL3")
        return bytes(self.builder.Output())
