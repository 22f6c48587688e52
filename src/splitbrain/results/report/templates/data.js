// Small helpers, and the operations of the page unpacked into columns.

const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const meta = JSON.parse($("meta").textContent);
const OUTCOMES = ["ok", "fail", "info"];

// Elements are built, never parsed from text: a value of the history cannot become markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A history without times is drawn at a second an event: then seconds are events.
const fixed = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (ms, digits = 3) => (meta.timeless ? fixed(ms / 1000, 0) : `${fixed(ms / 1000, digits)} s`);
const count = (number) => Math.round(number).toLocaleString("en");

function span(us) {
  if (us < 0) return "no answer";
  if (meta.timeless) return "";
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toPrecision(3)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

// Columns: i index, e distance to the completion, t start in µs, d length in µs (-1: none), p process,
// w worker, o outcome, s 1 if it stands for `meta.weight` others; f, k, a, r, n, x, g are places in
// `texts` (-1: none); `cut` are the places of texts that are shortened.
let ops = null;

function sums(differences) {
  let total = 0;
  return Float64Array.from(differences, (difference) => (total += difference));
}

async function unpack() {
  const text = $("operations").textContent.trim();
  if (!text) return;
  if (!("DecompressionStream" in window)) {
    if ($("hits")) $("hits").textContent = "search needs a browser of 2023 or later";
    return;
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const loaded = await new Response(stream).json();
  for (const name of ["e", "w", "f", "k", "a", "r", "n", "x", "g"]) loaded[name] = Int32Array.from(loaded[name]);
  for (const name of ["o", "s"]) loaded[name] = Uint8Array.from(loaded[name]);
  for (const name of ["d", "p"]) loaded[name] = Float64Array.from(loaded[name]);
  loaded.i = sums(loaded.i);
  loaded.t = sums(loaded.t);
  loaded.n_ = loaded.i.length;
  loaded.longest = loaded.d.reduce((most, length) => Math.max(most, length), 0);
  loaded.cut = new Set(loaded.cut);
  loaded.open = []; // never completed: these may reach into any later stretch
  for (let at = 0; at < loaded.n_; at++) if (loaded.d[at] < 0) loaded.open.push(at);
  loaded.place = new Map();
  for (let at = 0; at < loaded.n_; at++) {
    loaded.place.set(loaded.i[at], at);
    if (loaded.e[at] > 0) loaded.place.set(loaded.i[at] + loaded.e[at], at);
  }
  ops = loaded;
}

const text = (column, at) => (ops[column][at] < 0 ? "" : ops.texts[ops[column][at]]);
const startMs = (at) => ops.t[at] / 1000;
const stopMs = (at) => (ops.d[at] < 0 ? Math.max(meta.end, startMs(at)) : (ops.t[at] + ops.d[at]) / 1000);

// The completion of a write repeats its argument: then once is enough.
function valueText(at) {
  const argument = text("a", at);
  const result = text("r", at);
  if (ops.o[at] === 0 && !argument && !result) return "null";
  if (!result || result === argument) return argument;
  return argument ? `${argument} → ${result}` : `→ ${result}`;
}

// First place whose start is not before `us`; operations are in order of their starts.
function firstFrom(us) {
  let low = 0;
  let high = ops.n_;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ops.t[middle] < us) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Operations that touch a stretch of time, in order of their starts.
function* within(from, to) {
  const first = firstFrom(from * 1000 - ops.longest);
  for (const at of ops.open) {
    if (at >= first) break;
    yield at;
  }
  for (let at = first, until = firstFrom(to * 1000 + 1); at < until; at++) if (stopMs(at) >= from) yield at;
}
