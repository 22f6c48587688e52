// Search among all operations, the detail of one, and links to it: #op=4812.

const PAGE = 50;
let found = [];
let page = 0;
let haystack = null;

function haystackOf(at) {
  if (!haystack) haystack = new Array(ops.n_);
  haystack[at] ??= [
    `#${ops.i[at]}`, `process:${ops.p[at]}`, `p:${ops.p[at]}`, `f:${text("f", at)}`, `key:${text("k", at)}`,
    `node:${text("n", at)}`, `value:${valueText(at)}`, OUTCOMES[ops.o[at]], text("x", at), text("g", at),
  ].join(" ").toLowerCase() + " ";
  return haystack[at];
}

function search() {
  if (!ops) return;
  const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const exact = words.length === 1 && /^#?\d+$/.test(words[0]) ? ops.place.get(+words[0].replace("#", "")) : undefined;
  found = [];
  for (let at = 0; at < ops.n_; at++) {
    const hay = words.length && at !== exact ? haystackOf(at) : "";
    // A word with a colon, or an index, means the whole field: process:1 is not process 12.
    if (at === exact || words.every((word) => hay.includes(/[:#]/.test(word) ? `${word} ` : word))) found.push(at);
  }
  if (exact !== undefined) found = [exact, ...found.filter((at) => at !== exact)];
  page = 0;
  list();
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
  const range = found.length ? `${(first + 1).toLocaleString("en")}–${(first + shown.length).toLocaleString("en")} of ` : "";
  $("hits").textContent = `${range}${found.length.toLocaleString("en")}`;
  $("earlier").disabled = page === 0;
  $("later").disabled = first + PAGE >= found.length;
}

function choose(at, { show = false, link = true } = {}) {
  chosen = at;
  if (link) history.replaceState(null, "", `#op=${ops.i[at]}`);
  for (const row of all("tr.chosen")) row.classList.remove("chosen");
  for (const row of all(`tr[data-op="${ops.i[at]}"]`)) row.classList.add("chosen");
  detail(at);
  const width = Math.min(meta.end, Math.max(stopMs(at) - startMs(at), 1) * 12);
  const outside = startMs(at) < view[0] || startMs(at) > view[1];
  if (show || outside) setView(startMs(at) - width / 2, startMs(at) + width / 2);
  else setView(...view);
}

function neighbour(at, step, same) {
  for (let next = at + step; next >= 0 && next < ops.n_; next += step) if (ops[same][next] === ops[same][at]) return next;
  return -1;
}

function rivals(at) {
  // How many operations of the same key overlap it: those that may explain what it saw.
  let count = 0;
  const until = firstFrom(stopMs(at) * 1000 + 1);
  for (let other = 0; other < until; other++) {
    if (other !== at && ops.k[other] === ops.k[at] && stopMs(other) >= startMs(at)) count++;
  }
  return count;
}

function detail(at) {
  const end = ops.e[at] > 0 ? ` and ${ops.i[at] + ops.e[at]}` : "";
  const rows = [
    ["events", `${ops.i[at]}${end}`], ["process", `${ops.p[at]} (worker ${ops.w[at]})`], ["node", text("n", at)],
    ["f", text("f", at)], ["key", text("k", at)], ["argument", text("a", at)], ["result", text("r", at)],
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
  if (location.hash.startsWith("#op=")) history.replaceState(null, "", location.pathname + location.search);
  if (plots.length) setView(...view);
}

function follow() {
  const match = /^#op=(\d+)$/.exec(location.hash);
  if (!match || !ops) return;
  const at = ops.place.get(+match[1]);
  if (at === undefined) { $("hits").textContent = `operation ${match[1]} is not in this page`; return; }
  choose(at, { show: true, link: false });
  const row = document.getElementById(`op=${ops.i[at]}`);
  (row ?? strips).scrollIntoView({ block: "center" });
}
