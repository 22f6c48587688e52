"use strict";
// Search, filters, sorting and copying; the page is whole without them.
(() => {
  const table = document.getElementById("table");
  const query = document.getElementById("query");
  const boxes = [...document.querySelectorAll(".filter input")];
  const rows = table ? [...table.tBodies] : [];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase().replace(/\s+/g, " ")]));

  function show() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      const text = texts.get(row);
      row.hidden = !wanted.has(row.dataset.status) || !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    document.getElementById("hits").textContent = `${shown} of ${rows.length}`;
  }

  function keyOf(row, column, numeric) {
    const key = row.rows[0].cells[column].dataset.key;
    return numeric ? (key === "" ? null : +key) : key.toLowerCase();
  }

  // What was not measured comes last, whichever way the column is sorted.
  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  }

  function sort(head) {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const column = head.cellIndex;
    const numeric = head.dataset.sort === "number";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const keyed = rows.map((row) => [keyOf(row, column, numeric), +row.dataset.place, row]);
    keyed.sort((a, b) => compare(a[0], b[0], sign) || a[1] - b[1]);
    table.append(...keyed.map((entry) => entry[2]));
  }

  async function copy(text, button) {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages opened from a file may not use the clipboard directly.
      const area = document.createElement("textarea");
      area.readOnly = true;
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    button.textContent = done ? "Copied" : "Select and copy by hand";
    setTimeout(() => { button.textContent = "Copy"; }, 1400);
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const row = target?.closest("tbody.scenario");
    if (!row) return;
    row.hidden = false;
    for (const details of row.querySelectorAll("details")) details.open = true;
    target.scrollIntoView({ block: "start" });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(document.getElementById(button.dataset.copy).textContent, button);
    const head = event.target.closest("th[data-sort]");
    if (head) sort(head);
  });
  document.addEventListener("keydown", (event) => {
    if (!query || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && document.activeElement !== query) {
      event.preventDefault();
      query.focus();
    } else if (event.key === "Escape" && document.activeElement === query) {
      query.value = "";
      show();
    }
  });
  for (const label of document.querySelectorAll("th[data-sort] > span")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label.textContent;
    label.replaceWith(button);
  }
  document.documentElement.classList.add("scripted");
  addEventListener("hashchange", reveal);
  if (query) {
    query.addEventListener("input", show);
    for (const box of boxes) box.addEventListener("change", show);
    show();
  }
  reveal();
  document.documentElement.classList.add("ready");
})();
