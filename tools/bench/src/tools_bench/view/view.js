// Everything that comes from a run is put on the page as a text node or an attribute, never as markup.
const PAUSE = 2000, ROWS = 50, REPLIES = 10, DASH = "\u2013";
const at = (id) => document.getElementById(id);
const percent = (value) => (100 * value).toFixed(1);
const figure = (value) => (typeof value !== "number" ? String(value ?? DASH) : Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : value.toLocaleString("en", { maximumSignificantDigits: 4 }));

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
function later(act, pause = 250) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(act, pause); };
}

// The token of the address is kept for this tab and taken out of the address bar.
const opened = new URLSearchParams(location.hash.slice(1));
if (opened.has("token")) {
  sessionStorage.setItem("token", opened.get("token"));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token");
const kept = new Map(); // the last answer of an address, and its tag

async function ask(path, given = {}) {
  const address = `/api/${path}?${new URLSearchParams(given)}`;
  const before = kept.get(address);
  const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...(before ? { "If-None-Match": before.tag } : {}) };
  const response = await fetch(address, { headers, cache: "no-store", redirect: "error" });
  if (response.status === 304) return before.told;
  const told = await response.json();
  if (!response.ok) throw new Error(told.error || `status ${response.status}`);
  kept.delete(address);
  kept.set(address, { tag: response.headers.get("ETag"), told });
  if (kept.size > 40) kept.delete(kept.keys().next().value);
  return told;
}
function failed(box, error) {
  box.replaceChildren(element("p", { class: "problem" }, String(error.message || error)));
}
// Only the answer to the last question counts: an earlier one may come later, and its failure says nothing.
function newest(act) {
  let number = 0;
  return async (...words) => {
    const mine = (number += 1);
    try {
      await act(() => mine === number, ...words);
    } catch (error) {
      if (mine === number) problem(error);
    }
  };
}
function problem(error) {
  at("summary").textContent = error instanceof TypeError ? "The server does not answer; is tools-bench view still running?" : error.message;
  at("summary").className = "problem";
}

const choice = { run: null, baseline: null, draft: null, sort: "finished", order: "falling", offset: 0 };
const COLUMNS = [["name", "run"], ["kind", "kind"], ["model", "model"], ["test", "test set"], ["score", "score"], ["replies", "replies"], ["seconds", "time"], ["finished", "finished"]];

const listRuns = newest(async (isLast) => {
  const found = await ask("runs", { search: at("search").value, kind: at("kind").value, sort: choice.sort, order: choice.order, offset: choice.offset, limit: ROWS });
  if (!isLast()) return;
  const kinds = ["", ...Object.keys(found.kinds)];
  if (kinds.length !== at("kind").options.length) {
    const chosen = at("kind").value;
    at("kind").replaceChildren(...kinds.map((kind) => element("option", { value: kind }, kind ? `${kind} (${found.kinds[kind]})` : "all")));
    at("kind").value = chosen;
  }
  document.querySelector("#runs thead").replaceChildren(element("tr", {}, ...COLUMNS.map(([key, words]) => heading(key, words)), element("th", { scope: "col" }, "")));
  document.querySelector("#runs tbody").replaceChildren(...found.runs.map(row));
  at("matching").textContent = `${found.total.toLocaleString("en")} of ${found.all.toLocaleString("en")} runs, ${found.replies.toLocaleString("en")} replies in all`;
  pager("runs", Math.floor(choice.offset / ROWS), choice.offset > 0, choice.offset + ROWS < found.total, Math.max(1, Math.ceil(found.total / ROWS)));
});
function heading(key, words) {
  const isChosen = choice.sort === key;
  const button = element("button", {}, words + (isChosen ? (choice.order === "rising" ? " \u2191" : " \u2193") : ""));
  button.onclick = () => {
    choice.order = isChosen ? (choice.order === "rising" ? "falling" : "rising") : ["score", "replies", "seconds", "finished"].includes(key) ? "falling" : "rising";
    choice.sort = key;
    choice.offset = 0;
    listRuns();
  };
  return element("th", { scope: "col", "aria-sort": isChosen ? (choice.order === "rising" ? "ascending" : "descending") : "none" }, button);
}
function row(run) {
  const open = element("button", { title: run.name }, run.name), base = element("button", { title: "compare the chosen run with this one" }, choice.baseline === run.id ? "is baseline" : "baseline");
  open.onclick = () => choose(run.id);
  base.onclick = () => { choice.baseline = run.id; listRuns(); showFlips(true); };
  base.disabled = !run.n_replies;
  const name = element("th", { scope: "row" }, open);
  if (run.problem) name.append(element("br"), element("small", { class: "problem" }, run.problem));
  return element("tr", { "data-run": run.id, "aria-selected": String(choice.run === run.id) }, name,
    element("td", {}, run.kind || DASH), element("td", { class: "wide" }, run.model || DASH), element("td", { class: "wide" }, run.test || DASH), rate(run),
    element("td", {}, run.n_replies ? run.n_replies.toLocaleString("en") : DASH), element("td", {}, duration(run.seconds)), element("td", {}, when(run.finished)), element("td", {}, base));
}
function rate(run) {
  if (run.score === null) return element("td", {}, DASH);
  return element("td", {}, percent(run.score), element("br"), element("small", {}, `${percent(run.low)}${DASH}${percent(run.high)}, n=${run.n}; ${run.metric}`));
}
function when(text) {
  return text ? text.replace("T", " ").replace(/(:\d\d)?(\+00:00|Z)$/, "") : DASH;
}
function pager(name, page, hasPrevious, hasNext, pages) {
  at(`${name}-previous`).disabled = !hasPrevious;
  at(`${name}-next`).disabled = !hasNext;
  at(`${name}-page`).textContent = pages ? `${page + 1} / ${pages}` : `page ${page + 1}`;
}

