"""How much one client may say, by a clock of the test's."""

from __future__ import annotations

from vfctl.stream.voice_limit import BYTES_PER_S, MESSAGES_PER_S, VoiceDecision, VoiceLimit

MESSAGE_BYTES = 656


def test_speech_in_real_time_always_passes() -> None:
    limit = VoiceLimit(0)
    assert {limit.admit(MESSAGE_BYTES, now_us) for now_us in range(0, 60_000_000, 20_000)} == {VoiceDecision.RELAY}


def test_more_messages_than_that_are_dropped_and_the_rate_that_passes_is_the_limit() -> None:
    limit = VoiceLimit(0)
    verdicts = [limit.admit(16, now_us) for now_us in range(0, 10_000_000, 1000)]
    passed = verdicts.count(VoiceDecision.RELAY)
    assert 10 * MESSAGES_PER_S <= passed <= 11 * MESSAGES_PER_S
    assert 9 <= verdicts.count(VoiceDecision.DROP_AND_NOTIFY) <= 10


def test_large_messages_count_by_their_bytes() -> None:
    limit = VoiceLimit(0)
    passed = sum(
        64_000 for now_us in range(0, 10_000_000, 100_000) if limit.admit(64_000, now_us) is VoiceDecision.RELAY
    )
    assert 9 * BYTES_PER_S <= passed <= 11 * BYTES_PER_S


def test_who_was_silent_may_not_save_up_more_than_the_burst() -> None:
    limit = VoiceLimit(0)
    verdicts = [limit.admit(16, 3_600_000_000) for _ in range(3 * MESSAGES_PER_S)]
    assert verdicts.count(VoiceDecision.RELAY) == MESSAGES_PER_S
    assert verdicts.count(VoiceDecision.DROP_AND_NOTIFY) == 1
