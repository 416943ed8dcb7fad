// The lineage: what each run was made from, in rows from top to bottom that are as wide as the page.
//
// Nodes come in an order in which every node is after its sources. A row takes as many as fit beside the lines that pass
// through it; such a line has a place of its own between the boxes, so no line crosses one (Sugiyama's layers, with the
// width bounded as text is wrapped). All lines from one source share a trunk.
const LINEAGE = { lane: 14, gap: 20, line: 16, pad: 9, rise: 34, wide: 212, slim: 148, margin: 2 };

function wrapped(text, width, measure) {
  const lines = [""];
  for (const part of text.match(/[^\s/_.&?=:,-]*[\s/_.&?=:,-]?/g).filter(Boolean)) {
    if (measure(lines[lines.length - 1] + part.trimEnd()) <= width) {
      lines[lines.length - 1] += part;
      continue;
    }
    if (lines[lines.length - 1]) lines.push("");
    for (const letter of part) {
      if (measure(lines[lines.length - 1] + letter) > width) lines.push("");
      lines[lines.length - 1] += letter;
    }
  }
  return lines;
}

// The rows, and the row of each node. A source with a reader further down takes a lane of every row between.
function rowsOf(nodes, sources, readers, width, boxWidth) {
  const rows = [[]], row = new Map(), left = new Map(nodes.map((n) => [n.id, readers.get(n.id).length]));
  const passing = new Set(); // the sources above the last row that have readers to come
  for (const { id } of nodes) {
    for (const s of sources.get(id)) {
      left.set(s, left.get(s) - 1);
      if (!left.get(s)) passing.delete(s);
    }
    const first = Math.max(0, ...sources.get(id).map((s) => row.get(s) + 1));
    const here = rows.length - 1, n = rows[here].length + 1;
    const needed = n * (boxWidth + LINEAGE.gap) - LINEAGE.gap + passing.size * LINEAGE.lane + 2 * LINEAGE.margin;
    if (first > here || (n > 1 && needed > width)) {
      for (const s of rows[here]) if (left.get(s)) passing.add(s);
      rows.push([]);
    }
    rows[rows.length - 1].push(id);
    row.set(id, rows.length - 1);
  }
  return [rows, row];
}

// Places from left to right in the order wished for, as near to the wishes as the others and the width let them be:
// the mean of where they come to lie when pushed to the right and when pushed to the left.
function spread(items, width) {
  items.sort((a, b) => a.wish - b.wish);
  const steps = items.map((item, i) => (i ? items[i - 1].w + (items[i - 1].box && item.box ? LINEAGE.gap : LINEAGE.lane) : 0));
  const wishes = items.map((item) => item.wish - item.w / 2);
  const right = [], left = [];
  wishes.forEach((x, i) => { right[i] = i ? Math.max(x, right[i - 1] + steps[i]) : x; });
  for (let i = items.length - 1; i >= 0; i -= 1) left[i] = i < items.length - 1 ? Math.min(wishes[i], left[i + 1] - steps[i + 1]) : wishes[i];
  const place = right.map((x, i) => (x + left[i]) / 2);
  let end = width - LINEAGE.margin;
  for (let i = items.length - 1; i >= 0; i -= 1) {
    place[i] = Math.min(place[i], end - items[i].w);
    end = place[i] - steps[i] + (i ? items[i - 1].w : 0);
  }
  const start = LINEAGE.margin; // wins where the width does not hold them: the drawing is then scrolled
  items.forEach((item, i) => { item.x = Math.max(place[i], i ? items[i - 1].x + steps[i] : start); });
}

function layoutLineage(nodes, edges, width, measure) {
  const boxWidth = width < 700 ? LINEAGE.slim : LINEAGE.wide;
  const known = new Map(nodes.map((n, i) => [n.id, i]));
  const sources = new Map(nodes.map((n) => [n.id, []])), readers = new Map(nodes.map((n) => [n.id, []]));
  for (const edge of edges) {
    if (known.get(edge.from) >= known.get(edge.to)) continue;
    sources.get(edge.to).push(edge.from);
    readers.get(edge.from).push(edge.to);
  }
  const [rows, row] = rowsOf(nodes, sources, readers, width, boxWidth);
  const last = new Map(nodes.map((n) => [n.id, Math.max(row.get(n.id), ...readers.get(n.id).map((r) => row.get(r)))]));
  // Items of a row: boxes, and the lanes of sources above it with readers below it.
  const items = rows.map((ids, r) => [
    ...ids.map((id) => ({ id, box: true, w: boxWidth, wish: 0 })),
    ...nodes.filter((n) => row.get(n.id) < r && last.get(n.id) > r).map((n) => ({ id: n.id, box: false, w: 0, wish: 0 })),
  ]);
  const at = (id, r) => items[r].find((item) => item.id === id && item.box === (row.get(id) === r));
  const middle = (item) => item.x + item.w / 2;
  const mean = (found, otherwise) => (found.length ? found.reduce((sum, item) => sum + middle(item), 0) / found.length : otherwise);
  const above = (item, r) => (r === 0 ? [] : item.box ? sources.get(item.id).map((s) => at(s, r - 1)) : [at(item.id, r - 1)]);
  const below = (item, r) => {
    const next = readers.get(item.id).filter((id) => row.get(id) === r + 1).map((id) => at(id, r + 1));
    return last.get(item.id) > r + 1 ? [...next, at(item.id, r + 1)] : next;
  };
  items.forEach((line) => { line.forEach((item, i) => { item.wish = (width * (i + 0.5)) / line.length; }); spread(line, width); });
  for (let sweep = 0; sweep < 3; sweep += 1) {
    items.forEach((line, r) => { line.forEach((item) => { item.wish = mean(above(item, r), middle(item)); }); spread(line, width); });
    for (let r = items.length - 1; r >= 0; r -= 1) {
      items[r].forEach((item) => { item.wish = mean([...below(item, r), ...above(item, r)], middle(item)); });
      spread(items[r], width);
    }
  }
  const used = items.flat(), least = Math.min(...used.map((one) => one.x)), most = Math.max(...used.map((one) => one.x + one.w));
  const shift = Math.max((width - most - least) / 2, LINEAGE.margin - least); // into the middle
  for (const one of used) one.x += shift;
  return drawnLineage(nodes, items, { row, last, sources, readers, at, middle, boxWidth, measure, width });
}

