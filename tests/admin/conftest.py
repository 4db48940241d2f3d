from __future__ import annotations

import pytest
from django.test import Client

from tests.admin.staff import client_of, make_groups, member


@pytest.fixture
def groups(db: None) -> None:
    """The groups, also after another test has flushed the database."""
    make_groups()


@pytest.fixture
def boss(groups: None) -> Client:
    """The browser of a superuser."""
    return client_of(member("boss", is_superuser=True))


@pytest.fixture
def reviewer(groups: None) -> Client:
    """The browser of somebody who may look and review."""
    return client_of(member("rita", group="reviewer"))


@pytest.fixture
def approver(groups: None) -> Client:
    """The browser of somebody who may also decide."""
    return client_of(member("abe", group="approver"))


@pytest.fixture
def chief(groups: None) -> Client:
    """The browser of somebody who may do everything that the admin offers for conversations."""
    return client_of(member("carl", group="admin"))
