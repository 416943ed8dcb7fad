// Training curves: one small chart for each column of a run's history, drawn with uPlot.
//
// drawCurves(element, series): `series.columns` maps a name to {step: [..], value: [..]}, or to an array of values whose
// steps are `series.step`; null, or nothing, where a step has no value. `series.notes` maps a name to a sentence about it.
// A second call with the same element updates its charts, adds those of new columns and removes those of absent ones.
const drawCurves = (() => {
  const HEIGHT = 150, FEW = 40; // pixels; points that are marked one by one
  const drawnIn = new WeakMap();
  let boxes = 0;

  function figure(value) {
    const size = Math.abs(value);
    if (size >= 1e5 || (size > 0 && size < 1e-3)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    return String(Number(value.toPrecision(4)));
  }
  function pointsOf(series, name) {
    const column = series.columns[name];
    const [steps, values] = Array.isArray(column) ? [series.step, column] : [column.step, column.value];
    const kept = steps.map((_, i) => i).filter((i) => Number.isFinite(values[i]));
    return [kept.map((i) => steps[i]), kept.map((i) => values[i])];
  }
  function padded(least, most) {
    const pad = most > least ? 0.06 * (most - least) : Math.abs(least) * 0.1 || 1;
    return [least - pad, most + pad];
  }
  function colour(name) {
    return () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }
  function axis(side, size) {
    return { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif", values: (_, splits) => splits.map(figure), ...(side ? { gap: 4, size, space: 26 } : { gap: 2, size: 24, space: 60 }) };
  }
  function room(_, labels) {
    return 14 + 6.5 * Math.max(0, ...(labels || []).map((label) => label.length));
  }

  function chartIn(panel, key, readout) {
    const options = {
      width: panel.clientWidth || 300, height: HEIGHT, legend: { show: false },
      cursor: { sync: { key, scales: ["x", null] }, y: false, points: { size: 7 } },
      scales: { x: { time: false, range: (_, least, most) => (most > least ? [least, most] : [least - 1, least + 1]) }, y: { range: (_, least, most) => padded(least, most) } },
      axes: [axis(0), axis(1, room)],
      series: [{}, { stroke: colour("--accent"), width: 1.5, points: { show: (u) => u.data[0].length <= FEW, size: 4, fill: colour("--accent") } }],
      hooks: { setCursor: [(chart) => tell(chart, readout)] },
    };
    return new uPlot(options, [[], []], panel);
  }
  function pointed(chart) {
    return chart.cursor.left >= 0 ? chart.cursor.idx : null; // the index below the pointer, if it is in the chart
  }
  function tell(chart, readout) {
    const [steps, values] = chart.data;
    const at = Math.min(pointed(chart) ?? steps.length - 1, steps.length - 1);
    readout.textContent = steps.length ? `${figure(values[at])} at step ${steps[at]}` : "no value yet";
  }
  function walk(chart, event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const last = chart.data[0].length - 1;
    if (!way || last < 0) return;
    const from = pointed(chart) ?? (way < 0 ? last + 1 : -1);
    const to = Math.min(last, Math.max(0, from + way));
    chart.setCursor({ left: chart.valToPos(chart.data[0][to], "x"), top: HEIGHT / 3 });
    event.preventDefault();
  }
  function put(tag, parent, name) {
    const made = parent.appendChild(document.createElement(tag));
    if (name) made.className = name;
    return made;
  }

  function opened(element, key, name) {
    const panel = put("div", element, "curve");
    const head = put("div", panel, "curve-head");
    put("h3", head).textContent = name.replaceAll("_", " ");
    const readout = put("output", head), plot = put("div", panel), note = put("small", panel, "note");
    const chart = chartIn(plot, key, readout);
    plot.tabIndex = 0;
    plot.setAttribute("role", "img");
    plot.onkeydown = (event) => walk(chart, event);
    const watcher = new ResizeObserver(() => plot.clientWidth && plot.clientWidth !== chart.width && chart.setSize({ width: plot.clientWidth, height: HEIGHT }));
    watcher.observe(plot);
    return { panel, plot, readout, note, chart, close: () => { watcher.disconnect(); chart.destroy(); panel.remove(); } };
  }
  function fill(one, name, points, note) {
    const [steps, values] = points, last = steps.length - 1;
    one.chart.setData(points);
    tell(one.chart, one.readout);
    one.note.textContent = note || "";
    one.note.hidden = !note;
    const words = last < 0 ? "no value yet" : `${figure(values[0])} at step ${steps[0]}, ${figure(values[last])} at step ${steps[last]}, from ${figure(values.reduce((a, b) => Math.min(a, b)))} to ${figure(values.reduce((a, b) => Math.max(a, b)))}`;
    one.plot.setAttribute("aria-label", `${name.replaceAll("_", " ")}: ${words}`);
  }

  const repaint = () => document.querySelectorAll(".curves").forEach((box) => (drawnIn.get(box) || { charts: [] }).charts.forEach((one) => one.chart.redraw(false)));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

  return function drawCurves(element, series) {
    element.classList.add("curves");
    if (!drawnIn.has(element)) drawnIn.set(element, { key: `curves-${(boxes += 1)}`, charts: new Map() });
    const { key, charts } = drawnIn.get(element);
    for (const [name, one] of charts) {
      if (name in series.columns) continue;
      one.close();
      charts.delete(name);
    }
    for (const [i, name] of Object.keys(series.columns).entries()) {
      if (!charts.has(name)) charts.set(name, opened(element, key, name));
      const { panel } = charts.get(name);
      if (element.children[i] !== panel) element.insertBefore(panel, element.children[i] || null); // moved only where it must be: a move loses the focus
      fill(charts.get(name), name, pointsOf(series, name), (series.notes || {})[name]);
    }
  };
})();
