"""What came of a sweep: a row for each run, read from its folder; tables, files, the winner.

Runs that differ only in their seed are one setting, and settings are compared by their means.
Validation accuracy decides which one wins. Test is looked at, never selected on.
"""

import contextlib
import csv
import io
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from mnist_mlp import config as config_lib
from mnist_mlp.errors import HeldError
from mnist_mlp.run import durable
from mnist_mlp.run.hparams import setting_id
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps.member import DIVERGED, FINISHED, STOPPED, UNFINISHED, Member
from mnist_mlp.sweeps.points import swept
from mnist_mlp.sweeps.sweep import Sweep

with epy.lazy_imports():  # matplotlib is needed only in the end, and takes half a second.
  from mnist_mlp.sweeps import figures

# The cross-entropy can be compared where the loss itself is swept.
_OF_VALIDATION = ("accuracy", "loss", "cross_entropy")
# What is measured, by its name in a row.
MEASURES = (*(f"validation_{name}" for name in _OF_VALIDATION), "test_error_percent")

_ORDER = (FINISHED, STOPPED, DIVERGED, UNFINISHED)

Row = dict[str, Any]


def rows_of(members: Sequence[Member]) -> list[Row]:
  """Returns the rows of some members, the best first: a function of configs and data alone.

  A row has 'point', 'name', 'setting', 'status', 'epoch', the swept fields by their dotted names,
  MEASURES, and 'population', the number of runs that trained in one program; None where there is no
  such number. The last bits of a result may depend on the population.
  """
  fields = swept(member.point for member in members)
  return sorted((_row(member, fields) for member in members), key=_rank)


def _row(member: Member, fields: Sequence[str]) -> Row:
  status, result = member.status(), member.folder.result()
  epoch, validation = _reached(member, result)
  flat = config_lib.flatten(member.config)
  flat["batch_size"] = (result or {}).get("batch_size", flat["batch_size"])  # It may have shrunk.
  return {
    "point": member.point.index,
    "name": member.name,
    "setting": setting_id(member.config),
    "status": status,
    "epoch": epoch,
    **{name: flat[name] for name in fields},
    **{f"validation_{name}": validation.get(name) for name in _OF_VALIDATION},
    "test_error_percent": result and result["test"]["error_percent"],
    "population": result and result.get("population", 1),
  }


def _reached(member: Member, result: Mapping[str, Any] | None) -> tuple[float, Mapping[str, Any]]:
  """Returns the epochs that a member has trained, and what its last validation found."""
  if result:  # The rows of a finished run may be lost without harm to it.
    return result.get("epochs", 0.0), result.get("validation") or {}
  last = (member.folder.metrics() or [{}])[-1]
  return last.get("epoch", 0.0), {name: last.get(f"validation/{name}") for name in _OF_VALIDATION}


def _rank(row: Row) -> tuple:
  accuracy = row["validation_accuracy"]
  further = 0 if row["status"] == FINISHED else -row["epoch"]  # Lengths may be swept.
  return (
    _ORDER.index(row["status"]),
    further,
    -(-math.inf if accuracy is None else accuracy),
    row["point"],
  )


def settings_of(rows: Sequence[Row]) -> list[Row]:
  """Returns a row for each setting, the best first: its first run's row, with means over seeds.

  The row has 'runs' besides, and for each of MEASURES '<measure>_std', which is None for a single
  run. The status is the worst of the runs. Runs that got to different epochs have no mean.
  """
  by_setting: dict[str, list[Row]] = {}
  for row in rows:
    by_setting.setdefault(row["setting"], []).append(row)
  return sorted((_setting(same) for same in by_setting.values()), key=_rank)


def _setting(rows: Sequence[Row]) -> Row:
  setting = {**rows[0], "runs": len(rows)}
  setting["status"] = max((row["status"] for row in rows), key=_ORDER.index)
  if len(rows) > 1:
    setting.pop("seed", None)
  comparable = len({row["epoch"] for row in rows}) == 1
  for name in MEASURES:
    values = [row[name] for row in rows if comparable and row[name] is not None]
    complete = len(values) == len(rows)
    setting[name] = statistics.fmean(values) if complete else None
    setting[f"{name}_std"] = statistics.stdev(values) if complete and len(values) > 1 else None
  return setting


def winner(settings: Sequence[Row]) -> Row | None:
  """Returns the finished setting of highest validation accuracy, if there is one."""
  for row in settings:
    if row["status"] == FINISHED and row["validation_accuracy"] is not None:
      return row
  return None


def unfinished(rows: Sequence[Row]) -> int:
  """Returns how many runs still have to train."""
  return sum(row["status"] == UNFINISHED for row in rows)


def write(sweep: Sweep) -> list[Row]:
  """Writes sweep.json, sweep.csv and sweep.png; returns the rows.

  Several processes may do so: what counts is in the members' folders. Runs in the folder that are
  no points of the sweep any more have no rows; sweep.json names them under 'left'.
  """
  place = Workdir(sweep.folder)
  with contextlib.ExitStack() as stack:
    _wait_for(place, stack)
    rows = rows_of(sweep.members)
    place.write_json("sweep.json", {"runs": rows, "left": sweep.folders.left})
    place.write_text("sweep.csv", _csv(rows))
    _write_figure(sweep.folder, rows)
  return rows


def _wait_for(place: Workdir, stack: contextlib.ExitStack) -> None:
  while True:
    try:
      return stack.enter_context(place.lock())
    except HeldError:
      time.sleep(0.1)


def _csv(rows: Sequence[Row]) -> str:
  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(
    {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in row.items()}
    for row in rows
  )
  return text.getvalue()


def _write_figure(folder: Path, rows: Sequence[Row]) -> None:
  known = config_lib.flatten(config_lib.default())
  measured = [row for row in rows if row["validation_accuracy"] is not None]
  if not measured:
    return
  fields = {name: [row[name] for row in measured] for name in rows[0] if name in known}
  errors = [100 * (1 - row["validation_accuracy"]) for row in measured]
  figure = figures.sweep(fields, errors)
  content = io.BytesIO()
  figure.savefig(content, format="png", dpi=100)
  durable.write(folder / "sweep.png", content.getvalue())


def table(rows: Sequence[Row]) -> str:
  """Returns the rows as aligned text: seeds as means, plus or minus their standard deviation."""
  known = config_lib.flatten(config_lib.default())
  settings = settings_of(rows)
  fields = [name for name in settings[0] if name in known]
  several = any(setting["runs"] > 1 for setting in settings)
  header = [
    "rank",
    *map(_short_name, fields),
    *(["runs"] if several else []),
    "validation %",
    "cross-entropy",
    "test error %",
    "status",
  ]
  lines = [header]
  for rank, setting in enumerate(settings, 1):
    lines.append(
      [
        str(rank),
        *(_text(setting.get(name, "")) for name in fields),
        *([str(setting["runs"])] if several else []),
        _number(setting, "validation_accuracy", 100),
        _number(setting, "validation_cross_entropy", 1, 4),
        _number(setting, "test_error_percent", 1),
        setting["status"],
      ]
    )
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
  )


def _short_name(name: str) -> str:
  leaf = name.rpartition(".")[2]
  return name if leaf == "name" else leaf


def _text(value: Any) -> str:
  return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(setting: Mapping[str, Any], name: str, factor: float, digits: int = 2) -> str:
  if setting[name] is None:
    return "-"
  std = setting[f"{name}_std"]
  spread = "" if std is None else f" ± {factor * std:.{digits}f}"
  return f"{factor * setting[name]:.{digits}f}{spread}"
