"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const verdicts = new Map();
const all = data.pairs.concat(data.brief.map(line => ({ ...line, brief: true })));
for (const pair of all) if (pair.verdict) verdicts.set(pair.train_id, pair.verdict);
let saved = true, atOnce = 40;

function element(name, text, cls) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}

function marked(text, shared, others) {
  const places = [...shared.map(p => [...p, ""]), ...(others || []).map(p => [...p, "other"])].sort((a, b) => a[0] - b[0]);
  // Places count code points, as Python does; JavaScript's strings count half of an emoji.
  const signs = Array.from(text), p = element("p");
  let at = 0;
  for (const [start, end, cls] of places) {
    p.append(signs.slice(at, start).join(""), element("mark", signs.slice(start, end).join(""), cls));
    at = end;
  }
  p.append(signs.slice(at).join(""));
  return p;
}

function shown(pair, side) {
  if (!pair.brief) return marked(pair[side], pair[side + "_marks"], pair[side + "_others"]);
  return marked(pair[side], [], []);
}

const number = value => value === null || value === undefined ? "–" : value.toFixed(3);

function why(pair) {
  const parts = [];
  if (pair.brief) parts.push("the beginnings of both texts; the whole of them is in the matches");
  if (pair.cosine_similarity !== null && pair.cosine_similarity !== undefined) parts.push("cosine " + number(pair.cosine_similarity));
  if (pair.features) for (const [name, value] of Object.entries(pair.features))
    if (name !== "cosine") parts.push(name + " " + number(value));
    else if (pair.cosine_similarity === null) parts.push("TF-IDF cosine " + number(value));
  if (pair.rank) parts.push("candidate " + pair.rank);
  if (pair.shared_numbers && pair.shared_numbers.length) parts.push("shared numbers " + pair.shared_numbers.join(", "));
  if (pair.kept_by_guard) parts.push("kept by the guard: its numbers differ");
  if (pair.repeats) parts.push("repeats " + pair.repeats.train_path + ":" + pair.repeats.train_line + " (" + number(pair.repeats.score) + ")");
  return parts.join(" · ");
}

function card(pair) {
  const box = element("article", null, "card"), head = element("div", null, "head");
  head.append(element("span", pair.removed_by ? "removed: " + pair.removed_by : "kept", "badge " + (pair.removed_by ? "go" : "stay")));
  head.append(element("span", number(pair.score), "score"));
  head.append(element("span", pair.train_path + ":" + pair.train_line, "soft"));
  const buttons = element("span", null, "buttons");
  for (const verdict of ["keep", "remove"]) {
    const button = element("button", verdict);
    button.type = "button";
    button.dataset.verdict = verdict;
    button.onclick = () => {
      if (verdicts.get(pair.train_id) === verdict) verdicts.delete(pair.train_id); else verdicts.set(pair.train_id, verdict);
      saved = false;
      press(); counts();
    };
    buttons.append(button);
  }
  const press = () => { for (const b of buttons.children) b.setAttribute("aria-pressed", verdicts.get(pair.train_id) === b.dataset.verdict); };
  press();
  head.append(buttons);
  const both = element("div", null, "pair"), left = element("div"), right = element("div");
  left.append(element("h3", "train, line " + pair.train_line), shown(pair, "train"));
  right.append(element("h3", pair.test_set ? "test set " + pair.test_set + ", line " + pair.test_line : "no test row is near"), shown(pair, "test"));
  both.append(left, right);
  box.append(head, both, element("div", why(pair), "why"));
  return box;
}

function chosen() {
  const which = byId("which").value, set = byId("set").value, by = byId("by").value, words = byId("search").value.toLowerCase();
  const found = all.filter(p =>
    (which === "all" || (which === "removed") === Boolean(p.removed_by)) && (!set || p.test_set === set) && (!by || p.removed_by === by) &&
    (!words || (p.train + "\n" + p.test).toLowerCase().includes(words)));
  const sign = byId("order").value === "up" ? 1 : -1;
  return found.sort((a, b) => byId("order").value === "line" ? a.train_line - b.train_line : sign * ((a.score ?? -2) - (b.score ?? -2)));
}

function counts() {
  const n = chosen().length, left = data.n_left_out;
  byId("count").textContent = n + " pairs" + (left ? " (" + left + " surer removals are in the matches only)" : "") + ", " + verdicts.size + " verdicts" + (saved ? "" : ", not saved");
}

