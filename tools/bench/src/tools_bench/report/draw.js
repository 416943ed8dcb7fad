// Everything that comes from a run is put on the page as a text node or an attribute, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const scored = data.runs.filter((run) => run.examples.length || Object.keys(run.metrics).length);
const slim = window.matchMedia("(max-width: 760px)");
let narrow = slim.matches; // drawings are scaled: fewer units keep their letters legible
slim.addEventListener("change", () => {
  narrow = slim.matches;
  for (const box of document.querySelectorAll("#differences .body, #budget .body")) box.replaceChildren();
  differences();
  budget();
});
const percent = (value) => (100 * value).toFixed(1);
const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(100 * value).toFixed(1);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  return filled(made, attributes, children);
}
function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  return filled(made, attributes, children);
}
function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function place(selector, ...children) {
  document.querySelector(selector).append(...children);
}
function shortened(text, most) {
  return text.length > most ? text.slice(0, most - 1) + "\u2026" : text;
}

// Of a long list the first part; a button below the box shows the next one.
function inParts(box, items, size, make) {
  let n = 0;
  const more = element("button", { class: "more" });
  const show = () => {
    box.append(...items.slice(n, n + size).map(make));
    n = Math.min(items.length, n + size);
    more.hidden = n === items.length;
    more.textContent = `Show ${Math.min(size, items.length - n)} more (${n} of ${items.length} shown)`;
  };
  more.onclick = show;
  show();
  return more;
}
// A name that may be broken after its underscores, and is copied without anything added.
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}
function kindOf(run) {
  return run.name.split("/").pop() === run.kind ? [] : [element("br"), element("small", { class: "note" }, run.kind)];
}

document.getElementById("summary").textContent =
  `${data.runs.length} runs, ${scored.length} with results; made ${data.made}` +
  (data.baseline ? `; baseline: ${data.baseline}` : "");

// The leaderboard: the headline metrics, then the others that several runs share; a click on a heading sorts.
function leaderboard() {
  const count = new Map();
  for (const run of scored) for (const name of Object.keys(run.metrics)) count.set(name, (count.get(name) || 0) + 1);
  const order = Object.keys(data.metrics);
  const heads = new Set(scored.flatMap((run) => run.headline));
  const rank = (name) => (heads.has(name) ? 0 : 1000) + (order.indexOf(name) < 0 ? 500 : order.indexOf(name));
  const names = [...count.keys()].sort((a, b) => rank(a) - rank(b)).slice(0, 7);
  let by = names[0], rising = false;
  const box = document.querySelector("#leaderboard .scroll"), best = bestOf(names);
  function show() {
    const known = scored.filter((run) => by === null || run.metrics[by]), unknown = scored.filter((run) => !known.includes(run));
    const order = by === null ? (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }) : (a, b) => a.metrics[by].estimate - b.metrics[by].estimate;
    known.sort((a, b) => (rising ? 1 : -1) * order(a, b));
    const heading = [null, ...names].map((name) => {
      const button = element("button", { title: (data.metrics[name] || {}).what || "" }, ...breakable(name || "run"), name === by ? (rising ? " \u2191" : " \u2193") : "");
      button.onclick = () => { rising = by === name ? !rising : name === null; by = name; show(); focused(name); };
      return element("th", { scope: "col", "aria-sort": name !== by ? "none" : rising ? "ascending" : "descending" }, button);
    });
    heading.splice(1, 0, element("th", { scope: "col" }, "test set"));
    const body = element("tbody");
    const more = inParts(body, [...known, ...unknown], 200, (run) => element("tr", {}, element("th", { scope: "row" }, ...breakable(run.name), ...kindOf(run)),
      element("td", {}, element("small", {}, run.test || "\u2013")), ...names.map((name) => cell(run.metrics[name], best.get(`${name} ${run.test}`)))));
    box.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...heading)), body), more,
      element("p", { class: "note" }, "Estimate in percent, 95 % interval, number of items. Failed requests count as the worst answer. Bold: best of its column among runs on the same test set, which says nothing about chance; see the differences below."));
  }
  const focused = (name) => box.querySelectorAll("thead button")[[null, ...names].indexOf(name)].focus();
  show();
}
// The best estimate of each metric among the runs on one test set, where there is more than one.
function bestOf(names) {
  const best = new Map();
  for (const name of names) {
    const direction = (data.metrics[name] || { direction: 1 }).direction;
    const values = new Map();
    for (const run of scored) if (run.metrics[name]) (values.get(run.test) || values.set(run.test, []).get(run.test)).push(run.metrics[name].estimate);
    for (const [test, found] of values) if (direction && found.length > 1) best.set(`${name} ${test}`, found.reduce((a, b) => (direction * (b - a) > 0 ? b : a)));
  }
  return best;
}
function cell(rate, best) {
  if (!rate) return element("td", {}, "\u2013");
  return element("td", {}, element("span", rate.estimate === best ? { class: "best" } : {}, percent(rate.estimate)), element("br"),
    element("small", {}, `${percent(rate.low)}\u2013${percent(rate.high)}, n=${rate.n}`));
}

