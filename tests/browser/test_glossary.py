"""From a lesson to the glossary, inside it, and back into a lesson, as JupyterLab follows links."""

from tests.browser.lab import Notebook


def test_links_open_the_glossary_as_a_page_and_lead_back_to_a_heading(page, server):
    notebook = Notebook(page, server, "notebooks/02_dqn.ipynb")
    last = notebook.cell(len(notebook.sources) - 1)
    last.get_by_role("link", name="Glossary", exact=True).click()
    glossary = page.locator(".jp-MarkdownViewer:not(.lm-mod-hidden)")
    glossary.get_by_role("heading", name="Glossary").wait_for(timeout=30_000)
    assert glossary.locator("mjx-container").count() > 50, "formulas are typeset"

    target = glossary.get_by_role("heading", name="trust region", exact=True)
    assert not _in_view(target)
    glossary.get_by_role("link", name="T", exact=True).first.click()
    page.wait_for_timeout(1000)
    entry = glossary.get_by_role("heading", name="TD error", exact=True)
    assert _in_view(entry)

    link = glossary.locator("a[href*='03_actor_critic.ipynb'][href*='#Intuition']").first
    link.scroll_into_view_if_needed()
    link.click()
    heading = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").get_by_role(
        "heading", name="Intuition: better than expected?"
    )
    heading.wait_for(timeout=60_000)  # JupyterLab scrolls near it; cells above grow as they render


def _in_view(locator) -> bool:
    box = locator.bounding_box()
    return box is not None and 0 <= box["y"] <= locator.page.viewport_size["height"]
