"""A run of `small.dataset()`, as `run.open_run` gives it, with a console that keeps its lines."""

import small

from mnist_mlp.run.console import Console
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.run import Run, check_sizes
from mnist_mlp.run.workdir import Workdir


class Lines(Console):
  """A console that keeps its lines and shows nothing."""

  def __init__(self):
    super().__init__(quiet=True)
    self.lines = []

  def line(self, text):
    self.lines.append(text)


def run_of(path, **changes):
  """Returns the run of a small config, with fields changed, in the folder `path`."""
  c, dataset = small.config_of(**changes), small.dataset()
  path.mkdir(exist_ok=True)
  return Run(
    config=c,
    dataset=dataset,
    folder=Workdir(path),
    console=Lines(),
    timetable=Timetable.of(c, check_sizes(c, dataset)),
    environment={"devices": "2 x of a test", "packages": {}},
  )
