"""What is installed, as `doctor` tells it."""

from __future__ import annotations

from teastreams.engine.reporting.doctor import lacking


def test_an_extra_lacks_what_is_not_installed() -> None:
    """Extras for developers are not spoken of, nor is what is needed anyway."""
    requirements = [
        "pyyaml>=6.0",
        'pytest>=7.4; extra == "test"',
        'nowhere-to-be-found>=1; extra == "dev"',
        'PyYAML>=6.0; extra == "view"',
        "nowhere-to-be-found>=1 ; python_version < '4' and extra == 'view'",
        'cloudpickle; extra == "more"',
    ]
    assert lacking(requirements) == {"view": ("nowhere-to-be-found",), "more": ()}
