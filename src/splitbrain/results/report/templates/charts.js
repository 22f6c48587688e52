// One view, a stretch of time, for all strips: zooming changes the view boxes and nothing else, but for
// the two charts of single operations, which are drawn again from all of them.

const strips = $("strips");
const plots = strips ? all(".strip:not(.axis) .plot svg", strips) : [];
const timeline = $("strip-timeline");
const latencies = strips ? all("[data-kind=latency]", strips) : [];
const rowOf = new Map(meta.rows.map((row, place) => [row, place]));
let view = [0, meta.end];
let pending = false;
let chosen = -1;

function setView(from, to) {
  const least = Math.min(meta.end, Math.max(1, meta.end / 20000));
  const width = Math.min(meta.end, Math.max(least, to - from));
  const start = Math.max(0, Math.min(meta.end - width, from));
  view = [start, start + width];
  if (!pending) {
    pending = true;
    requestAnimationFrame(() => { pending = false; redraw(); });
  }
}

function redraw() {
  const [from, to] = view;
  const width = to - from;
  for (const plot of plots) {
    plot.setAttribute("viewBox", `${from} 0 ${width} ${plot.getAttribute("height")}`);
  }
  for (const mark of all(".over .at", strips)) {
    const share = (mark.dataset.a - from) / width;
    mark.style.left = `${share * 100}%`;
    mark.hidden = share < 0 || share > 1;
    mark.classList.toggle("flip", share > 0.85);
  }
  for (const label of all(".over span", strips)) {
    const a = Math.max(+label.dataset.a, from);
    const b = Math.min(+label.dataset.b, to);
    const share = (b - a) / width;
    label.style.left = `${((a - from) / width) * 100}%`;
    label.style.width = `${Math.max(0, share) * 100}%`;
    label.hidden = share * plotBox().width < label.textContent.length * 6 + 6;
  }
  ticks(from, to);
  const whole = from === 0 && to === meta.end;
  $("range").textContent = whole ? "" : `${seconds(from)} to ${seconds(to)}`;
  if (ops) { drawTimeline(); latencies.forEach(drawLatency); }
}

