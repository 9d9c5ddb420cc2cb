"""A run's net, as one of its checkpoints holds it, and committees of several nets."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp.core import losses
from mnist_mlp.core.probabilities import log_probabilities, probabilities
from mnist_mlp.core.state import TrainState
from mnist_mlp.errors import UsageError
from mnist_mlp.run import placement, trained
from mnist_mlp.run.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Net:
  """A run's net, as one of its checkpoints holds it."""

  folder: Workdir
  config: ConfigDict
  facts: dict[str, Any]  # dataset.json: what the run was trained on
  state: TrainState
  step: int  # that of the checkpoint
  temperature: float | None = None  # fitted on validation when the run ended; None: it was not

  @property
  def members(self) -> tuple["Net", ...]:
    """Itself: the net as a committee of one."""
    return (self,)

  @property
  def class_names(self) -> list[str]:
    """The names of the classes, in the order of the logits."""
    return self.facts["class_names"]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return trained.spec_of(self.facts).image_shape

  def logits(self, images: np.ndarray) -> np.ndarray:
    """Returns the logits, float32 [N, classes], of images, uint8 [N, H, W, C].

    If the run evaluates averaged weights, the logits are those of the averaged weights.
    """
    if not len(images):  # No batch can be made of them.
      return np.zeros((0, len(self.class_names)), np.float32)
    return placement.logits_of(self.state, images, self._frozen)

  @functools.cached_property
  def _frozen(self) -> FrozenConfigDict:
    return FrozenConfigDict(self.config)  # takes as long as asking a small net

  def probabilities(self, logits: np.ndarray, *, calibrated: bool = True) -> np.ndarray:
    """Returns float64 [N, classes], rows that sum to 1, as the run's loss understands its logits.

    They are computed in float32, so that an exported program gives the same bits.

    Args:
      logits: float32 [N, classes].
      calibrated: whether the temperature is used, if there is one.
    """
    scores = log_probabilities(self.config.loss.name, np.asarray(logits, np.float32))
    surer = self.inverse_temperature if calibrated else np.float32(1)
    return np.asarray(probabilities(scores, surer), np.float64)

  @property
  def inverse_temperature(self) -> np.float32:
    """By what logarithms of probabilities are multiplied; 1 if no temperature was fitted."""
    return np.float32(1 / (self.temperature or 1.0))

  def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the run's loss of each example, float32 [N].

    Args:
      logits: float32 [N, classes].
      labels: int32 [N].
    """
    smoothing = self.state.scalars["label_smoothing"]
    return np.asarray(
      losses.per_example(self.config.loss, jnp.asarray(logits), jnp.asarray(labels), smoothing)
    )


@dataclasses.dataclass(frozen=True)
class Committee:
  """Several nets of runs on the same data, whose probabilities are averaged; used like one net.

  Each net is calibrated before, if its run has a temperature.

  Meier et al., "Better digit recognition with a committee of simple neural nets", 2011.
  """

  members: tuple[Net, ...]

  @property
  def folder(self) -> Workdir:
    """The folder of the first member."""
    return self.members[0].folder

  @property
  def config(self) -> ConfigDict:
    """The config of the first member."""
    return self.members[0].config

  @property
  def facts(self) -> dict[str, Any]:
    """What the first member was trained on. The others were trained on the same data."""
    return self.members[0].facts

  @property
  def class_names(self) -> list[str]:
    """The names of the classes, in the order of the logits."""
    return self.members[0].class_names

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return self.members[0].image_shape

  def logits(self, images: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the mean probabilities, float64 [N, classes]."""
    members = [member.probabilities(member.logits(images)) for member in self.members]
    return logarithms(np.mean(members, axis=0))

  def probabilities(self, logits: np.ndarray) -> np.ndarray:
    """Returns float64 [N, classes], rows that sum to 1."""
    return np.exp(logits)

  def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the cross-entropy of each example, float64 [N], whatever the members' losses are."""
    return -logits[np.arange(len(labels)), labels]


def logarithms(probabilities: np.ndarray) -> np.ndarray:
  """Returns the logarithms of probabilities, float64; of 0, that of the smallest float32.

  Nets compute in float32, where what is smaller than that number becomes 0.
  """
  return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny, dtype=np.float64))


def load_nets(workdirs: Sequence[str | os.PathLike], *, best: bool = False) -> Net | Committee:
  """Returns the net of a run, or the committee of several.

  Args:
    workdirs: the folders of the runs, at least one.
    best: takes the checkpoint of the best validation accuracy of each run, not its last one.

  Raises:
    UsageError, RunError: as `load_run`; or the runs were trained on different data.
  """
  first, *others = (load_run(workdir, best=best) for workdir in workdirs)
  for net in others:
    if net.facts["fingerprint"] != first.facts["fingerprint"]:
      raise UsageError(
        f"a committee needs runs on the same data, but {net.folder.path} was trained on other "
        f"data ({net.facts['name']}) than {first.folder.path} ({first.facts['name']})"
      )
  return Committee((first, *others)) if others else first


def load_run(workdir: str | os.PathLike, *, best: bool = False) -> Net:
  """Returns the net of a run, which may still be training. Needs no data and writes nothing.

  Args:
    workdir: the run's folder.
    best: takes the checkpoint of the best validation accuracy, not the last one.

  Raises:
    UsageError: the folder is not there, or holds no run.
    RunError: the run has no checkpoint yet, or its files are damaged.
  """
  found = trained.read(workdir, best=best)
  return Net(found.folder, found.config, found.facts, found.state, found.step, found.temperature)
