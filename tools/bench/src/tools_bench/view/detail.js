// One run: its figures, curves, training samples and replies; and where its replies differ from another run's.
const pages = { replies: [-1], flips: [-1] }; // the number before each page that has been seen

async function choose(run) {
  choice.run = run;
  pages.replies = [-1];
  at("reply-search").value = "";
  at("rollout-step").value = "";
  await Promise.all([listRuns(), showRun(), showFlips(true)]);
  at("run").scrollIntoView();
}
const showRun = newest(async (isLast) => {
  let run;
  try {
    run = await ask(`runs/${choice.run}`);
  } catch (error) {
    if (isLast()) failed(at("run-facts"), error);
    return;
  }
  if (!isLast()) return;
  at("no-run").hidden = true;
  at("run-detail").hidden = false;
  at("run-name").textContent = run.name;
  at("run-facts").textContent = [run.kind, run.tool, run.model, `finished ${when(run.finished)}`, `took ${duration(run.seconds)}`, `cost ${run.cost}`, run.problem].filter(Boolean).join("; ");
  table("run-metrics", "metric", Object.entries(run.metrics || {}).map(([name, value]) => [name, metric(value)]));
  table("run-options", "option", [...Object.entries(run.options || {}), ...(run.inputs || []).map((one) => [`input ${one.name}`, one.path])]);
  curvesIn(at("run-curves"), run.curves || { columns: {} });
  at("replies").hidden = !run.n_replies;
  const outcomes = Object.entries(run.outcomes || {});
  const options = [["all", `all (${run.n_replies})`], ["right", `right (${run.n_right})`], ["wrong", `not right (${run.n_wrong})`], ...outcomes.map(([name, n]) => [`outcome:${name}`, `outcome ${name} (${n})`])];
  at("show").replaceChildren(...options.map(([value, words]) => element("option", { value }, words)));
  await Promise.all([run.n_replies ? showReplies() : null, showRollouts()]);
});
function table(id, head, rows) {
  at(id).hidden = !rows.length;
  at(id).replaceChildren(element("thead", {}, element("tr", {}, element("th", { scope: "col" }, head), element("th", { scope: "col" }, "value"))),
    element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, String(value))))));
}
function metric(value) {
  if (value === null || typeof value !== "object") return figure(value);
  if (typeof value.estimate === "number") return `${percent(value.estimate)} % [${percent(value.low)}, ${percent(value.high)}], n=${value.n}`;
  if (typeof value.difference === "number") return `${percent(value.difference)} points [${percent(value.low)}, ${percent(value.high)}], n=${value.n}`;
  if (typeof value.mean === "number") return `${figure(value.mean)} [${figure(value.low)}, ${figure(value.high)}], n=${value.n}`;
  return JSON.stringify(value);
}
const showRollouts = newest(async (isLast) => {
  const step = at("rollout-step").value;
  const samples = await ask(`runs/${choice.run}/samples`, step === "" ? {} : { step });
  if (!isLast()) return;
  at("rollouts").hidden = samples.step === null;
  if (samples.step !== null) samplesIn(at("rollout-samples"), at("rollouts-of"), samples);
});

