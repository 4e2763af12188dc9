"""Arguments of commands are what they should be, or the message says what was expected and got."""

from argparse import ArgumentTypeError

import pytest

from occfusion_ros.core.command import number


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "-0.1", "10.1", "much", ""])
def test_numbers_that_are_none_or_out_of_range_are_refused(text):
    with pytest.raises(ArgumentTypeError) as raised:
        number(float, 0, 10)(text)
    assert str(raised.value) == f"expected a number of at least 0 and at most 10, got {text!r}"


def test_a_limit_itself_is_in_range_but_where_it_is_not():
    assert [number(float, 0, 10)(text) for text in ("0", "2.5", "1e1")] == [0, 2.5, 10]
    assert number(float, 0, above=True)("1e-9") == 1e-9
    with pytest.raises(ArgumentTypeError, match="expected a number above 0, got '0'"):
        number(float, 0, above=True)("0")


@pytest.mark.parametrize("text", ["1.0", "nan", "inf", "1e3", "-1", "1001"])
def test_counts_are_whole(text):
    assert number(int, 0, 1000)("1000") == 1000
    with pytest.raises(ArgumentTypeError, match="expected a whole number of at least 0 and at most 1,000, got"):
        number(int, 0, 1000)(text)
