"""From a model and files to predictions, reconstructed records and exports."""
