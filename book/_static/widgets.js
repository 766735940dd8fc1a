// Loaded between require.js and the widgets' html manager, on pages with widgets only.

// The html manager expects its icon fonts beside its modules, which it never loads by address.
const widgets = document.documentElement.dataset.content_root + "_static/vendor/ipywidgets";
requirejs.config({
  paths: { "@jupyter-widgets": widgets, "@jupyter-widgets/html-manager/dist": widgets },
});

// It typesets labels through the queue of MathJax 2; pages with formulas have MathJax 3.
window.addEventListener("load", () => {
  if (window.MathJax) MathJax.Hub ??= { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});

// The handle of a slider gets the name that stands beside it; ipywidgets leaves it without one.
new MutationObserver(() => {
  for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label");
    if (label?.textContent) handle.setAttribute("aria-label", label.textContent);
  }
}).observe(document, { childList: true, subtree: true });
