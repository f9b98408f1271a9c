"""Finished runs as one HTML page that stands by itself: no script, no network, light and dark, on screens and paper."""

from lpft_keras.page.writing import Page, render_page, write_page

__all__ = ["Page", "render_page", "write_page"]
