// The example browser: filters on the left, the chosen example beside the baseline's on the right.
const PAGE = 50;
const browsable = data.runs.filter((run) => run.examples.length);
const control = (id) => document.getElementById(id);
const byKey = new Map(browsable.map((run) => [run.name, new Map(run.examples.map((e) => [e.key, e]))]));
let page = 0, chosen = null;

function option(value, text) {
  return element("option", { value }, text === undefined ? value : text);
}
function baselineOf(example, run) {
  return run.baseline && byKey.has(run.baseline) ? byKey.get(run.baseline).get(example.key) : undefined;
}
const FILTERS = {
  all: () => true,
  flips: (e, b) => b !== undefined && b.good !== e.good,
  lost: (e, b) => b !== undefined && b.good && !e.good,
  wrong: (e) => !e.good,
  truncated: (e) => e.truncated,
  errors: (e) => e.outcome.startsWith("error"),
};
function searched(example) {
  return (example.lower ??= `${example.name}\n${example.question}\n${example.text}`.toLowerCase());
}
function matching() {
  const run = browsable.find((r) => r.name === control("run").value);
  const words = control("search").value.toLowerCase();
  const test = FILTERS[control("filter").value], kind = control("kind").value;
  const found = run.examples.filter((e) => test(e, baselineOf(e, run)) && (kind === "all" || e.kind === kind) && (!words || searched(e).includes(words)));
  return [run, found];
}
function outcome(example) {
  const style = example.outcome.startsWith("error") ? "error" : example.outcome === "answered" && !example.good ? "wrong" : example.outcome;
  return element("span", { class: `tag ${style}` }, example.outcome === "answered" ? (example.good ? "answered, fine" : "answered, not as wished") : example.outcome);
}
function browse() {
  const [run, found] = matching();
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  page = Math.min(page, last);
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  if (!shown.some((e) => e.key === chosen)) chosen = shown.length ? shown[0].key : null;
  control("list").replaceChildren(...shown.map((e) => {
    const item = element("li", { tabindex: 0, "aria-selected": String(e.key === chosen) }, outcome(e), " ", shortened(e.question, 110), element("small", { title: e.key }, e.name));
    item.onclick = () => { chosen = e.key; browse(); };
    item.onkeydown = (event) => walk(event);
    return item;
  }));
  control("found").textContent = `${found.length} of ${run.examples.length}${run.rows > run.examples.length ? ` (the first of ${run.rows} in the run)` : ""}`;
  control("page").textContent = `${page + 1} / ${last + 1}`;
  control("previous").disabled = page === 0;
  control("next").disabled = page === last;
  detail(run, found.find((e) => e.key === chosen));
}
// Enter or a blank chooses, the arrows choose the one above or below.
function walk(event) {
  const items = [...control("list").children], at = items.indexOf(event.currentTarget);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Enter: at, " ": at }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (!items[to]) return;
  items[to].onclick();
  control("list").children[to].focus();
}
function detail(run, example) {
  const box = control("detail");
  if (!example) {
    box.replaceChildren(element("p", { class: "note" }, "Nothing here matches."));
    return;
  }
  const sides = [[run.name, example]];
  const other = baselineOf(example, run);
  if (other) sides.unshift([`${run.baseline} (baseline)`, other]);
  box.replaceChildren(element("h3", {}, "Question"), element("pre", {}, example.question), element("p", {}, element("strong", {}, "Gold: "), example.gold || "\u2013"),
    element("div", { class: "two" }, ...sides.map(([name, e]) => element("div", { class: "panel" }, element("h3", {}, name), outcome(e), element("p", {}, `Answer: ${e.answer || "\u2013"}`), element("pre", {}, e.text || "(empty)"), values(e)))));
}
function values(example) {
  const rows = Object.entries(example.values).filter(([, v]) => v !== null);
  return element("small", { class: "note" }, rows.map(([name, v]) => `${name} ${v}`).join(", "));
}
if (browsable.length) {
  control("run").append(...browsable.map((run) => option(run.name)));
  control("run").value = (browsable.filter((run) => run.name !== data.baseline).pop() || browsable[0]).name;
  control("kind").append(option("all"), ...[...new Set(browsable.flatMap((run) => run.examples.map((e) => e.kind)))].map((k) => option(k)));
  for (const id of ["run", "filter", "kind", "search"]) control(id).oninput = () => { page = 0; browse(); };
  control("previous").onclick = () => { page -= 1; browse(); };
  control("next").onclick = () => { page += 1; browse(); };
  browse();
} else {
  control("examples").hidden = true;
}
