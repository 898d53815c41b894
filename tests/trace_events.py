"""A strict reader of the Trace Event Format, for files of complete events: what viewers forgive is an error here.

The format is that of Google's document "Trace Event Format"; of its phases these files have metadata (M) and complete
events (X). Perfetto's own trace processor comes by a network only.
"""

import json
from itertools import pairwise

FIELDS = {"M": {"name", "ph", "pid", "tid", "args"}, "X": {"name", "cat", "ph", "pid", "tid", "ts", "dur", "args"}}
METADATA = {"process_name": str, "thread_name": str, "thread_sort_index": int}
"""Name of a metadata event -> type of its only argument, whose name is the last word."""


def read(text):
    """(process, thread) -> name and complete events; AssertionError where the file is not as the format says."""
    made = json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    assert set(made) <= {"traceEvents", "displayTimeUnit", "otherData"} and made["displayTimeUnit"] in ("ms", "ns")
    processes, threads, spans = {}, {}, {}
    for event in made["traceEvents"]:
        assert set(event) == FIELDS[event["ph"]], event
        assert type(event["pid"]) is int and type(event["tid"]) is int and isinstance(event["args"], dict), event
        where = event["pid"], event["tid"]
        if event["ph"] == "M":
            argument = {"process_name": "name", "thread_name": "name"}.get(event["name"], "sort_index")
            assert list(event["args"]) == [argument], event
            assert type(event["args"][argument]) is METADATA[event["name"]], event
            if event["name"] == "process_name":
                assert processes.setdefault(event["pid"], event["args"]["name"]) == event["args"]["name"]
            elif event["name"] == "thread_name":
                assert where not in threads and event["args"]["name"]
                threads[where], spans[where] = event["args"]["name"], []
            continue
        assert event["pid"] in processes and where in threads, "names come first"
        assert event["ts"] >= 0 and event["dur"] >= 0 and event["name"] and event["cat"], event
        spans[where].append(event)
    for events in spans.values():
        for turned in (int, round):  # into nanoseconds, as viewers do
            times = [(turned(event["ts"] * 1000), turned(event["dur"] * 1000)) for event in events]
            assert all(ts + dur <= after for (ts, dur), (after, _) in pairwise(times)), "events overlap or go back"
    return {threads[where]: events for where, events in spans.items()}


def _once(pairs):
    assert len(dict(pairs)) == len(pairs), "a key twice"
    return dict(pairs)


def _refused(name):
    raise AssertionError(f"{name} is no JSON")
