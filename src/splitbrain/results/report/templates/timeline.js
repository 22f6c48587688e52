// The timeline: rows by worker, by node or by key, on a canvas that draws only the rows and the stretch
// in view.  Operations of one row that overlap lie in lanes below each other.  Without a script, and in
// print, the drawing that the page was written with stands here.

const timeline = $("strip-timeline");
const LANE_PX = 14;
const LANES_MAX = 8;
const TAIL_PX = 36;
const TEXT_PX = 46;
const NAMES = { w: "worker", n: "node", k: "key" };
const layouts = {}; // by column, made when first asked for
let mode = "w";
let rows = []; // those shown: { name, lanes, top, height }
let tall = 0;
let canvas = null;
let lanesBox = null;
let colours = null;
const suspects = new Map(); // place -> true, for the operations that take part in an anomaly

function startTimeline() {
  if (!timeline || !ops) return;
  for (const anomaly of meta.anomalies) for (const at of marksOf(anomaly)) suspects.set(at, true);
  canvas = make("canvas", { role: "img" });
  lanesBox = make("div", { class: "lanes", tabindex: "0", role: "region", "aria-label": "Timeline of operations" },
    make("div", { class: "spacer" }, canvas));
  timeline.querySelector(".plot").append(lanesBox);
  timeline.classList.add("drawn");
  lanesBox.addEventListener("scroll", () => { drawTimeline(); gutter(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = null; drawTimeline(); });
  for (const button of all("[data-rows]", timeline)) {
    button.hidden = button.dataset.rows !== "w" && !ops[button.dataset.rows].some((place) => place >= 0);
    button.addEventListener("click", () => switchRows(button.dataset.rows));
  }
  layRows();
}

function switchRows(column) {
  mode = column;
  for (const button of all("[data-rows]", timeline)) button.setAttribute("aria-pressed", String(button.dataset.rows === mode));
  lanesBox.scrollTop = 0;
  timeline.querySelector("h3").textContent = `Operations, a row for each ${NAMES[mode]}`;
  layRows();
  if (chosen >= 0) showRows([chosen]);
  refresh();
}

// Every row of a column with its lanes: lists of operations that do not overlap.
function layoutOf(column) {
  if (layouts[column]) return layouts[column];
  const byId = new Map();
  const depth = new Uint8Array(ops.n_);
  for (let at = 0; at < ops.n_; at++) {
    const id = ops[column][at];
    let row = byId.get(id);
    if (!row) byId.set(id, (row = { id, name: nameOf(column, id), lanes: [], ends: [] }));
    const start = ops.t[at];
    let lane = row.ends.findIndex((end) => end <= start);
    if (lane < 0) lane = row.lanes.length < LANES_MAX ? row.lanes.length : row.ends.indexOf(Math.min(...row.ends));
    if (lane === row.lanes.length) row.lanes.push([]);
    row.lanes[lane].push(at);
    depth[at] = lane;
    row.ends[lane] = ops.d[at] < 0 ? meta.end * 1000 : start + ops.d[at];
  }
  return (layouts[column] = { depth, rows: [...byId.values()].sort(orderOf(column)) });
}

function nameOf(column, id) {
  if (column === "w") return `${id}`;
  return id < 0 ? `no ${NAMES[column]}` : ops.texts[id];
}

function orderOf(column) {
  const collator = new Intl.Collator("en", { numeric: true });
  const known = new Map(meta.nodes.map((node, place) => [node, place]));
  const hurt = new Set([...suspects.keys()].map((at) => ops[column][at]));
  return (a, b) => {
    if (column === "k" && hurt.has(a.id) !== hurt.has(b.id)) return hurt.has(a.id) ? -1 : 1;
    if (column === "n") return (known.get(a.name) ?? 1e9) - (known.get(b.name) ?? 1e9) || collator.compare(a.name, b.name);
    return column === "w" ? a.id - b.id : collator.compare(a.name, b.name);
  };
}

// Which rows are shown: all workers and nodes; of the keys those with something in the stretch; and, while
// a filter holds, those with something that it lets through.
function layRows() {
  if (!canvas) return;
  const { depth, rows: every } = layoutOf(mode);
  const deepest = new Map(); // of each row that has something to show
  let inView = 0;
  for (const at of within(...view)) {
    if (filtered && !matches[at]) continue;
    inView += 1;
    const id = ops[mode][at];
    if (depth[at] >= (deepest.get(id) ?? -1)) deepest.set(id, depth[at]);
  }
  const shown = filtered || mode === "k" ? every.filter((row) => deepest.has(row.id)) : every;
  tall = 0;
  rows = shown.map((row) => {
    const height = (1 + (deepest.get(row.id) ?? 0)) * LANE_PX + (mode === "w" ? 0 : 4);
    const placed = { row, top: tall, height };
    tall += height;
    return placed;
  });
  lanesBox.firstChild.style.height = `${Math.max(tall, LANE_PX)}px`;
  const height = Math.min(Math.max(tall, LANE_PX), 460);
  lanesBox.style.height = `${height}px`;
  timeline.style.setProperty("--height", `${height}px`);
  drawTimeline();
  gutter();
  canvas.setAttribute("aria-label",
    `${count(inView)} operations in ${count(rows.length)} rows by ${NAMES[mode]}; they are listed in the table below`);
}

function firstRow(y) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].top + rows[middle].height <= y) low = middle + 1;
    else high = middle;
  }
  return low;
}

