"""CausalPose: causal-inspired video human pose estimation, rebuilt, taught and put on trial."""

__version__ = "0.1.0"