const showReplies = newest(async (isLast) => {
  const box = at("reply-list"), after = pages.replies[pages.replies.length - 1];
  try {
    const found = await ask(`runs/${choice.run}/replies`, { show: at("show").value, search: at("reply-search").value, after, limit: REPLIES });
    if (!isLast()) return;
    const searched = at("reply-search").value ? `${found.rows.length} found in ${found.n_searched.toLocaleString("en")} replies that were looked through` + (found.next !== null ? "; Next looks further" : "") : "";
    at("replies-found").textContent = searched;
    box.replaceChildren(...found.rows.map(shown));
    if (!found.rows.length) box.append(element("p", { class: "note" }, "No reply here matches."));
    pager("replies", pages.replies.length - 1, pages.replies.length > 1, found.next !== null, 0);
    at("replies-next").onclick = () => { pages.replies.push(found.next); showReplies(); };
  } catch (error) {
    if (isLast()) failed(box, error);
  }
});
function verdict(reply) {
  const style = reply.good === null ? "" : reply.good ? "right" : "wrong";
  const words = reply.good === null ? reply.outcome : reply.good ? "right" : reply.outcome === "correct" ? "right answer, not in the format asked for" : `wrong: ${reply.outcome}`;
  return element("span", { class: `tag ${style}` }, words);
}
function side(name, run, reply) {
  const made = element("div", { class: "panel" }, element("h3", {}, name, " ", verdict(reply)), element("p", {}, `Answer: ${reply.answer || DASH}`), element("pre", {}, reply.text || "(empty)"));
  if (reply.cut) {
    const whole = element("button", {}, "the whole reply");
    whole.onclick = async () => { made.querySelector("pre").textContent = (await ask(`runs/${run}/replies/${reply.number}`)).text; whole.remove(); };
    made.append(whole);
  }
  return made;
}
function shown(reply) {
  return element("article", { class: "reply", "data-reply": reply.number }, ...question(reply), side(reply.key + (reply.sample ? `, sample ${reply.sample + 1}` : ""), choice.run, reply));
}
function question(reply) {
  return [element("pre", {}, reply.question), element("p", {}, element("strong", {}, "Gold: "), reply.gold || DASH)];
}

async function showFlips(fromStart) {
  if (fromStart) pages.flips = [-1];
  const isPair = choice.run !== null && choice.baseline !== null && choice.run !== choice.baseline;
  at("no-flips").hidden = isPair;
  at("flips-detail").hidden = !isPair;
  if (isPair) await compare();
}
const compare = newest(async (isLast) => {
  const box = at("flip-list"), after = pages.flips[pages.flips.length - 1];
  try {
    const [found, baseline, run] = await Promise.all([ask(`runs/${choice.run}/flips/${choice.baseline}`, { show: at("flip-show").value, after, limit: REPLIES }), ask(`runs/${choice.baseline}`), ask(`runs/${choice.run}`)]);
    if (!isLast()) return;
    at("flips-between").textContent = `${run.name} against its baseline ${baseline.name}`;
    at("flips-difference").textContent = found.n ? difference(found) : "The two runs have no question in common.";
    box.replaceChildren(...found.rows.map((flip) => element("article", { class: "reply", "data-flip": flip.run.number }, ...question(flip.run), element("div", { class: "two" }, side(`${baseline.name} (baseline)`, choice.baseline, flip.baseline), side(run.name, choice.run, flip.run)))));
    if (found.n && !found.rows.length) box.append(element("p", { class: "note" }, "No such flip."));
    pager("flips", pages.flips.length - 1, pages.flips.length > 1, found.next !== null, 0);
    at("flips-next").onclick = () => { pages.flips.push(found.next); showFlips(false); };
  } catch (error) {
    if (isLast()) failed(box, error);
  }
});
function difference(found) {
  const points = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(100 * value).toFixed(1);
  const p = found.p < 0.001 ? "< 0.001" : `= ${found.p.toFixed(3)}`;
  return `${found.lost} lost and ${found.gained} gained of ${found.n} questions that both were asked (first replies): ${points(found.difference)} points [${points(found.low)}, ${points(found.high)}], McNemar p ${p}. Right is strict for an evaluation's problems, format included, and for a benchmark's samples every metric that decides for their kind.`;
}
at("show").oninput = () => { pages.replies = [-1]; showReplies(); };
at("reply-search").oninput = later(() => { pages.replies = [-1]; showReplies(); }, 400);
at("rollout-step").oninput = later(showRollouts);
at("replies-previous").onclick = () => { pages.replies.pop(); showReplies(); };
at("flip-show").oninput = () => showFlips(true);
at("flips-previous").onclick = () => { pages.flips.pop(); showFlips(false); };
look();
