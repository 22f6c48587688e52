// Latency by function, drawn from single operations, and what lies under the pointer.

const latencies = strips ? all("[data-kind=latency]", strips) : [];
// What the page was written with is of all operations: it is put back for the whole run.
const written = new Map(latencies.flatMap((strip) => all(".dots", strip)).map((path) => [path, path.getAttribute("d")]));

// One mark for each small cell of the picture, the worst outcome of the cell: as the written drawing.
function thin(places, cellOf) {
  const cells = new Map();
  for (const at of places) {
    const cell = cellOf(at);
    const known = cells.get(cell);
    if (known === undefined || ops.o[at] > ops.o[known]) cells.set(cell, at);
  }
  return cells.values();
}

function latencyY(strip, at) {
  const { low, high } = strip.dataset;
  const height = +strip.querySelector("svg").getAttribute("height");
  const place = (Math.log10(Math.max(1, ops.d[at])) - low) / (high - low);
  return height * (1 - Math.min(1, Math.max(0, place)));
}

function drawLatency(strip) {
  if (isWhole() && !filtered) {
    for (const path of all(".dots", strip)) path.setAttribute("d", written.get(path));
    return;
  }
  const f = functionOf(strip);
  const column = (view[1] - view[0]) / 640;
  const { low, high } = strip.dataset;
  const height = +strip.querySelector("svg").getAttribute("height");
  const places = [];
  for (let at = firstFrom(view[0] * 1000), n = firstFrom(view[1] * 1000 + 1); at < n; at++) {
    if (ops.f[at] === f && ops.d[at] >= 0 && (!filtered || matches[at])) places.push(at);
  }
  const yOf = (at) => height * (1 - Math.min(1, Math.max(0, (Math.log10(Math.max(1, ops.d[at])) - low) / (high - low))));
  const parts = [[], [], []];
  const cellOf = (at) => Math.floor((startMs(at) - view[0]) / column) * 256 + Math.floor(yOf(at) / 3);
  for (const at of thin(places, cellOf)) parts[ops.o[at]].push(`M${round(startMs(at))} ${yOf(at).toFixed(1)}h0`);
  OUTCOMES.forEach((outcome, o) =>
    all(`.dots.${outcome}`, strip).forEach((path) => path.setAttribute("d", parts[o].join(""))));
}

const functionPlaces = new Map();
function functionOf(strip) {
  if (!functionPlaces.has(strip)) functionPlaces.set(strip, ops.texts.indexOf(strip.dataset.f));
  return functionPlaces.get(strip);
}

// The operation under the pointer, or -1.
function opAt(event) {
  const strip = event.target.closest(".strip");
  if (!ops || !strip || !strip.dataset.kind) return -1;
  if (strip === timeline) return timelineAt(event.clientX, event.clientY);
  if (strip.dataset.kind !== "latency") return -1;
  const box = strip.querySelector("svg").getBoundingClientRect();
  const perPixel = (view[1] - view[0]) / box.width;
  return nearestDot(strip, view[0] + (event.clientX - box.left) * perPixel, event.clientY - box.top, perPixel);
}

function nearestDot(strip, at_ms, y, perPixel) {
  const f = functionOf(strip);
  let best = -1;
  let distance = 9;
  const until = firstFrom((at_ms + 9 * perPixel) * 1000);
  for (let at = firstFrom((at_ms - 9 * perPixel) * 1000); at < until; at++) {
    if (ops.f[at] !== f || ops.d[at] < 0 || (filtered && !matches[at])) continue;
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
  if (event.target.title) lines.push(event.target.title);
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
