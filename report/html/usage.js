// What steps used, as bars in a table.

const most = 20;
const drawUsage = (box, run) => {
  const used = run.steps.filter((s) => s.usage);
  if (used.length === 0) {
    box.append(make("p", "note", "No step has run, or this machine does not tell what steps use."));
    return;
  }
  const kinds = [["cpu", "CPU time", time], ["memory", "Peak memory", bytes], ["disk", "Disk, read and written", bytes]];
  const largest = {};
  for (const [key] of kinds) largest[key] = used.reduce((most, s) => Math.max(most, s.usage[key]), 1);
  let order = "";
  let all = used.length <= most;
  const table = make("table");
  const body = make("tbody");
  const head = make("tr");
  const more = make("button", "", `Show all ${used.length} steps`);
  const fill = () => {
    const steps = order ? [...used].sort((a, b) => b.usage[order] - a.usage[order]) : used;
    body.replaceChildren(...(all ? steps : steps.slice(0, most)).map((step) => {
      const row = make("tr");
      const name = make("th", "", step.name);
      name.scope = "row";
      name.title = step.name;
      row.append(name);
      for (const [key, , say] of kinds) {
        const cell = make("td");
        const meter = make("div", "meter " + key);
        const bar = make("b");
        bar.style.width = (100 * step.usage[key]) / largest[key] + "%";
        const track = make("i");
        track.append(bar);
        meter.append(track, make("span", "n", say(step.usage[key])));
        cell.append(meter);
        row.append(cell);
      }
      return row;
    }));
    more.hidden = all;
    for (const column of head.children) {
      if (column.dataset.key === order && order) column.setAttribute("aria-sort", "descending");
      else column.removeAttribute("aria-sort");
    }
  };
  for (const [key, title] of [["", "Step"], ...kinds]) {
    const column = make("th");
    column.scope = "col";
    column.dataset.key = key;
    const sort = make("button", "", title);
    sort.type = "button";
    sort.title = key ? "Largest first" : "In the order of the file";
    sort.addEventListener("click", () => { order = key; fill(); });
    column.append(sort);
    head.append(column);
  }
  more.type = "button";
  more.addEventListener("click", () => { all = true; fill(); });
  if (!all) order = "cpu";
  fill();
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  box.append(table, more);
};
