// From one anomaly to the next: its stretch of time, its operations, its card.

let standing = -1;

function marksOf(anomaly) {
  return anomaly.ops.map((index) => ops.place.get(index)).filter((at) => at !== undefined);
}

function showAnomaly(number) {
  const anomaly = meta.anomalies[number];
  if (!ops || !anomaly) return;
  standing = number;
  const marks = marksOf(anomaly);
  if (!marks.length) return;
  const from = Math.min(...marks.map(startMs));
  const to = Math.max(...marks.map((at) => (ops.d[at] < 0 ? startMs(at) : stopMs(at))));
  const pad = Math.max((to - from) * 0.15, 2);
  showRows(marks);
  setView(from - pad, to + pad);
}

function stepAnomaly(step) {
  const total = meta.anomalies.length;
  if (!ops || !total) return;
  const next = standing < 0 ? (step > 0 ? 0 : total - 1) : (standing + step + total) % total;
  showAnomaly(next);
  const marks = marksOf(meta.anomalies[next]);
  if (marks.length) choose(marks[marks.length - 1], { keep: true });
  const { kind, key } = meta.anomalies[next];
  $("standing").textContent = `anomaly ${next + 1} of ${total}: ${kind}${key && ` of key ${key}`}`;
  const card = $(`anomaly-${next + 1}`);
  for (const other of all(".card.standing")) other.classList.remove("standing");
  if (card) card.classList.add("standing");
  strips.scrollIntoView({ block: "start" });
}
