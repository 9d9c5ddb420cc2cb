"""Populations whose examples are streamed from the host: one order, the same bits."""

import pytest
import small
import sweeping
from training_runs import last_digest

from mnist_mlp import sweeps
from mnist_mlp.errors import UsageError
from mnist_mlp.run import placement
from mnist_mlp.sweeps.population import Population

RATES = [{"optimizer.learning_rate": rate} for rate in (0.001, 0.01)]


def points_of(digits_dir, where, points, **changes):
  c = small.config_of(num_epochs=2.0, data__name="digits", batch_size=50, data__placement=where)
  c.data.update(data_dir=str(digits_dir), validation_examples=300)
  c.model.dropout = 0.2
  return sweeps.check(points, c)


def test_members_are_streamed_together_if_their_seeds_agree(digits_dir, tmp_path):
  points = sweeps.product(RATES, sweeps.grid({"seed": [0, 1, 2]}))
  sweep, lines = sweeping.open_sweep(points_of(digits_dir, "host", points), tmp_path / "host")
  populations = sweep.populations(sweep.members, 0)
  assert [[m.config.seed for m in one.members] for one in populations] == [[0, 0], [1, 1], [2, 2]]
  assert [one.seed() for one in populations] == [0, 1, 2]
  (said,) = [line for line in lines if "populations" in line]
  assert said.startswith("6 runs train as 3 populations, one for each seed:")
  mixed = Population(tmp_path / "host" / "populations" / "x", populations[0].group, sweep.members)
  with pytest.raises(UsageError, match=r"members of 3 seeds, .* --config.data.placement=device"):
    mixed.seed()
  sweep, lines = sweeping.open_sweep(points_of(digits_dir, "device", points), tmp_path / "device")
  (population,) = sweep.populations(sweep.members, 0)
  assert population.seed() == 0
  assert not any("populations" in line for line in lines)


@pytest.mark.slow
def test_a_population_has_the_same_bits_wherever_its_data_lie(
  digits_dir, tmp_path, monkeypatch, optimized
):
  monkeypatch.setattr(placement, "_BLOCK_BYTES", 5 * 50 * 28 * 28)
  device, host = (
    sweeping.train(points_of(digits_dir, where, RATES), tmp_path / where)[0].members
    for where in ("device", "host")
  )
  for one, other in zip(device, host, strict=True):
    assert one.folder.metrics() == other.folder.metrics()
    assert last_digest(one.folder.path) == last_digest(other.folder.path)
    assert one.folder.result()["test"] == other.folder.result()["test"]
