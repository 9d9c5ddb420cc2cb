"""Many runs."""

from mnist_mlp.sweeps.points import *  # noqa: F403