function gutter() {
  const box = timeline.querySelector(".gutter");
  const from = lanesBox.scrollTop;
  const labels = [];
  for (let place = firstRow(from); place < rows.length && rows[place].top < from + lanesBox.clientHeight; place++) {
    const { row, top } = rows[place];
    const label = make("span", { title: `${NAMES[mode]} ${row.name}` }, row.name.slice(0, 60));
    label.style.top = `${top - from}px`;
    labels.push(label);
  }
  box.replaceChildren(...labels);
}

function showRows(places) {
  if (!canvas || !places.length) return;
  const wanted = new Set(places.map((at) => ops[mode][at]));
  const hit = rows.find(({ row }) => wanted.has(row.id));
  if (hit && (hit.top < lanesBox.scrollTop || hit.top + hit.height > lanesBox.scrollTop + lanesBox.clientHeight)) {
    lanesBox.scrollTop = Math.max(0, hit.top - 40);
  }
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  colours = {
    bars: [value("--ok"), value("--fail"), value("--info")], text: value("--raised"), ink: value("--ink"),
    suspect: value("--suspect"), line: value("--line"), bands: [0, 1, 2, 3, 4, 5, 6, 7].map((n) => value(`--f${n}`)),
  };
}

function drawTimeline() {
  if (!canvas) return;
  if (!colours) readColours();
  const width = plotBox().width;
  const height = lanesBox.clientHeight;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const scale = width / (view[1] - view[0]);
  drawBands(pen, scale, height);
  const drawing = { pen, scale, width, bars: [new Path2D(), new Path2D(), new Path2D()], pale: new Path2D(), texts: [], infos: [], marks: [], drawn: [0, 0, 0] };
  const top = lanesBox.scrollTop;
  pen.fillStyle = colours.line;
  for (let place = firstRow(top); place < rows.length && rows[place].top < top + height; place++) {
    const { row, top: rowTop } = rows[place];
    if (mode !== "w") pen.fillRect(0, rowTop - top, width, 0.5);
    const lanes = row.lanes.slice(0, Math.ceil((rows[place].height - 4) / LANE_PX));
    lanes.forEach((lane, depth) => collect(drawing, lane, rowTop - top + depth * LANE_PX + (mode === "w" ? 0 : 2)));
  }
  paint(drawing);
  canvas.dataset.drawn = OUTCOMES.map((outcome, o) => `${outcome}:${drawing.drawn[o]}`).join(" ");
}

function drawBands(pen, scale, height) {
  for (const [from, to, colour] of meta.bands) {
    if (to < view[0] || from > view[1]) continue;
    pen.fillStyle = colours.bands[colour];
    pen.globalAlpha = to > from ? 0.12 : 0.6;
    pen.fillRect((from - view[0]) * scale, 0, Math.max(1, (to - from) * scale), height);
  }
  pen.globalAlpha = 1;
}

function laneFrom(lane) {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (startMs(lane[middle]) < view[0]) low = middle + 1;
    else high = middle;
  }
  while (low > 0 && stopMs(lane[low - 1]) >= view[0] - TAIL_PX / 2 * ((view[1] - view[0]) / 1000)) low -= 1;
  return low;
}

