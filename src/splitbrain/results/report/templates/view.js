// The brush: one stretch of time for all charts, the timeline and the list of operations.  It stands in
// the page's address (#t=12.3-15.0), so that a link shows what its writer saw.

const strips = $("strips");
const plots = strips ? all(".strip:not(.axis) .plot svg", strips) : [];
let view = [0, meta.end];
let chosen = -1;
let pending = false;
let settling = 0;

const isWhole = () => view[0] <= 0 && view[1] >= meta.end;
const plotBox = () => plots[0].getBoundingClientRect();
const round = (value) => Math.round(value * 1000) / 1000;

function setView(from, to) {
  const least = Math.min(meta.end, Math.max(0.01, meta.end / 1e6));
  const width = Math.min(meta.end, Math.max(least, to - from));
  const start = Math.max(0, Math.min(meta.end - width, from));
  view = [start, start + width];
  refresh();
}

// Charts follow at once; the list and the address when the reader has come to rest.
function refresh() {
  if (!plots.length) return;
  if (!pending) {
    pending = true;
    requestAnimationFrame(() => { pending = false; redraw(); });
  }
  clearTimeout(settling);
  settling = setTimeout(settle, 120);
}

function settle() {
  clearTimeout(settling);
  writeAddress();
  if (ops) { figures(); search(); }
}

function redraw() {
  const [from, to] = view;
  const width = to - from;
  for (const plot of plots) {
    plot.setAttribute("viewBox", `${from} 0 ${width} ${plot.getAttribute("height")}`);
  }
  const pixels = plotBox().width;
  for (const label of all(".over > *", strips)) placeLabel(label, from, to, pixels);
  ticks(from, to);
  $("range").textContent = isWhole() ? "" : `${seconds(from)} to ${seconds(to)}`;
  if (ops) { drawTimeline(); latencies.forEach(drawLatency); }
}

