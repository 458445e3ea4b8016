"""One interrupt each; `python -m tests.interrupts` has more of them, and all commands."""

from .interrupts import check, commands, interrupt, PLAN


def test_an_interrupt_ends_a_command_in_words_and_it_goes_on(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    for name in ("collect", "train", "evaluate"):
        assert name in commands(tmp_path)
        assert "all went on to their end" in check(name, tmp_path, 1, seed=1)
    # While updates run on the device, where Python's end would be SIGSEGV.
    for attempt in range(4):
        folder = tmp_path / f"again_{attempt}"
        folder.mkdir()
        (folder / "data").symlink_to(tmp_path / "data")
        metrics = folder / "run" / "metrics.jsonl"

        def trains(metrics=metrics):
            return metrics.exists() and metrics.stat().st_size > 0

        code, output, _ = interrupt(commands(folder)["train"], 0.0, trains)
        assert code == 130 and "Traceback" not in output, output