// The bars of one lane.  What would fall on pixels that the same outcome has already filled is left out.
function collect(drawing, lane, y) {
  const { scale, bars, drawn } = drawing;
  const filledTo = [-1, -1, -1, -1];
  for (let place = laneFrom(lane); place < lane.length; place++) {
    const at = lane[place];
    const start = startMs(at);
    if (start > view[1]) break;
    const outcome = ops.o[at];
    const left = (start - view[0]) * scale;
    const length = Math.max((stopMs(at) - start) * scale, 1.5);
    if (stopMs(at) >= view[0]) drawn[outcome] += 1;
    if (suspects.has(at) || at === chosen) drawing.marks.push([at, left, y, length]);
    const pale = filtered && !matches[at];
    const kind = pale ? 3 : outcome;
    if (left + length <= filledTo[kind] + 0.4) continue;
    filledTo[kind] = left + length;
    if (pale) drawing.pale.rect(left, y + 4, length, 6);
    else if (outcome === 2) drawing.infos.push([left, y, length]);
    else if (outcome === 1) bars[1].rect(left, y + 1.5, length, 11);
    else bars[0].rect(left, y + 3, length, 8);
    if (length > TEXT_PX && !pale) drawing.texts.push([at, left, y, length]);
  }
}

function paint({ pen, width, bars, pale, texts, infos, marks }) {
  pen.fillStyle = colours.ink;
  pen.globalAlpha = 0.13;
  pen.fill(pale);
  // Nobody knows when an info took effect, if ever: it fades instead of ending.
  pen.globalAlpha = 1;
  for (const [left, y, length] of infos) {
    const end = Math.min(left + length + TAIL_PX, width + TAIL_PX);
    const fade = pen.createLinearGradient(Math.max(left, -TAIL_PX), 0, end, 0);
    fade.addColorStop(0, colours.bars[2]);
    fade.addColorStop(1, `${colours.bars[2]}00`);
    pen.fillStyle = infos.length > 2000 ? colours.bars[2] : fade;
    pen.fillRect(left, y + 4, infos.length > 2000 ? length : end - left, 6);
    pen.fillStyle = colours.bars[2];
    pen.fillRect(left, y + 2, 2, 10);
  }
  [0, 1].forEach((outcome) => {
    pen.fillStyle = colours.bars[outcome];
    pen.globalAlpha = outcome ? 1 : 0.85;
    pen.fill(bars[outcome]);
  });
  pen.globalAlpha = 1;
  writeTexts(pen, texts, width);
  for (const [at, left, y, length] of marks) {
    pen.strokeStyle = at === chosen ? colours.ink : colours.suspect;
    pen.lineWidth = at === chosen ? 2 : 1.8;
    pen.strokeRect(left - 1.5, y + 0.8, Math.max(length, 3) + 3, LANE_PX - 1.6);
    if (!suspects.has(at)) continue;
    pen.fillStyle = colours.suspect;
    const tip = Math.min(Math.max(left + length, 4), width - 4);
    pen.beginPath();
    pen.moveTo(tip, y + 1); pen.lineTo(tip + 5, y + 7); pen.lineTo(tip, y + 13); pen.lineTo(tip - 5, y + 7);
    pen.fill();
  }
}

function writeTexts(pen, texts, width) {
  pen.font = "10px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const [at, left, y, length] of texts.slice(0, 1500)) {
    const from = Math.max(left, 0);
    const room = Math.min(left + length, width) - from - 10;
    if (room < 24) continue;
    pen.fillStyle = ops.o[at] === 2 ? colours.ink : colours.text;
    const words = [text("f", at), mode !== "k" && text("k", at), valueText(at)].filter(Boolean).join(" ");
    pen.fillText(words.slice(0, Math.floor(room / 5.2)), from + 5, y + LANE_PX / 2 + 0.5);
  }
}

// The operation under a point of the window, or -1.
function timelineAt(clientX, clientY) {
  if (!canvas) return -1;
  const box = canvas.getBoundingClientRect();
  const y = clientY - box.top + lanesBox.scrollTop;
  const place = firstRow(y);
  if (place >= rows.length || y < 0) return -1;
  const { row, top } = rows[place];
  const lane = row.lanes[Math.floor((y - top - (mode === "w" ? 0 : 2)) / LANE_PX)];
  if (!lane) return -1;
  const perPixel = (view[1] - view[0]) / box.width;
  const at_ms = view[0] + (clientX - box.left) * perPixel;
  let best = -1;
  let distance = 8 * perPixel;
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (startMs(lane[middle]) <= at_ms + distance) low = middle + 1;
    else high = middle;
  }
  for (let near = low - 1, looked = 0; near >= 0 && looked < 200; near--, looked++) {
    const away = Math.max(startMs(lane[near]) - at_ms, at_ms - stopMs(lane[near]), 0);
    if (away < distance) { best = lane[near]; distance = away; }
    if (startMs(lane[near]) < at_ms && away === 0) break;
  }
  return best;
}
