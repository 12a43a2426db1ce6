// The timeline: a row a step, with its phases as bars.

let data = JSON.parse(document.getElementById("data").textContent);
const sayStep = (step) => {
  const parts = [step.name + (step.service ? " (service)" : "") + ": " + step.words];
  if (step.waitedFor) parts.push("waited for " + step.waitedFor);
  for (const bar of step.bars) {
    if (bar.phase !== "wait") parts.push((bar.phase === "tried" ? "earlier attempt" : bar.phase) + " " + time(bar.to - bar.from));
  }
  if (step.critical) parts.push("on the critical path");
  return parts.join(" · ");
};
// tickOf is the time between two ticks, of which there is room for so many.
const tickOf = (end, room) => {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000, 7200000, 21600000, 86400000];
  return steps.find((s) => end / s <= room) || end;
};
const dense = 100; // more steps than this have lower rows
const drawTimeline = (box, run) => {
  const end = Math.max(run.end, 1);
  const percent = (ms) => (100 * ms) / end;
  const axis = make("div", "axis");
  axis.setAttribute("aria-hidden", "true");
  const ticks = make("div", "track");
  const room = Math.max(2, Math.min(6, Math.floor(box.clientWidth / 120)));
  for (let t = 0, step = tickOf(end, room); t < end * 0.97; t += step) {
    const tick = make("span", "", t === 0 ? "0" : time(t));
    tick.style.left = percent(t) + "%";
    ticks.append(tick);
  }
  axis.append(make("div"), ticks);
  const rows = make("div", run.steps.length > dense ? "rows dense" : "rows");
  rows.setAttribute("role", "list");
  rows.setAttribute("aria-label", "Timeline; the table of steps has the same numbers. Arrow keys move from step to step, Enter opens the log.");
  const byName = new Map(run.steps.map((s, i) => [s.name, i]));
  const all = run.steps.map((step, i) => {
    const item = make("div");
    item.setAttribute("role", "listitem");
    const row = make("a", "row" + (step.critical ? " critical" : ""));
    row.href = "#log-" + step.index;
    row.tabIndex = i === 0 ? 0 : -1;
    row.setAttribute("aria-label", sayStep(step));
    const track = make("span", "track");
    for (const bar of step.bars) {
      const kind = bar.phase === "run" || bar.phase === "tried" ? " " + (step.service ? "service" : bar.phase === "tried" ? "late" : step.class) : "";
      const b = make("span", "bar " + bar.phase + kind);
      b.style.left = percent(bar.from) + "%";
      b.style.width = percent(bar.to - bar.from) + "%";
      track.append(b);
    }
    row.append(make("span", "name", step.name), track);
    item.append(row);
    rows.append(item);
    return row;
  });
  rows.append(drawLinks(run, byName, percent));
  box.append(axis, rows);
  const hint = box.parentElement.querySelector(".hint");
  const show = (i) => {
    hint.textContent = sayStep(run.steps[i]);
    for (const row of rows.querySelectorAll(".related")) row.classList.remove("related");
    for (const name of run.steps[i].dependsOn) {
      if (byName.has(name)) all[byName.get(name)].classList.add("related");
    }
  };
  const indexOf = (event) => all.indexOf(event.target.closest(".row"));
  rows.addEventListener("mouseover", (event) => { if (indexOf(event) >= 0) show(indexOf(event)); });
  rows.addEventListener("focusin", (event) => { if (indexOf(event) >= 0) show(indexOf(event)); });
  rows.addEventListener("click", (event) => { if (indexOf(event) >= 0) openLog(run.steps[indexOf(event)].index); });
  rows.addEventListener("keydown", (event) => {
    const now = indexOf(event);
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    all[now].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  });
};
const svg = (tag, attributes) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
};
// From the end of what a step waited for to where the step got its turn. With very many
// steps only the critical path is drawn.
const drawLinks = (run, byName, percent) => {
  const box = make("div", "links");
  const space = make("div", "space");
  const drawing = svg("svg", { viewBox: `0 0 100 ${run.steps.length}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  run.steps.forEach((step, i) => {
    const from = byName.get(step.waitedFor);
    const wait = step.bars.find((b) => b.phase === "wait");
    if (from === undefined || !wait || (run.steps.length > 200 && !step.critical)) return;
    const critical = step.critical && run.steps[from].critical;
    const x = percent(wait.to);
    const y = (row) => row + 0.5;
    drawing.append(svg("path", { d: `M${x} ${y(from)}V${y(i)}`, class: critical ? "critical" : "" }));
  });
  space.append(make("div"), drawing);
  box.append(space);
  return box;
};
