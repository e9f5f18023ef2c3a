"""The recipe of the embedded mouth weights: data preparation, training, evaluation. Needs clips with their own sound."""
