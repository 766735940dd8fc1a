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
    // The width that it was drawn for, on which custom.css rests.
    image.style.setProperty("--own", image.style.width || `${image.naturalWidth}px`);
  }
  // What scrolls sideways can be scrolled by keyboard too.
  for (const box of document.querySelectorAll("div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