// A plot of estimates with whiskers, one row a run or a metric.
function whiskers(rows, { low, high, width = 380, labels = 130, zero = null, unit }) {
  const step = 24, height = rows.length * step + 22;
  const x = (value) => labels + ((value - low) / (high - low)) * (width - labels - 48);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "fit", role: "img" });
  for (const tick of ticks(low, high)) {
    svg.append(drawn("line", { x1: x(tick), x2: x(tick), y1: 0, y2: height - 18, class: "axis" }),
      drawn("text", { x: x(tick), y: height - 5, "text-anchor": "middle", class: "soft" }, unit(tick)));
  }
  if (zero !== null) svg.append(drawn("line", { x1: x(zero), x2: x(zero), y1: 0, y2: height - 18, class: "zero" }));
  svg.append(drawn("title", {}, rows.map((r) => `${r.label}: ${r.text}`).join("\n")));
  rows.forEach((row, i) => {
    const y = i * step + 13;
    svg.append(drawn("text", { x: 0, y: y + 4 }, shortened(row.label, Math.floor(labels / 6.6))),
      drawn("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y, class: `bar ${row.style}` }),
      drawn("circle", { cx: x(row.value), cy: y, r: 4, class: `dot ${row.style}` }),
      drawn("text", { x: width, y: y + 4, "text-anchor": "end" }, row.text));
  });
  return svg;
}
function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9; t += step) found.push(t);
  return found;
}
const MOST_DRAWN = 60;
function plots() {
  const names = [...new Set(scored.flatMap((run) => Object.keys(run.metrics)))];
  for (const name of names) {
    const all = scored.filter((run) => run.metrics[name]);
    const rows = all.slice(-MOST_DRAWN).map((run) => {
      const rate = run.metrics[name];
      return { label: run.name, value: rate.estimate, low: rate.low, high: rate.high, text: percent(rate.estimate), style: run.name === data.baseline ? "baseline" : "" };
    });
    const known = data.metrics[name] || { direction: 1, what: "" };
    const way = { 1: "higher is better", "-1": "lower is better", 0: "described only" }[known.direction];
    const part = rows.length < all.length ? `; the latest ${rows.length} of ${all.length} runs` : "";
    place("#plots .grid", element("div", { class: "panel" }, element("h3", {}, name),
      element("p", {}, `${known.what}${known.what ? "; " : ""}${way}${part}`), whiskers(rows, { low: 0, high: 1, unit: (t) => (100 * t).toFixed(0) })));
  }
}

function differences() {
  const box = document.querySelector("#differences .body");
  const names = Object.keys(data.differences).filter((name) => data.differences[name].length);
  const baseline = new Map(data.runs.map((run) => [run.name, run.baseline]));
  if (!names.length) {
    box.append(element("p", { class: "note" }, "No two evaluated runs here share items; there is nothing to compare."));
    return;
  }
  box.append(element("p", { class: "note" }, `Each run minus its baseline, in points, paired by item, with 95 % intervals. Improved or regressed: Hommel-adjusted p \u2264 0.05 over the metrics of one run; equivalent: the interval lies within 2 points; "detectable" is what this comparison finds with 80 % power.`));
  const grid = element("div", { class: "grid wide" });
  const panel = (name) => {
    const verdicts = data.differences[name];
    const reach = Math.max(0.05, ...verdicts.flatMap((v) => [Math.abs(v.low), Math.abs(v.high)])) * 1.05;
    const rows = verdicts.map((v) => ({ label: v.metric, value: v.difference, low: v.low, high: v.high, text: signed(v.difference), style: v.verdict }));
    const counts = verdicts.filter((v) => v.direction).map((v) => element("tr", {},
      element("td", {}, v.metric), element("td", { class: v.verdict }, v.verdict), element("td", {}, `p ${v.p_adjusted < 0.001 ? "< 0.001" : "= " + v.p_adjusted.toFixed(3)}`),
      element("td", {}, v.minimum_detectable === null ? "\u2013" : percent(v.minimum_detectable)), element("td", {}, String(v.n))));
    return element("div", { class: "panel" }, element("h3", {}, `${name} against ${baseline.get(name)}`), whiskers(rows, { low: -reach, high: reach, width: narrow ? 410 : 530, labels: 196, zero: 0, unit: (t) => (100 * t).toFixed(0) }),
      element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...["metric", "verdict", "p (adjusted)", "detectable", "n"].map((h) => element("th", { scope: "col" }, h)))), element("tbody", {}, ...counts))));
  };
  box.append(grid, inParts(grid, names, MOST_DRAWN, panel));
}

