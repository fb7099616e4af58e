"""The report of predictions: one self-contained HTML page with a card for each record."""
