"""Keras files: HDF5 (``model.save("m.h5")`` of Keras 2 and 3) and ``.keras`` (Keras 3), read without Keras.

Both hold the layers' configuration as JSON and the arrays in HDF5. An LSTM has kernel (I, 4H), recurrent kernel
(H, 4H) and bias (4H; of CuDNNLSTM 8H), gates i, f, c, o; a GRU the same with three gates z, r, h and bias (2, 3H); a
dense layer kernel (I, O) and bias (O).
"""

import io
import os
import re
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import LstmHwError, ModelError
from ...reading import MAX_JSON_BYTES, MAX_VALUES, open_archive, open_file, parse_json, read_stored
from ..float_model import FloatModel
from ..store import MAX_FILE_BYTES
from .joined import PARTS, check_joints
from .keras_network import JOINTS, MERGED, RECURRENT, KerasNetwork, Layer
from .library_file import LibraryFile
from .options import OF_TENSORS, ReadOptions

SECONDS = 1
"""Processor time that the HDF5 library may take."""
ARCHIVE_RULE = "must be a file of model.save('m.keras')"
_DIRECTIONS = ("forward_layer", "backward_layer")
_MODULES = ("keras.", "tf_keras.", "tensorflow.")
"""What the modules of Keras's own layers begin with."""