function budget() {
  const box = document.querySelector("#budget .body");
  const points = data.budgets;
  if (points.length < 2) {
    document.getElementById("budget").hidden = true;
    document.querySelector('nav a[href="#budget"]').hidden = true;
    return;
  }
  const width = narrow ? 440 : 720, height = 300, left = 44, bottom = 36;
  const most = Math.max(...points.map((p) => p.seconds)) * 1.25 || 1;
  const x = (s) => left + (s / most) * (width - left - 10);
  const y = (v) => 10 + (1 - v) * (height - bottom - 10);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "fit", role: "img", style: "max-width:820px" });
  for (const v of [0, 0.25, 0.5, 0.75, 1]) svg.append(drawn("line", { x1: left, x2: width, y1: y(v), y2: y(v), class: "axis" }), drawn("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end", class: "soft" }, String(100 * v)));
  for (const t of ticks(0, most)) svg.append(drawn("text", { x: x(t), y: height - bottom + 18, "text-anchor": "middle", class: "soft" }, `${t.toFixed(0)} s`));
  const styles = ["improved", "", "equivalent", "regressed"];
  const methods = [...new Set(points.map((p) => p.method))];
  for (const p of points) {
    const style = styles[methods.indexOf(p.method) % styles.length];
    svg.append(drawn("line", { x1: x(p.seconds), x2: x(p.seconds), y1: y(p.accuracy.low), y2: y(p.accuracy.high), class: `bar ${style}` }), drawn("circle", { cx: x(p.seconds), cy: y(p.accuracy.estimate), r: 5, class: `dot ${style}` }),
      drawn("text", { x: x(p.seconds) + (p.seconds > 0.6 * most ? -9 : 9), y: y(p.accuracy.estimate) + 4, "text-anchor": p.seconds > 0.6 * most ? "end" : "start" }, p.name === p.method ? p.name : `${p.name} (${p.method})`));
  }
  box.append(svg, element("p", { class: "note" }, "Strict accuracy in percent with its interval against the seconds of training, those of the runs before included, on the machines they ran on."));
}

// The training curves of one run at a time.
function training() {
  const names = Object.keys(data.curves), box = document.querySelector("#training .body"), choice = document.getElementById("curves-of");
  if (!names.length) {
    document.getElementById("training").hidden = true;
    document.querySelector('nav a[href="#training"]').hidden = true;
    return;
  }
  choice.append(...names.map((name) => element("option", { value: name }, name)));
  const trained = names.filter((name) => ["loss", "reward"].some((column) => column in data.curves[name].columns));
  choice.value = [...names, ...trained].pop();
  choice.oninput = () => {
    const series = data.curves[choice.value];
    drawCurves(box, series);
    document.querySelector("#training .note.more").textContent = series.left_out ? `${series.left_out} more columns are in the run's metrics.jsonl.` : "";
  };
  choice.oninput();
}

function cost() {
  const head = (words) => element("thead", {}, element("tr", {}, ...words.map((h) => element("th", { scope: "col" }, h))));
  const line = (run, cells) => element("tr", {}, element("th", { scope: "row" }, run.name), ...cells.map((c) => element("td", {}, c)));
  const table = (words, rows, cells) => {
    const body = element("tbody"), more = inParts(body, rows, 200, (run) => line(run, cells(run)));
    place("#cost .scroll", element("table", {}, head(words), body), more);
  };
  table(["run", "cost", "with its ancestors"], data.runs, (run) => [run.cost.own, run.cost.behind]);
  place("#cost .scroll", element("p", { class: "note" }, `All runs here and their ancestors, each once: ${data.cost}. What has no known price is unknown, not 0.`));
  const rows = data.runs.filter((run) => Object.keys(run.effort).length);
  const keys = ["responses", "failed", "from_cache", "retries", "tokens_in", "tokens_out", "without_counts", "spent", "judge_spent", "median_seconds"];
  const known = keys.filter((key) => rows.some((run) => ![null, undefined].includes(run.effort[key])));
  if (!rows.length) return;
  const shown = (value) => (value === null || value === undefined ? "\u2013" : value.toLocaleString("en"));
  table(["run", ...known.map((k) => k.replaceAll("_", " "))], rows, (run) => known.map((key) => shown(run.effort[key])));
  place("#cost .scroll", element("p", { class: "note" }, "Tokens as the replies' records count them; \u2013: not known."));
}

leaderboard();
differences();
plots();
training();
budget();
drawLineage(document.querySelector("#lineage .scroll"), data.lineage);
cost();
