"""Leave sphinx_comments out: Jupyter Book sets `comments_config` even so, and Sphinx would warn."""

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Declare the setting, which nothing reads."""
    app.add_config_value("comments_config", {}, "html")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
