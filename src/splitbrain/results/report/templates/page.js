// Copy, save, and joining everything together.

async function copy(content, button, source) {
  let done = true;
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    // Pages opened from a file may not use the clipboard directly.
    const area = make("textarea", { readonly: "" });
    area.value = content;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  if (!done && source) {
    source.closest("details")?.setAttribute("open", "");
    getSelection().selectAllChildren(source);
  }
  const label = button.textContent;
  button.textContent = done ? "Copied" : "Select and copy by hand";
  setTimeout(() => { button.textContent = label; }, 1400);
}

function contentOf(id) {
  const element = $(id);
  if (element.tagName !== "SCRIPT") return element.textContent;
  return JSON.stringify(JSON.parse(element.textContent), null, 2);
}

function save(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  const link = make("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function wire() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(contentOf(button.dataset.copy), button, $(button.dataset.copy));
    if (button?.dataset.save) save(button.dataset.name, contentOf(button.dataset.save));
    if (button?.dataset.show) { showAnomaly(+button.dataset.show - 1); strips.scrollIntoView({ block: "start" }); }
    if (button?.dataset.zoom) moves[button.dataset.zoom]();
    const link = event.target.closest('a[href^="#op="]');
    const row = event.target.closest("tr[data-op]");
    if (!ops || !(link || row) || event.target.closest("summary")) return;
    const index = link ? +link.getAttribute("href").slice(4) : +row.dataset.op;
    const at = ops.place.get(index);
    if (at === undefined) return;
    event.preventDefault();
    choose(at);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (!$("detail").hidden) closeDetail();
      else moves.all();
    }
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "n") stepAnomaly(1);
    if (event.key === "p") stepAnomaly(-1);
  });
  addEventListener("hashchange", follow);
}

function wireCharts() {
  dragging();
  strips.addEventListener("keydown", (event) => {
    const move = keys[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[move]();
  });
  addEventListener("resize", refresh);
}

document.documentElement.classList.add("scripted");
wire();
if (strips) {
  wireCharts();
  const { t } = readAddress();
  if (t) setView(...t);
  redraw();
}
unpack().then(() => {
  if (strips && ops) {
    startSearch();
    startTimeline();
    redraw();
    figures();
    search();
    follow();
  }
  document.documentElement.classList.add("ready");
});
