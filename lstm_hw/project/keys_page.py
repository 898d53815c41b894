"""The keys of a configuration file as a page of the documentation: ``python -m lstm_hw.project.keys_page``."""

from dataclasses import MISSING, fields

from .keys import SECTION_CLASSES, follows


def to_markdown() -> str:
    """The keys of a configuration file as a page: section, key, default, meaning."""
    lines = [
        "# Configuration file",
        "",
        "Generated from `lstm_hw/project/keys.py` by `python -m lstm_hw.project.keys_page`; do not edit.",
        "",
        "A TOML file. `name` at the top names the results' folder; without it, that is the file's stem. Paths of "
        "inputs are relative to the file, those of outputs to the current folder. `lstm-hw quantize` writes the "
        "file with every key spelled out to `build/<name>/resolved.toml`.",
        "",
    ]
    for section, cls in SECTION_CLASSES.items():
        lines += [f"## [{section}]", "", "| key | default | meaning |", "| --- | --- | --- |"]
        lines += [f"| {f.name} | {_default(section, f)} | {f.metadata['doc']} |" for f in fields(cls)] + [""]
    return "\n".join(lines)


def _default(section, f):
    if f.default is MISSING:
        return "must be given"
    if follows(section, f.name):
        return "follows"
    if f.default is None:
        return "none"
    return f"`{str(f.default).lower() if isinstance(f.default, bool) else f.default}`"


if __name__ == "__main__":
    print(to_markdown(), end="")
