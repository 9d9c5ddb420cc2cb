"""One run and the outside world: files, the terminal, TensorBoard, signals, clocks.

run           a run: config, data, folder; what must be right before it starts
loop          the loop that trains, shared by lone runs and populations; pace: how long chunks are
result        the content of result.json
workdir       the folder of a run
history       the rows of metrics.jsonl
resuming      where a start goes on; trained: what a run has come to, read only
origin        the run that another one starts from
checkpoint    Orbax; checkpoint_files: what it leaves; digests: whether one is whole;
              literal: folders of odd names
durable       files that outlive a loss of power
reporting     what a run reports; tensorboard, hparams, figures, curves, calibration: how
views         evaluations of runs as frames and curves, for notebooks
console       lines and a progress bar
compilation   the compilation cache, whole and damaged; a line for what compiles for long
environment   signals, the compilation cache, versions and devices
memory        how much is left, and what cannot fit
distributed   several processes that train one run; team: what they tell each other; link: how
placement     where the data of a run lie: on the device, or on the host
profile       a trace of some steps
config_files  config files, those that come with the program, and what is wrong with them
field_help    the fields of the config for --help
config_json   configs that runs have kept, those of earlier versions included
cli           what all commands share
"""