function ticks(from, to) {
  const least = (to - from) / 1000 / 8;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((times) => times * power).find((value) => value >= least * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  for (const axis of all(".ticks", strips)) {
    axis.replaceChildren();
    for (let tick = Math.ceil(from / 1000 / step); tick * step * 1000 <= to; tick++) {
      const mark = make("span", {}, seconds(tick * step * 1000, digits));
      mark.style.left = `${((tick * step * 1000 - from) / (to - from)) * 100}%`;
      axis.append(mark);
    }
  }
}

const plotBox = () => plots[0].getBoundingClientRect();
const round = (value) => Math.round(value * 1000) / 1000;

// One mark for each small cell of the picture, the worst outcome of the cell: as the static drawing.
function thin(places, cellOf) {
  const cells = new Map();
  for (const at of places) {
    const cell = cellOf(at);
    const known = cells.get(cell);
    if (known === undefined || ops.o[at] > ops.o[known]) cells.set(cell, at);
  }
  return cells.values();
}

function* visible() {
  // Those that began before the view may reach into it: an open operation may begin anywhere.
  const until = firstFrom(view[1] * 1000 + 1);
  const from = view[0] === 0 ? 0 : view[0];
  for (let at = 0; at < until; at++) if (stopMs(at) >= from) yield at;
}

function drawTimeline() {
  if (!timeline) return;
  const lane = +timeline.dataset.lane;
  const column = (view[1] - view[0]) / Math.max(300, plotBox().width / 1.5);
  const parts = [[], [], []];
  const cellOf = (at) => ops.w[at] * 4096 + Math.floor(Math.max(0, startMs(at) - view[0]) / column);
  for (const at of thin(visible(), cellOf)) {
    const a = Math.max(startMs(at), view[0] - column);
    const b = Math.min(stopMs(at), view[1] + column);
    const y = (rowOf.get(ops.w[at]) + 0.5) * lane;
    parts[ops.o[at]].push(`M${round(a)} ${y}h${round(Math.max(b - a, column * 0.9))}`);
  }
  OUTCOMES.forEach((outcome, o) =>
    timeline.querySelector(`.segments.${outcome}`).setAttribute("d", parts[o].join("")));
  const mark = timeline.querySelector("path.chosen");
  if (chosen < 0) { mark.setAttribute("d", ""); return; }
  const y = (rowOf.get(ops.w[chosen]) + 0.5) * lane;
  const length = Math.max(stopMs(chosen) - startMs(chosen), column * 3);
  mark.setAttribute("d", `M${round(startMs(chosen))} ${y}h${round(length)}`);
}

function latencyY(strip, at) {
  const { low, high } = strip.dataset;
  const height = +strip.querySelector("svg").getAttribute("height");
  const place = (Math.log10(Math.max(1, ops.d[at])) - low) / (high - low);
  return height * (1 - Math.min(1, Math.max(0, place)));
}

function drawLatency(strip) {
  const f = ops.texts.indexOf(strip.dataset.f);
  const column = (view[1] - view[0]) / 640;
  const places = [];
  for (let at = firstFrom(view[0] * 1000), n = firstFrom(view[1] * 1000 + 1); at < n; at++) {
    if (ops.f[at] === f && ops.d[at] >= 0) places.push(at);
  }
  const parts = [[], [], []];
  const cellOf = (at) => Math.floor((startMs(at) - view[0]) / column) * 256 + Math.floor(latencyY(strip, at) / 3);
  for (const at of thin(places, cellOf)) {
    parts[ops.o[at]].push(`M${round(startMs(at))} ${latencyY(strip, at).toFixed(1)}h0`);
  }
  OUTCOMES.forEach((outcome, o) =>
    all(`.dots.${outcome}`, strip).forEach((path) => path.setAttribute("d", parts[o].join(""))));
}

// The operation under the pointer, or -1.
function opAt(event) {
  const strip = event.target.closest(".strip");
  if (!ops || !strip || !strip.dataset.kind) return -1;
  const box = strip.querySelector("svg").getBoundingClientRect();
  const perPixel = (view[1] - view[0]) / box.width;
  const at_ms = view[0] + (event.clientX - box.left) * perPixel;
  const y = event.clientY - box.top;
  return strip === timeline ? nearestInRow(at_ms, y, perPixel) : nearestDot(strip, at_ms, y, perPixel);
}

function nearestInRow(at_ms, y, perPixel) {
  const row = meta.rows[Math.floor(y / +timeline.dataset.lane)];
  let best = -1;
  let distance = 8 * perPixel;
  for (let at = firstFrom((at_ms + distance) * 1000) - 1; at >= 0; at--) {
    if (ops.w[at] !== row) continue;
    const away = Math.max(startMs(at) - at_ms, at_ms - stopMs(at), 0);
    if (away < distance) { best = at; distance = away; }
    if (startMs(at) < at_ms) break; // a worker does one thing at a time
  }
  return best;
}

function nearestDot(strip, at_ms, y, perPixel) {
  const f = ops.texts.indexOf(strip.dataset.f);
  let best = -1;
  let distance = 9;
  const until = firstFrom((at_ms + 9 * perPixel) * 1000);
  for (let at = firstFrom((at_ms - 9 * perPixel) * 1000); at < until; at++) {
    if (ops.f[at] !== f || ops.d[at] < 0) continue;
    const away = Math.hypot((startMs(at) - at_ms) / perPixel, latencyY(strip, at) - y);
    if (away < distance) { best = at; distance = away; }
  }
  return best;
}

function bandsAt(ms) {
  return meta.bands.filter(([from, to]) => from <= ms && ms <= to).map((band) => band[3]);
}

function hover(event) {
  const tip = $("tip");
  const cross = strips.querySelector(".cross");
  const inside = event.target.closest(".plot") && plots.length;
  tip.hidden = cross.hidden = !inside;
  if (!inside) return;
  const box = plotBox();
  const ms = view[0] + ((event.clientX - box.left) / box.width) * (view[1] - view[0]);
  cross.style.left = `${event.clientX - strips.getBoundingClientRect().left}px`;
  const lines = [seconds(Math.max(0, ms))];
  const at = opAt(event);
  if (at >= 0) lines.push(`#${ops.i[at]} process ${ops.p[at]} ${brief(at)}`);
  lines.push(...bandsAt(ms).slice(0, 4));
  tip.replaceChildren(...lines.map((line, place) => make(place ? "div" : "b", {}, line)));
  const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - tip.offsetWidth - 14 : event.clientX + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.min(innerHeight - tip.offsetHeight - 6, event.clientY + 14)}px`;
}

function brief(at) {
  const key = text("k", at);
  const words = [text("f", at), key && `key ${key}`, valueText(at), OUTCOMES[ops.o[at]], span(ops.d[at])];
  return words.filter(Boolean).join(" · ").slice(0, 200);
}

function dragging() {
  const brush = strips.querySelector(".brush");
  let from = null;
  let moving = null;
  strips.addEventListener("pointerdown", (event) => {
    if (event.button || !event.target.closest(".plot") || event.pointerType === "touch") return;
    from = event.clientX;
    moving = event.shiftKey ? [...view] : null;
    strips.setPointerCapture(event.pointerId);
  });
  strips.addEventListener("pointermove", (event) => {
    if (from === null) { hover(event); return; }
    $("tip").hidden = true;
    const box = plotBox();
    if (moving) {
      const shift = ((event.clientX - from) / box.width) * (moving[1] - moving[0]);
      setView(moving[0] - shift, moving[1] - shift);
      return;
    }
    const [a, b] = [from, event.clientX].sort((x, y) => x - y);
    const edge = strips.getBoundingClientRect().left;
    const left = Math.max(a, box.left);
    brush.hidden = b - a < 4;
    brush.style.left = `${left - edge}px`;
    brush.style.width = `${Math.max(0, Math.min(b, box.right) - left)}px`;
  });
  const end = (event) => {
    if (from === null) return;
    const box = plotBox();
    const [a, b] = [from, event.clientX].sort((x, y) => x - y);
    const toMs = (x) => view[0] + ((x - box.left) / box.width) * (view[1] - view[0]);
    if (!moving && b - a >= 4) setView(toMs(Math.max(a, box.left)), toMs(Math.min(b, box.right)));
    from = null;
    brush.hidden = true;
  };
  strips.addEventListener("pointerup", end);
  strips.addEventListener("pointercancel", end);
  strips.addEventListener("pointerleave", () => { $("tip").hidden = strips.querySelector(".cross").hidden = true; });
  strips.addEventListener("click", (event) => {
    // After a captured drag the click's target is the container itself: ask what lies below.
    const below = document.elementFromPoint(event.clientX, event.clientY);
    const at = below ? opAt({ target: below, clientX: event.clientX, clientY: event.clientY }) : -1;
    if (at >= 0) choose(at);
  });
  strips.addEventListener("dblclick", () => setView(0, meta.end));
  strips.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = plotBox();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, (event.clientX - box.left) / box.width);
  }, { passive: false });
}

function zoom(times, around = 0.5) {
  const width = view[1] - view[0];
  const start = view[0] + width * around * (1 - times);
  setView(start, start + width * times);
}

const moves = {
  in: () => zoom(0.5),
  out: () => zoom(2),
  left: () => setView(view[0] - (view[1] - view[0]) / 4, view[1] - (view[1] - view[0]) / 4),
  right: () => setView(view[0] + (view[1] - view[0]) / 4, view[1] + (view[1] - view[0]) / 4),
  all: () => setView(0, meta.end),
  next: () => nextSuspect(),
};
const keys = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all", n: "next" };

function nextSuspect() {
  if (!ops || !meta.suspects.length) return;
  const now = chosen < 0 ? -1 : ops.i[chosen];
  const index = meta.suspects.find((suspect) => suspect > now) ?? meta.suspects[0];
  const at = ops.place.get(index);
  if (at !== undefined) choose(at, { show: true });
}
