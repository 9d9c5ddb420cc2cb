"""The command that trains a sweep's winner: the config that it makes."""

import shlex

import pytest
import sweeping

from mnist_mlp import config, main, sweep, sweeps
from mnist_mlp.run import cli
from mnist_mlp.run.config_files import load_config
from mnist_mlp.sweeps import retrain

# Fields that follow others; the sweeps below set one, the other, or both of them.
DERIVED = (
  'c.num_steps = 40; c.schedule.warmup_steps = c.get_ref("num_steps") // 4; '
  'c.ema.decay = c.optimizer.get_oneway_ref("b1"); c.data.name = "digits"'
)


def parsed(command, words):
  return cli.parse(command.main, command.define_flags, ["program", *words], False)


def config_of_main(words):
  """Returns the config that mnist_mlp.main trains for these arguments."""
  return parsed(main, words).flags.config.copy_and_resolve_references()


def retrained(path, point, given=()):
  """Returns what `main` makes of the command for a point of a sweep, and that command."""
  arguments = retrain.overrides(load_config(path), point.config, [*given, *point.overrides])
  words = shlex.split(retrain.command(str(path), arguments, path.parent / "a folder"))
  assert words[:3] == ["python", "-m", "mnist_mlp.main"]
  return config_of_main(words[3:]), words[4:-1]


@pytest.mark.parametrize(
  ("overrides", "expected"),
  [
    ({"num_steps": 80}, 1),  # warmup_steps follows
    ({"schedule.warmup_steps": 7}, 1),
    ({"num_steps": 80, "schedule.warmup_steps": 10}, 2),  # must not follow
    ({"schedule.warmup_steps": 10, "num_steps": 80}, 2),
    ({"optimizer.b1": 0.1 + 0.2}, 1),
    ({"optimizer.b1": 1 / 3, "ema.decay": 0.0}, 2),
    ({"model.features": ()}, 1),
    ({"model.features": [3], "augment.rotation_of": (1, 2)}, 2),
    ({"data.files": 'a folder/it\'s "mine" $HOME, (1, 2) \\n é\n--config.seed=3'}, 1),
    ({"data.offline": ""}, 1),
    ({"ema.evaluate": False, "model.init_biases": True}, 2),
    ({"optimizer.eps": 1e-30 / 3, "optimizer.learning_rate": 1e22, "seed": 2**32 - 1}, 3),
    ({"num_epochs": 4, "optimizer.weight_decay": 123456789.123456789}, 2),
  ],
)
def test_the_command_makes_the_config_of_the_point(tmp_path, overrides, expected):
  path = sweeping.sweep_file(tmp_path, f"def sweep():\n  return [{overrides!r}]", DERIVED)
  (point,) = sweeps.load(path, load_config(path))
  made, arguments = retrained(path, point)
  assert config.to_json(made) == config.to_json(point.config)
  assert len(arguments) == expected


def test_members_follow_the_command_line_of_the_sweep_as_main_does(tmp_path):
  path = sweeping.sweep_file(tmp_path, "def sweep():\n  return [{'num_steps': 80}]", DERIVED)
  given = ["--config.optimizer.b1=0.5", "--config.schedule.warmup_steps=10"]
  line = parsed(sweep, [f"--config={path}", *given])
  (point,) = sweeps.load(path, line.flags.config)
  assert (point.config.ema.decay, point.config.schedule.warmup_steps) == (0.5, 10)
  alone = config_of_main([f"--config={path}", *given, "--config.num_steps=80"])
  assert config.to_json(alone) == config.to_json(point.config)
  made, arguments = retrained(path, point, line.flags["config"].override_values)
  assert config.to_json(made) == config.to_json(point.config)
  assert set(arguments) == {*given, "--config.num_steps=80"}


def test_the_winner_by_lbfgs_gets_the_full_batch_of_all_training_data():
  c = config.default()
  c.batch_size, c.data.validation_examples, c.optimizer.name = 1597, 200, "lbfgs"
  all_data = retrain.on_all_data(c)
  changes = "config.batch_size: 1597 -> 1797, config.data.validation_examples: 200.0 -> 0.0"
  assert config.differences(c, all_data) == changes
  c.batch_size, c.data.validation_examples = 1234, 0.3  # A larger batch than all shrinks.
  assert 0 <= retrain.on_all_data(c).batch_size - 1234 / 0.7 < 2


def test_a_winner_of_another_config_keeps_its_folder(tmp_path):
  c = config.default()
  assert retrain.workdir_for(c, tmp_path) == tmp_path / "winner"
  for name in ("winner", "winner-2"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text(config.to_json(c))
    assert retrain.workdir_for(c, tmp_path) == tmp_path / name
    c.seed += 1
  assert retrain.workdir_for(c, tmp_path) == tmp_path / "winner-3"
