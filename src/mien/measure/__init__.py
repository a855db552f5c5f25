"""How good a model is: metrics, intervals, agreement with people, comparisons."""
