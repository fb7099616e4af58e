"""Service on this computer: the report page live, and predictions as JSON."""
