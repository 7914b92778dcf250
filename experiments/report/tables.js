"use strict";

// Sorts tables by a column and filters their rows.
(() => {
  const cells = (row, at) => row.cells[at];
  const isEmpty = (cell) => cell.textContent.trim() === "";

  // Numbers come before other text, and empty cells last in both directions.
  function compare(a, b, sign) {
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);
    const [x, y] = [a.dataset.value, b.dataset.value];
    if (x && y) return sign * (Number(x) - Number(y));
    if (x || y) return sign * (x ? -1 : 1);
    return sign * a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
  }

  function sort(table, at) {
    const headers = [...table.tHead.rows[0].cells];
    const ascending = headers[at].getAttribute("aria-sort") !== "ascending";
    headers.forEach((header) => header.removeAttribute("aria-sort"));
    headers[at].setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => compare(cells(a, at), cells(b, at), ascending ? 1 : -1));
    body.append(...rows);
  }

  // Shows the rows with all words, and the columns that have a value in one of them.
  function filter(table) {
    const input = document.querySelector(`[data-filters="${table.id}"]`);
    const select = document.querySelector(`[data-selects="${table.id}"]`);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const other = select && select.value && select.value !== row.dataset.group;
      row.hidden = other || !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden);
    const count = document.querySelector(`[data-counts="${table.id}"]`);
    count.textContent = shown.length === rows.length ? `${rows.length} rows` : `${shown.length} of ${rows.length} rows`;
    if (!shown.length) return;
    [...table.tHead.rows[0].cells].forEach((header, at) => {
      const used = shown.some((row) => !isEmpty(cells(row, at)));
      header.hidden = !used;
      rows.forEach((row) => (cells(row, at).hidden = !used));
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((header, at) => {
      const column = [...table.tBodies[0].rows].map((row) => cells(row, at)).filter((cell) => !isEmpty(cell));
      if (column.length && column.every((cell) => cell.dataset.value)) header.classList.add("number");
      header.querySelector("button").addEventListener("click", () => sort(table, at));
    });
  }
  const MOST_COLUMNS = 16; // with more columns, one preset is shown first
  for (const input of document.querySelectorAll("[data-filters]")) {
    const table = document.getElementById(input.dataset.filters);
    const select = document.querySelector(`[data-selects="${table.id}"]`);
    input.addEventListener("input", () => filter(table));
    if (select) {
      select.addEventListener("change", () => filter(table));
      const first = table.tBodies[0].rows[0];
      if (first && table.tHead.rows[0].cells.length > MOST_COLUMNS) select.value = first.dataset.group;
    }
    filter(table);
  }
})();
