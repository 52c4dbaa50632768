"""docs/settings.md lists every setting, with its default."""

from __future__ import annotations

from tests.infra import settings_page

TEXT = settings_page.PAGE.read_text()


def test_the_page_lists_every_setting_with_its_default() -> None:
    assert settings_page.written(TEXT) == TEXT, "run `make docs`, and say in the new row what the setting is"


def test_every_setting_is_explained() -> None:
    said = settings_page.remarks(TEXT)
    assert said.keys() == settings_page.defaults().keys()
    assert [name for name, remark in said.items() if not remark] == []
