"""The report as text: what a reader sees of which figures."""

import re

import pytest

from meantime.guard.findings import Finding, Place
from meantime.see.report import Found, Report, WaitPlace
from meantime.see.suggestions import Suggestion
from meantime.see.text import full_text, in_colours, percent, seconds, short_text


def report(**changes):
    figures = {
        "program": "program.py",
        "backend": "io_uring",
        "wall_s": 3.5,
        "ran_s": 3.0,
        "busy_s": 0.3,
        "waited_s": 6.0,
        "at_once_max": 3,
    }
    return Report(**(figures | changes))


def finding(line=7, kind="blocked", spent_s=0.5, **changes):
    return Finding(
        kind=kind,
        what="the loop was held up",
        why="Nothing else can run meanwhile.",
        advice="await asyncio.sleep(0.5)",
        place=Place("program.py", line, "main", "time.sleep(0.5)"),
        spent_s=spent_s,
        **changes,
    )


SUGGESTION = Suggestion(
    file="program.py",
    lines=(3, 4, 5),
    function="main",
    source="await a()",
    instead="await asyncio.gather(a(), b(), c())",
    is_loop=False,
    took_s=6.0,
    at_once_s=3.0,
    saved_s=30.0,
    call_count=10,
)


@pytest.mark.parametrize(
    ("spent_s", "text"),
    [
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.0994, "99 ms"),
        (0.25, "0.25 s"),
        (0.996, "1.0 s"),
        (3.04, "3.0 s"),
        (99.6, "100 s"),
        (599, "599 s"),
        (600, "10 min"),
        (7200, "2.0 h"),
    ],
)
def test_a_time_has_a_unit_and_two_or_three_digits(spent_s, text):
    assert seconds(spent_s) == text


@pytest.mark.parametrize(
    ("part", "text"), [(0, "0 %"), (0.001, "below 1 %"), (0.1, "10 %"), (1, "100 %")]
)
def test_what_is_not_nothing_is_not_0_percent(part, text):
    assert percent(part) == text


def test_the_first_line_says_how_much_was_waited_in_how_long():
    assert short_text(report()).splitlines()[1] == (
        "Waited 6.0 s in 3.0 s: up to 3 things at once, 2.0 on average."
    )


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"at_once_max": 1, "waited_s": 3.0}, "one thing at a time."),
        ({"at_once_max": 2, "waited_s": 1.0}, "up to 2 things at once, mostly fewer."),
        ({"at_once_max": 0, "waited_s": 0.0}, "no task had to wait."),
    ],
)
def test_other_programs_are_told_so(figures, words):
    assert short_text(report(**figures)).splitlines()[1].endswith(words)


def test_a_program_without_faults_is_told_so():
    assert "Nothing held it up, and nothing was left behind." in short_text(report())
    assert "Nothing held it up" not in short_text(report(findings=[Found(finding(), 1)]))


def test_where_nobody_looked_nothing_is_promised():
    unguarded = report(findings=None)
    assert "Nothing held it up" not in short_text(unguarded)
    assert unguarded.as_dict()["findings"] is None


def test_a_finding_has_its_place_its_source_and_its_advice():
    text = short_text(report(findings=[Found(finding(), 3)]))
    assert "Held up everything else:" in text
    assert "  program.py:7  time.sleep(0.5)\n" in text
    assert "the loop was held up (3 times)" in text
    assert "> await asyncio.sleep(0.5)" in text
    assert "Nothing else can run meanwhile." not in text


def test_the_full_report_says_why_and_lists_the_longest_steps():
    steps = [Found(finding(line, spent_s=line / 10), 1) for line in range(1, 9)]
    places = [WaitPlace("program.py", 13, "cook", "await asyncio.sleep(seconds)", 6.0)]
    text = full_text(report(findings=steps, places=places))
    assert "Nothing else can run meanwhile." in text
    assert "6.0 s  program.py:13  await asyncio.sleep(seconds)" in text
    longest = text.partition("Longest steps:\n")[2].splitlines()[0]
    assert longest.split() == ["0.80", "s", "program.py:8", "time.sleep(0.5)"]


def test_the_full_report_says_how_late_the_loop_was():
    text = full_text(report(lags=[(0.0, 90), (0.000002, 9), (0.262144, 1)]))
    assert "lag          < 2 us" in text
    assert "< 0.26 s at worst" in text


def test_where_nobody_looked_no_lag_is_told():
    for lags in (None, [], [(0.0, 0), (0.000002, 0)]):
        assert "  lag " not in full_text(report(lags=lags))


def test_the_short_report_stays_short():
    text = short_text(report(findings=[Found(finding(line), 1) for line in range(1, 100)]))
    assert "and at 94 more places" in text
    assert "--report full" in text
    assert len(text.splitlines()) < 30


def test_a_suggestion_is_worded_as_one():
    text = " ".join(short_text(report(suggestions=[SUGGESTION])).split())
    assert "One after the other, perhaps without need:" in text
    assert (
        "program.py:3 await a() this and lines 4 and 5 waited one after the other: 6.0 s, of which "
        "3.0 s could perhaps be saved (30.0 s in 10 calls)"
    ) in text
    assert "if their order does not matter: await asyncio.gather(a(), b(), c())" in text


def test_no_number_is_parted_from_its_unit():
    text = short_text(report(suggestions=[SUGGESTION]))
    assert not any(line.endswith(tuple("0123456789")) for line in text.splitlines())
    assert text.isascii()


def test_a_finding_of_a_new_kind_is_shown():
    text = short_text(report(findings=[Found(finding(kind="something_new"), 1)]))
    assert "Something new:" in text


def test_a_finding_without_a_place_is_shown():
    lost = Finding(kind="deadlock", what="nothing moves", why="Why.", advice="look")
    assert "    nothing moves" in short_text(report(findings=[Found(lost, 1)]))


def test_colours_change_nothing_but_colours():
    plain = full_text(report(findings=[Found(finding(), 1)], suggestions=[SUGGESTION]))
    painted = full_text(
        report(findings=[Found(finding(), 1)], suggestions=[SUGGESTION]), in_colours
    )
    assert painted != plain
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


def test_the_json_has_what_the_reference_names():
    found = report(findings=[Found(finding(), 2)], suggestions=[SUGGESTION]).as_dict()
    assert found["at_once_average"] == 2.0
    assert found["findings"][0]["count"] == 2
    assert found["findings"][0]["place"]["line"] == 7
    assert found["suggestions"][0]["lines"] == (3, 4, 5)
