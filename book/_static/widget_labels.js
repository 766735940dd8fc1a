// ipywidgets typesets its labels through the queue of MathJax 2; the site has MathJax 3.
window.addEventListener("load", () => {
  MathJax.Hub ??= { Queue: ([, , element]) => MathJax.typesetPromise?.([element]) };
});
