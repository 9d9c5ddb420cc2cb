"""Groups: which configs share a program, their first states, and the memory that they need."""

import jax
import pytest
import small
from stacking import configs_of

from mnist_mlp import config
from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.core.traced import traced
from mnist_mlp.errors import UsageError
from mnist_mlp.run.run import check_sizes
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import TRACED, Group, group_key


@pytest.mark.parametrize(
  ("field", "value", "same"),
  [
    ("seed", 5, True),
    ("optimizer.learning_rate", 0.3, True),
    ("optimizer.b1", 0.0, True),
    ("loss.label_smoothing", 0.1, True),
    ("model.dropout", 0.3, True),
    ("model.dropout", 0.0, False),
    ("augment.rotation", 5.0, False),
    ("optimizer.clip_norm", 1.0, False),
    ("optimizer.weight_decay", 0.1, False),
    ("optimizer.name", "sgd", False),
    ("model.features", (16, 13), False),
    ("schedule.final_scale", 0.1, False),
    ("num_epochs", 6.0, False),
    ("batch_size", 8, False),
  ],
)
def test_groups_are_what_one_program_can_train(field, value, same):
  one = small.config_of(model__dropout=0.1)
  other = small.config_of(**{"model__dropout": 0.1, field.replace(".", "__"): value})
  assert (group_key(one) == group_key(other)) == same


def test_every_traced_value_is_one_that_a_group_ignores():
  """A value that ends in the program's constants would be that of the group for all members."""
  values = traced(small.config_of())
  assert len(TRACED) == 1 + len(values.hyperparameters) + len(values.scalars)
  fields = config.flatten(config.default())
  assert set(TRACED) <= set(fields)


def test_a_config_that_does_not_fit_the_data_is_refused():
  with pytest.raises(UsageError, match=r"config\.batch_size is 16, but optimizer 'lbfgs'"):
    Group(small.config_of(optimizer__name="lbfgs"), small.dataset())


def test_a_batch_larger_than_the_data_shrinks_in_a_group_too():
  group = Group(small.config_of(batch_size=97), small.dataset())
  assert group.config.batch_size == group.static.batch_size == 96
  assert group.timetable.steps_per_epoch == 1
  assert "batches of 96 are used" in group.shrunk
  assert not Group(small.config_of(batch_size=96), small.dataset()).shrunk


def test_a_member_that_cannot_fit_is_refused():
  with pytest.raises(UsageError, match=r"config\.model\.features is \(1000000, 1000000\)"):
    Group(small.config_of(model__features=(1_000_000, 1_000_000)), small.dataset())


def test_devices_share_members_so_that_any_batch_will_do(monkeypatch):
  """A lone run spreads its batches over the devices, and a population its members."""
  monkeypatch.setattr(jax, "device_count", lambda: 3)
  c = small.config_of(batch_size=16, eval_batch_size=17)
  assert Group(c, small.dataset()).timetable.steps_per_epoch == 6
  with pytest.raises(UsageError, match="which the 3 devices cannot share evenly"):
    check_sizes(c, small.dataset())


@pytest.mark.slow
def test_the_estimate_of_memory_covers_what_the_compiler_needs():
  configs = configs_of(
    *({"seed": seed} for seed in range(4)), model__features=(64, 64), model__dropout=0.1
  )
  group = Group(configs[0], small.dataset(train=2000, size=28))
  state = group.create(configs)
  needed = (
    stacked.scan_steps.lower(
      state, stacked.no_metrics(4), group.train, config=group.static, length=ChunkLength(1, 4)
    )
    .compile()
    .memory_analysis()
  )
  taken = needed.temp_size_in_bytes + needed.output_size_in_bytes
  assert 0.5 * taken < 4 * group.bytes_per_member < 6 * taken
