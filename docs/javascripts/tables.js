// On a telephone, a table that is wider than the screen is shown row by row, with the name of its column
// before each cell. Without JavaScript it scrolls.
const telephone = matchMedia("(max-width: 44.9375em)");

function fitTables() {
  for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
    delete table.dataset.stacked;
    const isTooWide = table.scrollWidth > table.closest("article").clientWidth;
    if (!telephone.matches || !isTooWide) continue;
    table.dataset.stacked = "";
    const names = Array.from(table.querySelectorAll("thead th"), (cell) => cell.textContent);
    for (const row of table.querySelectorAll("tbody tr")) {
      Array.from(row.cells).forEach((cell, column) => (cell.dataset.column = names[column]));
    }
  }
}

fitTables();
addEventListener("resize", fitTables);
