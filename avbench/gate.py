"""Did it get worse? Margins → verdicts."""