function placeLabel(label, from, to, pixels) {
  const width = to - from;
  const [start, stop] = [+label.dataset.a, +label.dataset.b];
  if (label.classList.contains("at") || label.classList.contains("proof")) {
    const share = (start - from) / width;
    label.style.left = `${share * 100}%`;
    label.hidden = share < 0 || share > 1;
    label.classList.toggle("flip", share > 0.85);
    return;
  }
  const a = Math.max(start, from);
  const b = Math.min(stop, to);
  const share = Math.max(0, (b - a) / width);
  label.style.left = `${((a - from) / width) * 100}%`;
  label.style.width = `${share * 100}%`;
  const least = label.textContent.length * 6 + 6;
  const narrow = share * pixels < least;
  const gap = label.classList.contains("gap");
  label.hidden = b < a || (narrow && !gap);
  if (gap) label.classList.toggle("narrow", narrow);
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

// What the stretch holds, in figures.  Where the page holds a part of the run, each operation that came
// in by the even share counts for those it stands for, and the figures say "about".
function figures() {
  const [from, to] = view;
  const tally = [0, 0, 0];
  const lengths = [];
  for (let at = firstFrom(from * 1000), n = firstFrom(to * 1000 + 0.5); at < n; at++) {
    const weight = ops.s[at] ? meta.weight : 1;
    tally[ops.o[at]] += weight;
    if (ops.d[at] >= 0) lengths.push([ops.d[at], weight]);
  }
  const begun = tally[0] + tally[1] + tally[2];
  const about = meta.weight > 1 ? "about " : "";
  const parts = [`${about}${count(begun)} operations begun`,
    OUTCOMES.map((outcome, o) => `${count(tally[o])} ${outcome}`).join(", ")];
  if (!meta.timeless) {
    parts.push(`${fixed(begun / ((to - from) / 1000), 1)} a second`);
    parts.push(percentiles(lengths));
  }
  const held = meta.bands.filter(([a, b]) => a <= to && b >= from).length;
  if (meta.bands.length) parts.push(`${held} of ${meta.bands.length} faults`);
  $("figures").textContent = `${isWhole() ? "Whole run" : "In this stretch"}: ${parts.filter(Boolean).join(" · ")}`;
}

function percentiles(lengths) {
  if (!lengths.length) return "";
  lengths.sort((a, b) => a[0] - b[0]);
  const total = lengths.reduce((sum, [, weight]) => sum + weight, 0);
  const at = (share) => {
    let sum = 0;
    for (const [length, weight] of lengths) if ((sum += weight) >= share * total - 1e-9) return span(length);
    return span(lengths[lengths.length - 1][0]);
  };
  return `p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}, longest ${span(lengths[lengths.length - 1][0])}`;
}

// --- the address: #t=12.3-15.0&op=4812 ------------------------------------------------------------

function readAddress() {
  const found = {};
  for (const part of location.hash.slice(1).split("&")) {
    const stretch = /^t=(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(part);
    const op = /^op=(\d+)$/.exec(part);
    if (stretch && +stretch[2] > +stretch[1]) found.t = [stretch[1] * 1000, stretch[2] * 1000];
    if (op) found.op = +op[1];
  }
  return found;
}

let told = location.hash;  // what the address was when we last read or wrote it

function writeAddress() {
  if (location.hash !== told) return;  // a reader has changed it, and follow() is about to hear of it
  const place = readAddress();
  // A link to another part of the page stays as it is until there is something to say.
  if (location.hash && !("t" in place) && !("op" in place) && isWhole() && chosen < 0) return;
  const digits = view[1] - view[0] < 100 ? 6 : 3;
  const parts = isWhole() ? [] : [`t=${(view[0] / 1000).toFixed(digits)}-${(view[1] / 1000).toFixed(digits)}`];
  if (chosen >= 0) parts.push(`op=${ops.i[chosen]}`);
  const wanted = parts.length ? `#${parts.join("&")}` : "";
  if (wanted !== location.hash) history.replaceState(null, "", wanted || location.pathname + location.search);
  told = location.hash;
}

function follow() {
  told = location.hash;
  const { t, op } = readAddress();
  if (t && plots.length) setView(...t);
  if (op === undefined) return;
  if (!ops) return;
  const at = ops.place.get(op);
  if (at === undefined) {
    $("hits").textContent = `operation ${op} is not in this page`;
    $("hits").scrollIntoView({ block: "center" });
    return;
  }
  choose(at, { show: !t });
  const row = document.getElementById(`op=${ops.i[at]}`);
  (row ?? strips).scrollIntoView({ block: "center" });
}

// --- by mouse and keyboard -----------------------------------------------------------------------

function zoom(times, around = 0.5) {
  const width = view[1] - view[0];
  const start = view[0] + width * around * (1 - times);
  setView(start, start + width * times);
}

const pan = (share) => setView(view[0] + (view[1] - view[0]) * share, view[1] + (view[1] - view[0]) * share);
const moves = {
  in: () => zoom(0.5),
  out: () => zoom(2),
  left: () => pan(-0.25),
  right: () => pan(0.25),
  all: () => setView(0, meta.end),
  next: () => stepAnomaly(1),
  previous: () => stepAnomaly(-1),
};
const keys = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" };

function dragging() {
  const brush = strips.querySelector(".brush");
  let from = null;
  let moving = null;
  strips.addEventListener("pointerdown", (event) => {
    if (event.button || !event.target.closest(".plot") || event.target.closest("a") || event.pointerType === "touch") return;
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
  strips.addEventListener("dblclick", () => setView(0, meta.end));
  strips.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = plotBox();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, (event.clientX - box.left) / box.width);
  }, { passive: false });
  strips.addEventListener("click", (event) => {
    // After a captured drag the click's target is the container itself: ask what lies below.
    const below = document.elementFromPoint(event.clientX, event.clientY);
    const at = below ? opAt({ target: below, clientX: event.clientX, clientY: event.clientY }) : -1;
    if (at >= 0) choose(at);
  });
}
