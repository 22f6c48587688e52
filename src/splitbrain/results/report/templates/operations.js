// Search among the operations of the page, in the stretch in view, and the detail of one.

const PAGE = 50;
let found = [];
let page = 0;
let haystack = null;
let filtered = false; // whether a filter holds
let matches = null; // 1 for each operation that it lets through
let meant; // the operation whose index was asked for
let asked = ""; // the filter that `matches` answers

function haystackOf(at) {
  if (!haystack) haystack = new Array(ops.n_);
  haystack[at] ??= [
    `#${ops.i[at]}`, `process:${ops.p[at]}`, `p:${ops.p[at]}`, `f:${text("f", at)}`, `key:${text("k", at)}`,
    `node:${text("n", at)}`, `value:${valueText(at)}`, OUTCOMES[ops.o[at]], text("x", at), text("g", at),
  ].join(" ").toLowerCase() + " ";
  return haystack[at];
}

function startSearch() {
  const options = (column, none) => [make("option", { value: "" }, none),
    ...[...new Set(ops[column])].filter((place) => place >= 0).map((place) => ops.texts[place])
      .sort(new Intl.Collator("en", { numeric: true }).compare).slice(0, 500).map((name) => make("option", { value: name }, name.slice(0, 60)))];
  $("filter-f").replaceChildren(...options("f", "any function"));
  $("filter-node").replaceChildren(...options("n", "any node"));
  $("filter-node").hidden = $("filter-node").length < 2;
  let waiting = 0;
  for (const id of FILTERS) {
    $(id).addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refilter, 120); });
  }
  $("clear").addEventListener("click", () => { for (const id of FILTERS) $(id).value = ""; refilter(); });
  $("earlier").addEventListener("click", () => { page -= 1; list(); });
  $("later").addEventListener("click", () => { page += 1; list(); });
}

const FILTERS = ["query", "filter-f", "filter-outcome", "filter-node", "filter-key", "filter-process"];

function refilter() {
  const wanted = FILTERS.map((id) => $(id).value.trim()).join("\u0001");
  if (wanted === asked) return;
  asked = wanted;
  filter();
  page = 0;
  search();
  layRows();
  refresh();
}

