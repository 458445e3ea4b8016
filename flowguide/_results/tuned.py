"""The files of a tuning."""

VALIDATION_FILE = "validation.jsonl"
TEST_FILE = "test.jsonl"
TUNED_FILE = "tuned.json"
