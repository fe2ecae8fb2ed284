"""Every rule that is broken on purpose makes a test fail: the table is in mutations.py."""

import pytest
from mutations import MUTATIONS, attempt


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_rule_is_noticed(mutation):
    assert attempt(mutation) == "caught"


def test_names_are_unique():
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names)