@dataclass(frozen=True)
class KerasFile(LibraryFile):
    """A Keras model, with its configuration; parameters and errors are those of the base."""

    LIBRARY, KIND = ("h5py", "keras"), "a Keras file"

    def _open(self) -> None:
        _ = self._library
        if not _ends(self._everything):
            raise self._unreadable("the HDF5 library does not come to an end")
        self._layers()

    def _everything(self):
        """All that will be read of the file."""
        with self._opened() as (config, file, version):
            self._network(config, file, version, ReadOptions())

    @contextmanager
    def _opened(self) -> Iterator[tuple[dict, Any, str]]:
        """The model's configuration, the open HDF5 file with its arrays, and the version of Keras that wrote them."""
        h5py = self._library
        try:
            if self.path.suffix.lower() == ".keras":
                with open_archive(self.path, MAX_FILE_BYTES, ARCHIVE_RULE, ModelError) as archive:
                    text = read_stored(archive, "config.json", MAX_JSON_BYTES, self.path, ModelError)
                    content = read_stored(archive, "model.weights.h5", MAX_FILE_BYTES, self.path, ModelError)
                    said = read_stored(archive, "metadata.json", MAX_JSON_BYTES, self.path, ModelError)
                version = parse_json(said, f"{self.path}: metadata.json", ModelError).get("keras_version")
                config = parse_json(text, self.path, ModelError)
                with h5py.File(io.BytesIO(content), "r") as file:
                    yield config, file, str(version)
            else:
                with open_file(self.path, MAX_FILE_BYTES, ModelError) as raw, h5py.File(raw, "r") as file:
                    version = file.attrs.get("keras_version")
                    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
                    yield self._configuration(file), file, version
        except LstmHwError:
            raise
        except Exception as error:  # HDF5 tells of damage in many ways
            raise self._unreadable(error) from error

    def _configuration(self, file):
        text = file.attrs.get("model_config")
        if text is None:
            rule = "must be saved whole (model.save), since weights alone do not say activations and layers"
            raise ModelError(f"{self.path}: model_config", "missing", rule)
        text = text if isinstance(text, str | bytes) else str(text)
        if len(text) > MAX_JSON_BYTES:
            raise ModelError(f"{self.path}: model_config", f"{len(text)} bytes", f"must not exceed {MAX_JSON_BYTES}")
        return parse_json(text, f"{self.path}: model_config", ModelError)

    def contents(self) -> list[str]:
        """The layers, in order."""
        return [layer.described() for layer in self._layers()]

    def _layers(self):
        with self._opened() as (config, _, _):
            return self._chain(config)

    def _chain(self, config):
        """The layers in order; refused where they are no chain."""
        kind, inner = config.get("class_name"), config.get("config")
        if kind not in ("Sequential", "Functional", "Model"):
            raise ModelError(f"{self.path}: class_name", repr(kind), "must be Sequential or Functional")
        items = inner.get("layers") if isinstance(inner, dict) else inner
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            raise ModelError(f"{self.path}: layers", type(items).__name__, "must be a list of layers")
        layers = [self._layer(item) for item in items]
        names = [layer.name for layer in layers]
        if len(set(names)) != len(names):
            raise ModelError(f"{self.path}: layers", "two layers of one name", "must have names of their own")
        if kind != "Sequential":
            nodes = [_sources(item.get("inbound_nodes"), set(names)) for item in items]
            for layer, item, from_ in zip(layers, items, nodes, strict=True):
                calls = item.get("inbound_nodes")
                if (besides := _besides(calls, set(names))) is not None:
                    rule = "must be none: a layer reads other layers, with options that are off"
                    raise ModelError(f"{self.path}: {layer.name}", f"called with {besides!s:.80}", rule)
                if layer.kind in JOINTS and (len(from_) < 2 or layer.kind == "Average" and "axis" in layer.config):
                    rule = f"must be of several layers, step by step; {PARTS}"
                    raise ModelError(f"{self.path}: {layer.name}", f"{layer.kind} of {', '.join(from_)} alone", rule)
                once = isinstance(calls, list) and len(calls) == 1
                if len(from_) > 1 and not (layer.kind in JOINTS and once):
                    rule = f"must read one layer, or be one of {', '.join(JOINTS)} that is used once"
                    found = f"{layer.kind} of {', '.join(from_)}"
                    raise ModelError(f"{self.path}: {layer.name}", found, f"{rule}; {PARTS}")
            layers = [replace(layer, reads=tuple(from_)) for layer, from_ in zip(layers, nodes, strict=True)]
            ends = _sources([inner.get("output_layers")], set(names))
            return self._ordered(layers, ends)
        return [replace(layer, reads=(below,)) for layer, below in zip(layers, ("", *names), strict=False)]

    def _ordered(self, layers, ends):
        """Layers in an order in which each comes behind those that it reads, a branch to its end before the next."""
        check_joints(sum(layer.kind in JOINTS for layer in layers), self.path)
        by_name = {layer.name: layer for layer in layers}
        above = {name: [layer for layer in layers if name in layer.reads] for name in by_name}
        order, left = [], {layer.name: len(set(layer.reads)) for layer in layers}
        at = [layer.name for layer in layers if not layer.reads]
        inputs = len(at)
        while at:
            name = at.pop()
            readers = above[name]
            joints = sum(layer.kind in JOINTS for layer in readers)
            order.append(replace(by_name[name], readers=len(readers) + joints))
            for layer in reversed(readers):
                left[layer.name] -= 1
                at += [layer.name] * (not left[layer.name])
        unread = [layer.name for layer in order if not layer.readers]
        if inputs != 1 or len(order) != len(layers) or len(ends) != 1 or ends != unread:
            rule = "must have one input and one output, to which all layers lead"
            raise ModelError(f"{self.path}: layers", "a graph with branches", f"{rule}; {PARTS}")
        return order

    def _layer(self, item):
        kind, config = item.get("class_name"), item.get("config")
        name = (config or {}).get("name") if isinstance(config, dict) else None
        if not isinstance(kind, str) or not isinstance(name, str):
            raise ModelError(
                f"{self.path}: layers", "a layer without class or name", "must be layers as Keras saves them"
            )
        _check_own(item, f"{self.path}: {name}")
        if kind == "TimeDistributed" and isinstance(config.get("layer"), dict):
            inner = config["layer"]
            _check_own(inner, f"{self.path}: {name}")
            if inner.get("class_name") == "Dense" and isinstance(inner.get("config"), dict):
                return Layer("Dense", name, {**inner["config"], "name": name}, wrapped=True)
        if kind == "Bidirectional":
            return self._both(name, config)
        return Layer(kind, name, config)

    def _both(self, name, config):
        """A bidirectional layer; without a configuration of its own the other direction is as the first."""
        subject, inner = f"{self.path}: {name}", [config.get(key) for key in ("layer", "backward_layer")]
        forward, backward = (item if isinstance(item, dict) else {} for item in inner)
        for item in (forward, backward):
            _check_own(item, subject)
        if not isinstance(forward.get("config"), dict) or forward.get("class_name") not in RECURRENT:
            found = f"Bidirectional of {forward.get('class_name')!r:.80}"
            raise ModelError(subject, found, f"must be of one of {', '.join(RECURRENT)}")
        if not backward:
            turned = not forward["config"].get("go_backwards", False)
            backward = {**forward, "config": {**forward["config"], "go_backwards": turned}}
        if not isinstance(backward.get("config"), dict) or backward.get("class_name") != forward["class_name"]:
            found = f"a backward layer of class {backward.get('class_name')!r:.80}"
            raise ModelError(subject, found, f"must be {forward['class_name']}, as forward")
        if forward["config"].get("go_backwards") or not backward["config"].get("go_backwards"):
            raise ModelError(f"{subject}: go_backwards", "not of the backward layer alone", "must be of that alone")
        kept = [part["config"].get("return_sequences", False) for part in (forward, backward)]
        if kept[0] != kept[1]:
            raise ModelError(f"{subject}: return_sequences", f"{kept} of the two directions", "must be the same")
        merge = config.get("merge_mode", "concat")
        if merge not in MERGED:
            rule = f"must be one of {', '.join(MERGED)}"
            raise ModelError(f"{subject}: merge_mode", f"{merge!r:.80}", rule)
        kind, parts = forward["class_name"], [{**part["config"], "name": name} for part in (forward, backward)]
        return Layer(kind, name, parts[0], merge=merge, direction=0, backward=Layer(kind, name, parts[1], direction=1))

    def model(self, options: ReadOptions) -> FloatModel:
        """The recurrent layers and the dense layers in front of them, between and behind."""
        self._check_options(options, "prefix", "initial_state", *OF_TENSORS)
        with self._opened() as (config, file, version):
            return self._network(config, file, version, options)

    def _network(self, config, file, version, options):
        arrays = _Arrays(self.path, file, config)
        return KerasNetwork(self.path, self._chain(config), arrays, version, options).model()


