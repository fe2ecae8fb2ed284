"""What the tests of verification share."""

import pytest
from verify_models import SIGNED, graph, pair


@pytest.fixture
def converted(tmp_path):
    """The paths of a padded pool on signed input and of its conversion."""
    return pair(tmp_path, graph(SIGNED))