// Runs that are being made: a card each, and the chosen one with its curves and samples.
const FIGURES = ["loss", "reward", "zero_variance_share", "entropy", "completion_length", "tokens_per_second"];
const showDrafts = newest(async (isLast) => {
  const { drafts } = await ask("drafts");
  if (!isLast()) return;
  at("none-running").hidden = drafts.length > 0;
  if (!drafts.some((one) => one.id === choice.draft)) choice.draft = drafts.length ? drafts[0].id : null;
  const focused = document.activeElement && document.activeElement.dataset.draft;
  at("drafts").replaceChildren(...drafts.map(card));
  if (focused) at("drafts").querySelector(`[data-draft="${CSS.escape(focused)}"]`)?.focus();
  await showDraft(isLast);
});
function card(draft) {
  const [words, style] = draft.is_running === null ? ["not known whether it is running", "stopped"] : draft.is_running ? ["running", "running-now"] : ["interrupted", "stopped"];
  const made = element("button", { class: "draft panel", "data-draft": draft.id, "aria-pressed": String(choice.draft === draft.id) }, element("h3", {}, draft.name),
    element("small", {}, element("span", { class: style }, words), `${draft.kind ? `; ${draft.kind}` : ""}${draft.model ? ` of ${draft.model}` : ""}; last written ${when(draft.written)}`));
  const [done, all] = draft.n_items ? [draft.n_replies, draft.n_items] : [draft.step, draft.n_steps];
  if (all) made.append(element("progress", { value: done || 0, max: Math.max(all, done || 0) }));
  const figures = [[draft.n_items ? "replies" : "step", done === null || done === undefined ? DASH : all ? `${figure(done)} of ${figure(all)}` : figure(done)], ["time left", duration(draft.seconds_left)],
    ...FIGURES.filter((name) => name in draft.latest).map((name) => [name.replaceAll("_", " ").replace("tokens per second", "tokens/s"), figure(draft.latest[name])])];
  made.append(element("dl", { class: "figures" }, ...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))));
  made.onclick = () => { choice.draft = draft.id; at("sample-step").value = ""; showDrafts(); };
  return made;
}
async function showDraft(isLast) {
  at("draft").hidden = choice.draft === null;
  if (choice.draft === null) return;
  const step = at("sample-step").value;
  const draft = await ask(`drafts/${choice.draft}`, step === "" ? {} : { step });
  if (!isLast()) return;
  document.querySelector("#draft h3").textContent = draft.name;
  curvesIn(document.querySelector("#draft .curves-here"), draft.curves);
  samplesIn(at("samples"), at("samples-of"), draft.samples);
}
function curvesIn(box, curves) {
  box.hidden = !Object.keys(curves.columns).length;
  if (!box.hidden) drawCurves(box, curves);
}
function samplesIn(box, note, samples) {
  const told = JSON.stringify(samples);
  if (box.dataset.told === String(told.length) && box.told === told) return; // what is being read stays where it is
  box.told = told;
  box.dataset.told = String(told.length);
  note.textContent = samples.step !== null ? `shown: step ${samples.step} of ${samples.first_step} to ${samples.last_step}` : samples.rows.length ? "the newest replies first" : "no sample yet";
  box.className = "samples";
  box.replaceChildren(...samples.rows.map((one) => {
    const facts = [one.finish_reason, one.n_tokens === null || one.n_tokens === undefined ? "" : `${one.n_tokens} tokens`, one.reward === undefined ? "" : `reward ${figure(one.reward)}`, one.advantage === undefined ? "" : `advantage ${figure(one.advantage)}`,
      ...Object.entries(one.rewards || {}).map(([name, value]) => `${name} ${figure(value)}`)].filter(Boolean);
    const made = element("div", { class: "panel" }, element("small", { class: "note" }, facts.join(", ")));
    if (one.question) made.append(element("details", {}, element("summary", {}, "prompt"), element("pre", {}, one.question)));
    made.append(element("pre", {}, one.text || "(empty)"));
    return made;
  }));
}

let changes = -1;
async function look() {
  try {
    if (!document.hidden) {
      const state = await ask("state");
      const indexing = state.to_do > state.done ? `; reading ${state.done} of ${state.to_do} new runs` : state.is_ready ? "" : "; looking for runs";
      at("summary").textContent = `${state.root}${indexing}`;
      at("summary").className = "";
      if (state.changes !== changes) {
        changes = state.changes;
        await listRuns();
      }
      await showDrafts();
    }
  } catch (error) {
    problem(error);
  }
  setTimeout(look, PAUSE);
}
const searched = later(() => { choice.offset = 0; listRuns(); });
at("search").oninput = searched;
at("kind").oninput = searched;
at("sample-step").oninput = later(showDrafts);
at("runs-previous").onclick = () => { choice.offset = Math.max(0, choice.offset - ROWS); listRuns(); };
at("runs-next").onclick = () => { choice.offset += ROWS; listRuns(); };
