//! The training loop of Motley: collection, evaluation, checkpoints, signals.
