"""One interrupt each; `python -m tests.interrupts` has more of them, and all commands."""

from .interrupts import check, commands, PLAN


def test_an_interrupt_ends_a_command_in_words_and_it_goes_on(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    for name in ("collect", "train", "evaluate"):
        assert name in commands(tmp_path)
        assert "all went on to their end" in check(name, tmp_path, 1, seed=1)
