"""How long the chunks are in which the device gets its steps: as long as the host can wait."""

# A chunk should take no longer, so that signals and the progress bar need not wait.
_CHUNK_SECONDS = 4.0
_FIRST_STEPS = 8  # of the first chunk, if they are dispatched one by one
# Operations a second that are assumed until the first chunk has been timed.
_ASSUMED_FLOPS = 1e11


class Pace:
  """How many steps a chunk may take."""

  def __init__(self, weights: int, examples: int, scanned: bool = True):
    """Guesses, for a net of that many weights and so many examples a step.

    If a chunk is no `scanned` program, its steps compute while they are dispatched.
    """
    flops = 6 * weights * examples  # of a step: two forward, four backward for each weight
    self.scanned = scanned
    # Without a scan no length has to be compiled, and weights say less.
    self.limit = max(1, int(_CHUNK_SECONDS * _ASSUMED_FLOPS / flops)) if scanned else _FIRST_STEPS

  def adapt(self, num_steps: int, waited: float) -> None:
    """Makes chunks shorter if the host waits long for one, longer if it hardly waits."""
    if waited > _CHUNK_SECONDS:
      self.limit = max(1, num_steps // 2)
    elif waited < _CHUNK_SECONDS / 8:
      self.limit = max(self.limit, 4 * num_steps)
