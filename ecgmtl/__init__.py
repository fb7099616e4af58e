"""Multi-task learning on 12-lead ECGs: one shared encoder that reconstructs the waveform and reads the disease."""

__version__ = "0.1.0"