def _ends(read):
    """Whether a function comes to an end: HDF5 runs in circles on some damaged files, where no signal is heard.

    It is tried in a copy of this process whose processor time is limited; what it raises there, it raises here again.
    """
    copy = os.fork()
    if not copy:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            read()
        finally:
            os._exit(0)
    _, status = os.waitpid(copy, 0)
    return os.WIFEXITED(status)


def _check_own(item, subject):
    """Refuse a class of the user's that is named as one of Keras's: what it computes is not in the file."""
    module = str(item.get("module"))
    if item.get("registered_name") is not None and not module.startswith(_MODULES):
        found = f"class {item['registered_name']!r:.80} of {module!r:.80}"
        rule = "must be a layer of Keras itself: what another class computes is not in the file"
        raise ModelError(subject, found, rule)


def _sources(nodes, names):
    """Names of the layers whose outputs a layer reads."""
    found, waiting = [], [nodes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            if _is_source(value, names):
                found.append(value[0])
            else:
                waiting += value
    return found[::-1]


def _besides(calls, names):
    """What calls of a layer give it that is neither another layer's output nor an option that is off; None without."""
    waiting = [calls]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class_name") == "__numpy__":
                return "an array"
            waiting += [] if value.get("class_name") == "__keras_tensor__" else value.values()
        elif isinstance(value, list):
            waiting += value[3:] if _is_source(value, names) else value
        elif value is not None and value is not False:
            return value
    return None


def _is_source(value, names):
    """Whether a list names the output of a layer: in every version by name and two numbers."""
    return len(value) >= 3 and isinstance(value[0], str) and value[0] in names and isinstance(value[1], int)


class _Arrays:
    """The arrays of the layers of an HDF5 file, of either layout."""

    def __init__(self, path, file, config):
        self._path, self._file = path, file
        self._legacy = path.suffix.lower() != ".keras"
        self._folders = {}
        if not self._legacy:
            inner = config.get("config")
            items = inner["layers"] if isinstance(inner, dict) else inner
            counts = Counter()
            for item in items:
                folder = _snake_case(item["class_name"])
                number = counts[folder]
                counts[folder] += 1
                self._folders[item["config"]["name"]] = f"layers/{folder}_{number}" if number else f"layers/{folder}"

    def of(self, layer, names):
        """Arrays of a layer, in the order of ``names``; a bias that the layer says it has not is left out."""
        if not layer.config.get("use_bias", True):
            names = [name for name in names if name != "bias"]
        paths = self._legacy_paths(layer) if self._legacy else self._paths(layer, len(names))
        subject = f"{self._path}: {layer.name}"
        if self._legacy and set(paths) != set(names):
            raise ModelError(subject, f"arrays {', '.join(sorted(paths)) or 'none'}", f"must be {', '.join(names)}")
        return [self._read(paths[name if self._legacy else at], f"{subject}: {name}") for at, name in enumerate(names)]

    def _legacy_paths(self, layer):
        """Name -> path of the arrays that a layer's group lists."""
        root = "model_weights/" if "model_weights" in self._file else ""
        group = self._file.get(f"{root}{layer.name}")
        listed = [] if group is None else list(np.ravel(group.attrs.get("weight_names", [])))[:16]
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in listed]
        if layer.direction is not None:  # both directions, the first one first
            texts = np.array_split(texts, 2)[layer.direction].tolist()
        return {re.sub(r":\d+$", "", text.rpartition("/")[2]): f"{root}{layer.name}/{text}" for text in texts}

    def _paths(self, layer, count):
        folder = self._folders[layer.name]
        inner = "/cell" if layer.kind in RECURRENT else "/layer" if layer.wrapped else ""
        inner = inner if layer.direction is None else f"/{_DIRECTIONS[layer.direction]}{inner}"
        group = self._file.get(f"{folder}{inner}/vars")
        if group is None or len(group) != count:
            found = "missing" if group is None else f"{len(group)} arrays"
            raise ModelError(f"{self._path}: {layer.name}", found, f"must have {count} arrays in {folder}{inner}/vars")
        return [f"{folder}{inner}/vars/{number}" for number in range(count)]

    def _read(self, path, subject):
        import h5py

        at, parts = self._file, path.split("/")
        for part in parts:
            if not isinstance(at, h5py.Group) or not isinstance(at.get(part, getlink=True), h5py.HardLink):
                raise ModelError(subject, f"no array {path}", "must be in the file itself")
            at = at[part]
        if not isinstance(at, h5py.Dataset) or at.is_virtual or at.external or at.dtype.kind != "f":
            raise ModelError(subject, "no array of floating-point numbers", "must be in the file itself")
        if at.size is None or at.size > MAX_VALUES:
            raise ModelError(subject, f"shape {at.shape}", f"must not exceed {MAX_VALUES} values")
        return at[()].astype(np.float64)


def _snake_case(name):
    """Keras's name of a folder of a class of layers: LSTM -> lstm, TimeDistributed -> time_distributed."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
