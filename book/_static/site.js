// Every figure of a page opens in full size: a link around it, to the file that it is.
window.addEventListener("load", () => {
  for (const image of document.querySelectorAll(".bd-article img")) {
    if (image.src.startsWith("data:")) continue;
    let link = image.closest("a"); // Sphinx makes one around figures with a width
    if (!link) {
      link = document.createElement("a");
      link.href = image.src;
      image.replaceWith(link);
      link.append(image);
    }
    link.title = "Open in full size";
    link.classList.add("full-size");
    // A wide figure keeps a size at which its text can be read, and scrolls on a narrow screen.
    const own = parseFloat(image.style.width) || image.naturalWidth;
    if (own > 400) image.style.minWidth = `${Math.min(0.75 * own, 780)}px`;
  }
  // What scrolls sideways can be scrolled by keyboard too.
  for (const box of document.querySelectorAll("div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