function draw() {
  const found = chosen();
  byId("list").replaceChildren(...found.slice(0, atOnce).map(card));
  byId("more").hidden = found.length <= atOnce;
  counts();
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function histogram() {
  const chart = byId("chart"), { low, high, counts } = data.histogram, top = Math.log10(1 + Math.max(10, ...counts));
  chart.setAttribute("viewBox", "0 0 " + chart.clientWidth + " 190");
  chart.setAttribute("aria-label", "Distribution of " + data.score);
  chart.replaceChildren();
  const width = chart.clientWidth, left = 48, x = value => left + (value - low) / (high - low) * (width - left - 4), bar = (width - left - 4) / counts.length;
  for (let power = 0; power <= top; power++) {
    const y = 165 - 140 * Math.log10(1 + 10 ** power) / top;
    chart.append(svg("line", { x1: left, x2: width, y1: y, y2: y, stroke: "var(--line)" }), svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, (10 ** power).toLocaleString("en")));
  }
  counts.forEach((n, i) => {
    const height = 140 * Math.log10(1 + n) / top;
    const one = svg("rect", { x: left + i * bar + 0.5, y: 165 - height, width: Math.max(1, bar - 1), height, fill: "var(--accent)" });
    const from = low + (high - low) * i / counts.length, to = low + (high - low) * (i + 1) / counts.length;
    one.append(svg("title", {}, from.toFixed(2) + " to " + to.toFixed(2) + ": " + n.toLocaleString("en") + " rows"));
    chart.append(one);
    if (n && bar >= 16) chart.append(svg("text", { x: left + (i + 0.5) * bar, y: 161 - height, "text-anchor": "middle", style: "font-size: 9px" }, n < 10000 ? n : Math.round(n / 1000) + "k"));
  });
  for (let step = 0; step <= 5; step++) {
    const value = low + (high - low) * step / 5;
    chart.append(svg("text", { x: x(value), y: 182, "text-anchor": step === 0 ? "start" : step === 5 ? "end" : "middle" }, value.toFixed(1)));
  }
  const total = counts.reduce((sum, n) => sum + n, 0);
  chart.append(svg("text", { x: 4, y: 12 }, "training rows by " + data.score + " of the nearest test row (" + total.toLocaleString("en") + " rows; counts on a logarithmic scale)"));
  if (data.threshold !== null && data.threshold <= high) {
    const at = x(data.threshold);
    chart.append(svg("line", { x1: at, x2: at, y1: 18, y2: 165, stroke: "var(--bad)", "stroke-width": 2 }));
    chart.append(svg("text", { x: at + (at > width / 2 ? -6 : 6), y: 28, "text-anchor": at > width / 2 ? "end" : "start", style: "fill: var(--bad)" }, "threshold " + Number(data.threshold.toPrecision(3)) + ": " + data.histogram.n_over.toLocaleString("en") + " rows reach it"));
  }
}

function start() {
  const m = data.metrics;
  document.title = "dedup: " + data.title;
  byId("title").textContent = data.title;
  byId("rule").textContent = data.rules.map(r => r.method + ": a row goes at " + r.score + " ≥ " + Number(r.threshold.toPrecision(4)) + (r.guard_numbers ? ", guarded by its numbers" : "")).join("; ") || "a row goes when its text equals a test row's";
  const tiles = [["rows in", m.n_rows], ["kept", m.n_kept], ["removed", m.n_removed], ["rejected", m.n_rejected], ["share removed", (100 * m.removed_share).toFixed(2) + " %"], ["test rows", m.n_test_rows], ["test rows rejected", m.n_test_rejected]];
  if (data.warnings.length) { const box = element("div", null, "panel warn"); for (const warning of data.warnings) box.append(element("p", warning)); byId("warnings").append(box); }
  if (data.rejected.length) {
    const box = byId("rejected"), table = element("table"), more = m.n_rejected + m.n_test_rejected - data.rejected.length;
    box.hidden = false;
    box.open = m.n_test_rejected > 0;
    box.firstElementChild.textContent = m.n_test_rejected + " test rows and " + m.n_rejected + " training rows could not be used" + (more > 0 ? " (the first " + data.rejected.length + " of them)" : "");
    for (const row of data.rejected) { const line = element("tr"); line.append(element("td", row.set === null ? "training" : "test set " + row.set), element("td", row.path + ":" + row.line), element("td", row.reason)); table.append(line); }
    box.append(table);
  }
  for (const [name, value] of tiles) { const tile = element("div", null, "tile"); tile.append(element("b", value), element("span", name, "soft")); byId("tiles").append(tile); }
  for (const [id, field] of [["set", "test_set"], ["by", "removed_by"]])
    for (const name of [...new Set(all.map(p => p[field]).filter(Boolean))].sort()) { const option = element("option", name); option.value = name; byId(id).append(option); }
  for (const id of ["which", "set", "by", "order", "search"]) byId(id).addEventListener("input", () => { atOnce = 40; draw(); });
  byId("more").onclick = () => { atOnce += 80; draw(); };
  byId("save").onclick = () => {
    const content = { kind: "tools-dedup verdicts", verdicts: [...verdicts].map(([train_id, verdict]) => ({ train_id, verdict })) };
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1) + "\n"], { type: "application/json" }));
    link.download = data.title.replace(/\.[^.]*$/, "") + ".verdicts.json";
    link.click();
    URL.revokeObjectURL(link.href);
    saved = true; counts();
  };
  addEventListener("beforeunload", event => { if (!saved) event.preventDefault(); });
  addEventListener("resize", histogram);
  if (!data.metrics.n_removed) byId("which").value = "near";
  if (location.hash.startsWith("#search=")) byId("search").value = decodeURIComponent(location.hash.slice(8));
  histogram(); draw();
}
start();
