"""The recipe of the embedded mouth weights: preparing clips that have their own sound, training, evaluation."""
