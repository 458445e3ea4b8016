"""Makes pytest collect README and docs: the code on these pages runs. See tests/site/blocks.py."""

from tests.site.blocks import (
    a_folder_with_runs as a_folder_with_runs,
    as_a_reader as as_a_reader,
    pytest_collect_file as pytest_collect_file,
)
