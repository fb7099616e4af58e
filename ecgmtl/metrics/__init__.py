"""Numbers about predictions. They know no model."""
