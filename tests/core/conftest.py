"""The numbers of the core are those of programs as users have them."""

import pytest


@pytest.fixture(autouse=True)
def as_users_have_it(optimized):
  """Compiles every program of these tests as those of users."""
