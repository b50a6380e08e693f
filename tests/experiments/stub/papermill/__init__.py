"""A stand-in for papermill in the engine's tests: a cell is a moment's work on what the cells before it left."""