function filter() {
  const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  meant = words.length === 1 && /^#?\d+$/.test(words[0]) ? ops.place.get(+words[0].replace("#", "")) : undefined;
  const place = (name) => (name ? ops.texts.indexOf(name) : null);
  const exact = [["f", place($("filter-f").value)], ["n", place($("filter-node").value)], ["k", place($("filter-key").value.trim())]]
    .filter(([, wanted]) => wanted !== null);
  const outcome = $("filter-outcome").value;
  if (outcome) exact.push(["o", OUTCOMES.indexOf(outcome)]);
  const process = $("filter-process").value.trim();
  if (process) exact.push(["p", +process]);
  filtered = words.length > 0 || exact.length > 0;
  if (!filtered) { matches = null; return; }
  matches = new Uint8Array(ops.n_);
  for (let at = 0; at < ops.n_; at++) {
    if (!exact.every(([column, wanted]) => ops[column][at] === wanted)) continue;
    const hay = words.length && at !== meant ? haystackOf(at) : "";
    // A word with a colon, or an index, means the whole field: process:1 is not process 12.
    if (at === meant || words.every((word) => hay.includes(/[:#]/.test(word) ? `${word} ` : word))) matches[at] = 1;
  }
}

// The operations that the filter lets through and that touch the stretch in view.
function search() {
  if (!ops) return;
  found = [];
  for (const at of within(...view)) if (!filtered || matches[at]) found.push(at);
  if (meant !== undefined) found = [meant, ...found.filter((at) => at !== meant)];
  page = Math.min(page, Math.max(0, Math.ceil(found.length / PAGE) - 1));
  list();
  if (mode === "k" || filtered) layRows();
}

function cell(content, kind) {
  return kind ? make("td", { class: kind }, content) : make("td", {}, content);
}

function list() {
  const body = $("results").tBodies[0];
  const first = page * PAGE;
  const shown = found.slice(first, first + PAGE);
  body.replaceChildren(...shown.map((at) => {
    const end = ops.e[at] > 0 ? `–${ops.i[at] + ops.e[at]}` : "";
    const outcome = make("span", { class: `outcome ${OUTCOMES[ops.o[at]]}` }, OUTCOMES[ops.o[at]]);
    const last = make("td", {}, outcome);
    if (text("x", at)) last.append(" ", make("small", {}, text("x", at)));
    const link = make("a", { href: `#op=${ops.i[at]}` }, `${ops.i[at]}${end}`);
    const value = valueText(at);
    return make("tr", { "data-op": ops.i[at], class: at === chosen ? "chosen" : "" },
      cell(link, "n"), cell(seconds(startMs(at)), "n"), cell(span(ops.d[at]), "n"), cell(`${ops.p[at]}`, "n"),
      cell(text("n", at)), cell(text("f", at)), cell(text("k", at)),
      cell(value.length > 200 ? `${value.slice(0, 199)}…` : value, "value"), last);
  }));
  const where = isWhole() ? "" : ` in this stretch${filtered ? "" : ` (${count(ops.n_)} in all)`}`;
  const range = found.length ? `${(first + 1).toLocaleString("en")}–${(first + shown.length).toLocaleString("en")} of ` : "";
  $("hits").textContent = `${range}${found.length.toLocaleString("en")}${where}`;
  $("earlier").disabled = page === 0;
  $("later").disabled = first + PAGE >= found.length;
}

// `show` brings it into view, `keep` leaves the view as it is.
function choose(at, { show = false, keep = false } = {}) {
  chosen = at;
  for (const row of all("tr.chosen")) row.classList.remove("chosen");
  for (const row of all(`tr[data-op="${ops.i[at]}"]`)) row.classList.add("chosen");
  detail(at);
  showRows([at]);
  const width = Math.min(meta.end, Math.max(ops.d[at] < 0 ? 0 : stopMs(at) - startMs(at), 1) * 12);
  const outside = startMs(at) < view[0] || startMs(at) > view[1];
  if (!keep && (show || outside)) setView(startMs(at) - width / 2, startMs(at) + width / 2);
  refresh();
  writeAddress();
}

// Where the whole of an operation is to be found, if this page shortens it.
function whole(at) {
  if (!["a", "r", "x", "g"].some((column) => ops.cut.has(ops[column][at]))) return "";
  const lines = [ops.i[at], ops.i[at] + ops.e[at]].map((index) => count(index + 1));
  return ops.e[at] > 0 ? `history.jsonl, lines ${lines.join(" and ")}` : `history.jsonl, line ${lines[0]}`;
}

function neighbour(at, step, same) {
  for (let next = at + step; next >= 0 && next < ops.n_; next += step) if (ops[same][next] === ops[same][at]) return next;
  return -1;
}

function rivals(at) {
  // How many operations of the same key overlap it: those that may explain what it saw.
  let count = 0;
  for (const other of within(startMs(at), stopMs(at))) if (other !== at && ops.k[other] === ops.k[at]) count++;
  return count;
}

function detail(at) {
  const end = ops.e[at] > 0 ? ` and ${ops.i[at] + ops.e[at]}` : "";
  const rows = [
    ["events", `${ops.i[at]}${end}`], ["process", `${ops.p[at]} (worker ${ops.w[at]})`], ["node", text("n", at)],
    ["f", text("f", at)], ["key", text("k", at)],
    ["shortened; whole in", whole(at)], ["argument", text("a", at)], ["result", text("r", at)],
    ["outcome", OUTCOMES[ops.o[at]]], ["error", text("x", at)], ["more", text("g", at)],
    ["invoked", seconds(startMs(at), 6)], ["answered", ops.d[at] < 0 ? "never" : seconds(stopMs(at), 6)],
    ["took", span(ops.d[at])], ["overlaps", `${rivals(at)} of the same key`],
    ["faults", bandsAt(startMs(at)).join("; ") || "none at its start"],
  ].filter(([, value]) => value !== "");
  const body = make("tbody", {}, ...rows.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
  const close = make("button", { type: "button", "aria-label": "Close" }, "✕");
  close.addEventListener("click", closeDetail);
  const row = make("div", { class: "row" });
  for (const [label, step, same] of [["‹ same process", -1, "p"], ["same process ›", 1, "p"], ["‹ same key", -1, "k"], ["same key ›", 1, "k"]]) {
    const button = make("button", { type: "button" }, label);
    const next = neighbour(at, step, same);
    button.disabled = next < 0;
    button.addEventListener("click", () => choose(next));
    row.append(button);
  }
  const panel = $("detail");
  panel.replaceChildren(
    make("header", {}, make("h3", {}, `Operation #${ops.i[at]}`), close),
    make("table", { class: "pairs" }, body), row);
  panel.hidden = false;
}

function closeDetail() {
  $("detail").hidden = true;
  chosen = -1;
  for (const row of all("tr.chosen")) row.classList.remove("chosen");
  writeAddress();
  refresh();
}