function drawnLineage(nodes, items, { row, last, sources, readers, at, middle, boxWidth, measure, width }) {
  const byId = new Map(nodes.map((n) => [n.id, n])), boxes = [], links = [];
  let top = LINEAGE.margin;
  const tops = [], bottoms = [];
  items.forEach((line, r) => {
    let height = 0;
    for (const item of line.filter((one) => one.box)) {
      const node = byId.get(item.id), room = boxWidth - 2 * LINEAGE.pad;
      const lines = wrapped(node.label, room, measure), kind = node.label.split("/").pop() === node.kind ? [] : wrapped(node.kind, room, measure);
      const h = LINEAGE.line * (lines.length + kind.length) + 10;
      boxes.push({ id: item.id, x: item.x, y: top, w: boxWidth, h, lines, kind });
      height = Math.max(height, h);
    }
    tops.push(top);
    bottoms.push(top + height);
    top += height + LINEAGE.rise + Math.min(40, 2 * line.length);
  });
  const foot = new Map(boxes.map((box) => [box.id, box.y + box.h]));
  // Where a line enters a box: the sources from left to right share its upper edge.
  const door = (id, s) => {
    const r = row.get(id), others = [...new Set(sources.get(id))].sort((a, b) => middle(at(a, r - 1)) - middle(at(b, r - 1)));
    return at(id, r).x + (boxWidth * (others.indexOf(s) + 1)) / (others.length + 1);
  };
  for (const { id } of nodes) {
    for (let r = row.get(id); r < last.get(id); r += 1) {
      const x = middle(at(id, r)), start = row.get(id) === r ? foot.get(id) : tops[r];
      const beyond = readers.get(id).filter((to) => row.get(to) > r + 1);
      if (beyond.length) links.push({ from: id, to: beyond, head: false, points: [x, start, bottoms[r], middle(at(id, r + 1)), tops[r + 1]] });
      for (const to of new Set(readers.get(id))) {
        if (row.get(to) === r + 1) links.push({ from: id, to: [to], head: true, points: [x, start, bottoms[r], door(to, id), tops[r + 1]] });
      }
    }
  }
  return { boxes, links, width: Math.max(width, ...boxes.map((b) => b.x + b.w + LINEAGE.margin), ...links.map((l) => l.points[3] + LINEAGE.margin)), height: Math.max(0, ...bottoms) + LINEAGE.margin };
}

function drawLineage(box, { nodes, edges }) {
  const pen = document.createElement("canvas").getContext("2d");
  const measure = (text) => { pen.font = "12px system-ui, sans-serif"; return pen.measureText(text).width; };
  const byId = new Map(nodes.map((n) => [n.id, n]));
  let width = 0;
  function draw() {
    if (!nodes.length || !box.clientWidth || box.clientWidth === width) return;
    width = box.clientWidth;
    const plan = layoutLineage(nodes, edges, width, measure);
    const svg = drawn("svg", { width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "img", "aria-label": `Lineage of ${nodes.length} runs and sources` });
    svg.append(drawn("defs", {}, drawn("marker", { id: "head", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, drawn("path", { d: "M0 0L8 4L0 8z", class: "head" }))));
    const lines = plan.links.map(({ from, to, head, points: [x, start, bend, end, stop] }) => {
      const half = (bend + stop) / 2;
      const title = byId.get(from).label + (head ? ` \u2192 ${byId.get(to[0]).label}` : "");
      const line = drawn("path", { d: `M${x} ${start}V${bend}C${x} ${half} ${end} ${half} ${end} ${stop}`, class: "edge", ...(head ? { "marker-end": "url(#head)" } : {}) }, drawn("title", {}, title));
      svg.append(line);
      return [line, new Set([from, ...to])];
    });
    for (const one of plan.boxes) svg.append(boxOf(one, byId.get(one.id), (on) => lines.forEach(([line, ends]) => line.classList.toggle("on", on && ends.has(one.id)))));
    box.replaceChildren(svg);
  }
  new ResizeObserver(draw).observe(box);
  draw();
}

function boxOf({ x, y, w, h, lines, kind }, node, mark) {
  const text = (words, i, style) => drawn("text", { x: x + LINEAGE.pad, y: y + 17 + i * LINEAGE.line, ...(style ? { class: style } : {}) }, words);
  const made = drawn("g", { tabindex: 0, "data-node": node.label }, drawn("title", {}, node.full || node.label), drawn("rect", { x, y, width: w, height: h, rx: 6, class: node.run ? "node run" : "node" }),
    ...lines.map((words, i) => text(words, i)), ...kind.map((words, i) => text(words, lines.length + i, "soft")));
  made.onmouseenter = made.onfocus = () => mark(true);
  made.onmouseleave = made.onblur = () => mark(false);
  return made;
}
