"""Runs in the files that TensorBoard reads: scalars, hyperparameters for its HParams page, and text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.metadata import NULL_TENSOR as NOTHING
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from adamtune.exports.runs import Run

FILE = "events.out.tfevents.adamtune"
"""TensorBoard reads the files whose name has ``tfevents`` in it."""
STATUSES = {
    "complete": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "running": api_pb2.STATUS_RUNNING,
}
"""TensorBoard's status of each state; that of a failure of any other."""


class TensorboardTarget:
    """The runs of a study as a folder each: ``STUDY`` for the study, ``STUDY/trial-N`` for its trials.

    The same run makes the same bytes. A file that is there is left if it is equal, is appended to if it is
    the beginning of the new one (so that a TensorBoard that reads it sees a training continue), and is
    replaced otherwise.

    Args:
        place: the log folder, which is made if it is not there.
        study: the name of the study.
    """

    def __init__(self, place: str, study: str) -> None:
        self._folder = Path(place).expanduser() / folder_name(study)
        self._written: dict[int | None, str] = {}

    def write(self, run: Run) -> bool:
        """Writes a run; see ``Target.write``."""
        if self._written.get(run.trial) == run.fingerprint:
            return False
        changed = self._write(run)
        self._written[run.trial] = run.fingerprint
        return changed

    def _write(self, run: Run) -> bool:
        folder = self._folder if run.trial is None else self._folder / f"trial-{run.trial:05}"
        folder.mkdir(parents=True, exist_ok=True)
        path, content = folder / FILE, _records(_events(run))
        there = path.read_bytes() if path.exists() else b""
        if there == content:
            return False
        if there and content.startswith(there):
            with path.open("ab") as file:
                file.write(content[len(there) :])
            return True
        part = path.with_name("part")
        part.write_bytes(content)
        part.replace(path)
        return True

    def close(self) -> None:
        """Does nothing: every file is closed."""


def folder_name(study: str) -> str:
    """A name of a folder for a study; of different studies different ones."""
    safe = re.sub(r"[^\w-]", "_", study)[:100]
    return safe if safe == study else f"{safe}-{sha256(study.encode()).hexdigest()[:8]}"


def _records(events: Iterator[Event]) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for each in events:
        writer.write(each.SerializeToString(deterministic=True))
    return buffer.getvalue()


def _events(run: Run) -> Iterator[Event]:
    """The events of a run in the order in which they happen, so that those of a longer run begin alike."""
    begun, ended = _seconds(run.begun), _seconds(run.ended)
    yield Event(wall_time=begun, file_version="brain.Event:2")
    for name, values in run.points.items():
        for step, value in values.items():
            scalar = Summary.Value(tag=name, simple_value=value)
            yield Event(wall_time=begun, step=step, summary=Summary(value=[scalar]))
    if run.state != "running":
        last = max((step for values in run.points.values() for step in values), default=0)
        session = [] if run.trial is None else [_session_start(run, begun), _session_end(run, ended)]
        yield Event(wall_time=ended, step=last, summary=Summary(value=[_text(run.tags), *session]))


def _session_start(run: Run, begun: float) -> Any:
    """What the HParams page shows of a trial beside its metrics: its settings, and its state as one more."""
    info = plugin_data_pb2.SessionStartInfo(group_name=run.name, start_time_secs=begun)
    for name, value in {"state": run.state, **run.params}.items():
        _set(info.hparams[name], value)
    return _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def _session_end(run: Run, ended: float) -> Any:
    status = STATUSES.get(run.state, api_pb2.STATUS_FAILURE)
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    return _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def _hparams(tag: str, **info: Any) -> Any:
    data = plugin_data_pb2.HParamsPluginData(**info, version=metadata.PLUGIN_DATA_VERSION)
    described = metadata.create_summary_metadata(data)
    # Again, because settings are a map, whose order is by chance otherwise.
    described.plugin_data.content = data.SerializeToString(deterministic=True)
    return Summary.Value(tag=tag, metadata=described, tensor=NOTHING)


def _set(field: Any, value: Any) -> None:
    """Sets a hyperparameter: a switch, a number or a text."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = value if isinstance(value, str) else json.dumps(value)


def _text(tags: Mapping[str, str]) -> Any:
    """The tags as one text in Markdown, a line each."""
    lines = "".join(f"- **{name}**: {value}\n" for name, value in tags.items())
    tensor = TensorProto(dtype=DT_STRING, string_val=[lines.encode()], tensor_shape=TensorShapeProto())
    return Summary.Value(tag="about", metadata=text_metadata("about", ""), tensor=tensor)


def _seconds(time: datetime | None) -> float:
    """A naive UTC time in seconds since 1970; 0 where there is none."""
    return time.replace(tzinfo=UTC).timestamp() if time else 0.0
