"use strict";
// The page's script. All that comes from steps is put into the page as text, never as
// markup. Logs are unpacked piece by piece, when they come into view.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const ready = new Promise((done) => {
    if (document.readyState !== "loading") done();
    else document.addEventListener("DOMContentLoaded", done);
  });

  // ---- Words ----
  const time = (ms) => {
    if (ms < 1000) return ms + " ms";
    if (ms < 60000) return (ms / 1000).toFixed(1) + " s";
    const s = Math.round(ms / 1000);
    if (s < 3600) return Math.floor(s / 60) + " m " + (s % 60) + " s";
    return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " m";
  };
  const bytes = (n) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
    return (i === 0 ? n : n.toFixed(1)) + " " + units[i];
  };
  const sayStep = (step) => {
    const parts = [step.name + (step.service ? " (service)" : "") + ": " + step.words];
    if (step.waitedFor) parts.push("waited for " + step.waitedFor);
    for (const bar of step.bars) {
      if (bar.phase !== "wait") parts.push((bar.phase === "tried" ? "earlier attempt" : bar.phase) + " " + time(bar.to - bar.from));
    }
    if (step.critical) parts.push("on the critical path");
    return parts.join(" · ");
  };

  // ---- Theme ----
  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  const setTheme = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
    button.dataset.now = theme;
  };
  let kept = null;
  try { kept = localStorage.getItem("stepexec-theme"); } catch { /* a page without storage has the system's theme */ }
  setTheme(themes.includes(kept) ? kept : "system");
  button.addEventListener("click", () => {
    const theme = themes[(themes.indexOf(button.dataset.now) + 1) % themes.length];
    setTheme(theme);
    try { localStorage.setItem("stepexec-theme", theme); } catch { /* not kept */ }
  });

  // ---- Timeline ----
  const tickOf = (end) => {
    const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000, 7200000, 21600000, 86400000];
    return steps.find((s) => end / s <= 6) || end;
  };
  const drawTimeline = (box, run) => {
    const end = Math.max(run.end, 1);
    const percent = (ms) => (100 * ms) / end;
    const axis = make("div", "axis");
    axis.setAttribute("aria-hidden", "true");
    const ticks = make("div", "track");
    for (let t = 0, step = tickOf(end); t < end * 0.97; t += step) {
      const tick = make("span", "", t === 0 ? "0" : time(t));
      tick.style.left = percent(t) + "%";
      ticks.append(tick);
    }
    axis.append(make("div"), ticks);
    const rows = make("div", "rows");
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
    const height = 28;
    const box = make("div", "links");
    const space = make("div", "space");
    const drawing = svg("svg", { viewBox: `0 0 100 ${run.steps.length * height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    run.steps.forEach((step, i) => {
      const from = byName.get(step.waitedFor);
      const wait = step.bars.find((b) => b.phase === "wait");
      if (from === undefined || !wait || (run.steps.length > 200 && !step.critical)) return;
      const critical = step.critical && run.steps[from].critical;
      const x = percent(wait.to);
      const y = (row) => row * height + height / 2;
      drawing.append(svg("path", { d: `M${x} ${y(from)}V${y(i)}`, class: critical ? "critical" : "" }));
    });
    space.append(make("div"), drawing);
    box.append(space);
    return box;
  };

  // ---- Usage ----
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

  // ---- Logs ----
  const logs = new Map();
  // logOf is a log: the sizes of its pieces, and the function that unpacks one.
  const logOf = (index) => {
    if (logs.has(index)) return logs.get(index);
    const block = document.getElementById("z-" + index);
    const counts = block.dataset.p ? block.dataset.p.split(" ").map(Number) : [];
    let first = 1;
    const pieces = counts.map((n) => {
      const piece = { lines: Math.max(n, 0), missing: Math.max(-n, 0), first };
      first += Math.abs(n);
      return piece;
    });
    let parts = null;
    const read = async (i) => {
      if (pieces[i].missing) return "";
      if (!parts) parts = block.textContent.split(" ");
      const packed = atob(parts[i]);
      const array = new Uint8Array(packed.length);
      for (let j = 0; j < packed.length; j++) array[j] = packed.charCodeAt(j);
      const gzip = new DecompressionStream("gzip");
      const writer = gzip.writable.getWriter(); // to search 100 MB took 6 s this way, and more than 20 s by way of a Blob
      writer.write(array);
      writer.close();
      return new Response(gzip.readable).text();
    };
    const log = { pieces, read };
    logs.set(index, log);
    return log;
  };
  // What a line is made of: stream and time in front, then the text.
  const splitLine = (line) => {
    const space = line.indexOf(" ");
    const letter = line[0];
    return { error: letter === "e" || letter === "E", ms: Number(line.slice(1, space)), text: line.slice(space + 1) };
  };
  const escapes = /\x1b(?:\[([0-?]*)[ -/]*([@-~])?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g;
  const unseen = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
  const overwritten = (text) => {
    text = text.replace(/\r+$/, "");
    return text.slice(text.lastIndexOf("\r") + 1);
  };
  const plain = (text) => overwritten(text).replace(escapes, "").replace(unseen, "");
  // sgr applies "select graphic rendition" (ECMA-48) to a style.
  const sgr = (style, parameters) => {
    const codes = parameters.split(/[;:]/).map(Number);
    for (let i = 0; i < codes.length; i++) {
      const c = codes[i];
      if (c === 0) for (const key of Object.keys(style)) delete style[key];
      else if (c === 1) style.bold = true;
      else if (c === 2) style.dim = true;
      else if (c === 3) style.italic = true;
      else if (c === 4) style.under = true;
      else if (c === 7) style.inverse = true;
      else if (c === 9) style.struck = true;
      else if (c === 22) { delete style.bold; delete style.dim; }
      else if (c === 23) delete style.italic;
      else if (c === 24) delete style.under;
      else if (c === 27) delete style.inverse;
      else if (c === 29) delete style.struck;
      else if (c >= 30 && c <= 37) style.front = c - 30;
      else if (c >= 40 && c <= 47) style.back = c - 40;
      else if (c >= 90 && c <= 97) style.front = c - 82;
      else if (c >= 100 && c <= 107) style.back = c - 92;
      else if (c === 39) delete style.front;
      else if (c === 49) delete style.back;
      else if (c === 38 || c === 48) {
        const [colour, used] = longColour(codes, i + 1);
        if (colour !== null) style[c === 38 ? "front" : "back"] = colour;
        i += used;
      }
    }
  };
  const longColour = (codes, i) => {
    const level = (n) => Math.max(0, Math.min(255, n || 0));
    if (codes[i] === 2) return [`rgb(${level(codes[i + 1])}, ${level(codes[i + 2])}, ${level(codes[i + 3])})`, 4];
    if (codes[i] !== 5) return [null, 0];
    const n = level(codes[i + 1]);
    if (n < 16) return [n, 2];
    if (n >= 232) return [`rgb(${(n - 232) * 10 + 8}, ${(n - 232) * 10 + 8}, ${(n - 232) * 10 + 8})`, 2];
    const part = (v) => (v === 0 ? 0 : v * 40 + 55);
    return [`rgb(${part(Math.floor((n - 16) / 36))}, ${part(Math.floor((n - 16) / 6) % 6)}, ${part((n - 16) % 6)})`, 2];
  };
  const paint = (element, style) => {
    for (const name of ["bold", "dim", "italic", "under", "struck"]) if (style[name]) element.classList.add(name);
    let { front, back } = style;
    if (style.inverse) [front, back] = [back ?? 0, front ?? 7];
    if (typeof front === "number") element.classList.add("f" + front);
    else if (front) element.style.color = front;
    if (typeof back === "number") element.classList.add("b" + back);
    else if (back) element.style.backgroundColor = back;
  };
  const appendText = (to, text, query) => {
    if (!query) { to.append(text); return; }
    const lower = text.toLowerCase();
    let at = 0;
    for (let hit = lower.indexOf(query); hit >= 0 && lower.length === text.length; hit = lower.indexOf(query, at)) {
      to.append(text.slice(at, hit), make("mark", "", text.slice(hit, hit + query.length)));
      at = hit + query.length;
    }
    to.append(text.slice(at));
  };
  const drawLine = (text, query, style) => {
    const line = make("div", "l");
    text = overwritten(text);
    if (!text.includes("\x1b") && Object.keys(style).length === 0) {
      appendText(line, text.replace(unseen, ""), query);
      return line;
    }
    const put = (part) => {
      part = part.replace(unseen, "");
      if (part === "") return;
      if (Object.keys(style).length === 0) { appendText(line, part, query); return; }
      const span = make("span");
      paint(span, style);
      appendText(span, part, query);
      line.append(span);
    };
    let at = 0;
    for (const match of text.matchAll(escapes)) {
      put(text.slice(at, match.index));
      if (match[2] === "m") sgr(style, match[1]);
      at = match.index + match[0].length;
    }
    put(text.slice(at));
    return line;
  };

  const lineHeight = 20;
  const atOnce = 2000; // pieces in one view: browsers do not make boxes of more than some 33 million pixels
  const viewers = new Map();
  const search = { query: "", hits: [], now: -1 };

  // viewerOf shows a log in its <details>, which it fills when that is unfolded.
  const viewerOf = (index) => {
    if (viewers.has(index)) return viewers.get(index);
    const details = document.getElementById("log-" + index);
    const log = logOf(index);
    const box = make("div", "viewer");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Log of " + details.querySelector(".name").textContent);
    details.append(box);
    let from = 0;
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        entry.target.near = entry.isIntersecting;
        if (entry.isIntersecting) fill(entry.target);
        else empty(entry.target);
      }
    }, { root: box, rootMargin: "1500px 0px" });
    const fill = (element) => {
      if (!element.filled) element.filled = draw(element);
      return element.filled;
    };
    const draw = async (element) => {
      const piece = log.pieces[element.index];
      if (piece.missing) {
        element.replaceChildren(make("div", "l gap", `${piece.missing} lines are missing here: the report's limit for logs`));
        element.style.height = "";
        return;
      }
      const lines = (await log.read(element.index)).split("\n");
      lines.pop();
      const style = {};
      const drawn = lines.map((text, i) => {
        const line = splitLine(text);
        const e = drawLine(line.text, search.query, style);
        e.dataset.n = piece.first + i;
        e.dataset.t = "+" + (line.ms / 1000).toFixed(2) + " s";
        if (line.error) e.classList.add("e");
        if (search.query && e.textContent.toLowerCase().includes(search.query)) e.classList.add("hit");
        return e;
      });
      element.replaceChildren(...drawn);
      element.style.height = "";
    };
    // What is far from view leaves room as high as it was.
    const empty = (element) => {
      if (!element.filled) return;
      element.filled.then(() => {
        if (element.near || element.kept) return;
        element.style.height = element.offsetHeight + "px";
        element.replaceChildren();
        element.filled = null;
      });
    };
    const elements = () => [...box.querySelectorAll(".piece")];
    const part = (text, to) => {
      const b = make("button", "", text);
      b.type = "button";
      b.addEventListener("click", () => { layOut(to); box.scrollTop = 0; box.focus(); });
      return b;
    };
    const layOut = (start) => {
      from = Math.max(0, start);
      observer.disconnect();
      const to = Math.min(log.pieces.length, from + atOnce);
      box.replaceChildren();
      if (log.pieces.length === 0) box.append(make("p", "note", "It printed nothing, or nothing that was kept."));
      if (from > 0) box.append(part("Earlier lines", from - atOnce));
      for (let i = from; i < to; i++) {
        const element = make("div", "piece");
        element.index = i;
        element.style.height = Math.max(1, log.pieces[i].lines) * lineHeight + "px";
        box.append(element);
        observer.observe(element);
      }
      if (to < log.pieces.length) box.append(part("Later lines", to));
    };
    const lineAt = async (n) => {
      const i = log.pieces.findIndex((p) => n >= p.first && n < p.first + p.lines);
      if (i < 0) return null;
      if (i < from || i >= from + atOnce) layOut(Math.floor(i / atOnce) * atOnce);
      const element = elements()[i - from];
      element.kept = true;
      await fill(element);
      element.kept = false;
      return element.children[n - log.pieces[i].first];
    };
    const redraw = () => {
      for (const element of elements()) {
        if (!element.filled) continue;
        element.filled = null;
        if (element.near) fill(element);
        else element.replaceChildren();
      }
    };
    layOut(0);
    const viewer = { box, lineAt, redraw };
    viewers.set(index, viewer);
    return viewer;
  };
  const openLog = (index) => {
    const details = document.getElementById("log-" + index);
    details.open = true;
    return ready.then(() => {
      details.scrollIntoView({ block: "nearest" });
      return viewerOf(index);
    });
  };
  for (const details of document.querySelectorAll("details.log")) {
    details.addEventListener("toggle", () => { if (details.open) ready.then(() => viewerOf(Number(details.dataset.log))); });
  }
  for (const tools of document.querySelectorAll(".tools")) {
    const section = tools.closest(".logs");
    const toggle = (name, className) => {
      const b = tools.querySelector(name);
      b.addEventListener("click", () => b.setAttribute("aria-pressed", section.classList.toggle(className)));
    };
    toggle(".wrap", "wrapped");
    toggle(".times", "timed");
    tools.querySelector(".foldall").addEventListener("click", () => {
      for (const details of section.querySelectorAll("details[open]")) details.open = false;
    });
  }

  // ---- Search ----
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  const maxHits = 10000;
  const sayHits = (searching) => {
    const { hits, now } = search;
    const many = hits.length >= maxHits ? maxHits + "+" : hits.length;
    found.textContent = search.query === "" ? "" : searching ? `${many} so far…` : hits.length === 0 ? "no line" : now < 0 ? `${many} ${hits.length === 1 ? "line" : "lines"}` : `${now + 1} of ${many}`;
    previous.disabled = next.disabled = hits.length === 0;
  };
  let runNumber = 0;
  const find = async () => {
    const mine = ++runNumber;
    const text = query.value.toLowerCase();
    Object.assign(search, { query: text, hits: [], now: -1 });
    for (const badge of document.querySelectorAll(".hits")) badge.textContent = "";
    for (const viewer of viewers.values()) viewer.redraw();
    sayHits(text !== "");
    if (text === "") return;
    await ready;
    let rested = performance.now();
    for (const details of document.querySelectorAll("details.log")) {
      const index = Number(details.dataset.log);
      const log = logOf(index);
      let here = 0;
      for (let i = 0; i < log.pieces.length && search.hits.length < maxHits; i++) {
        const whole = await log.read(i);
        if (mine !== runNumber) return; // another search has begun
        // Most pieces have no match, also none with escape sequences between its letters.
        if (whole.includes("\x1b") || whole.toLowerCase().includes(text)) {
          whole.split("\n").forEach((line, j) => {
            if (line !== "" && plain(splitLine(line).text).toLowerCase().includes(text) && search.hits.length < maxHits) {
              search.hits.push({ index, n: log.pieces[i].first + j });
              here++;
            }
          });
        }
        if (performance.now() - rested > 100) {
          sayHits(true);
          await new Promise((done) => setTimeout(done));
          rested = performance.now();
        }
      }
      if (here) details.querySelector(".hits").textContent = here + (here === 1 ? " match" : " matches");
    }
    sayHits(false);
  };
  const go = async (by) => {
    const { hits } = search;
    if (hits.length === 0) return;
    search.now = search.now < 0 && by < 0 ? hits.length - 1 : (search.now + by + hits.length) % hits.length;
    sayHits(false);
    const hit = hits[search.now];
    const viewer = await openLog(hit.index);
    const line = await viewer.lineAt(hit.n);
    for (const e of document.querySelectorAll(".current")) e.classList.remove("current");
    if (!line) return;
    line.classList.add("current");
    line.scrollIntoView({ block: "center", behavior: "instant" });
  };
  let waiting = 0;
  query.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(find, 200);
  });
  query.addEventListener("keydown", async (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (query.value.toLowerCase() !== search.query) { clearTimeout(waiting); await find(); }
      go(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      query.value = "";
      find();
    }
  });
  next.addEventListener("click", () => go(1));
  previous.addEventListener("click", () => go(-1));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    event.preventDefault();
    query.focus();
    query.select();
  });

  // ---- Begin ----
  for (const box of document.querySelectorAll(".timeline")) drawTimeline(box, data[box.dataset.run]);
  for (const box of document.querySelectorAll(".usage")) drawUsage(box, data[box.dataset.run]);
  for (const t of document.querySelectorAll("time")) t.textContent = new Date(t.dateTime.replace(" ", "T")).toLocaleString();
  const fromHash = () => {
    const match = /^#log-(\d+)$/.exec(location.hash);
    if (match && document.getElementById("log-" + match[1])) openLog(Number(match[1]));
  };
  addEventListener("hashchange", fromHash);
  fromHash();
  document.documentElement.dataset.ready = "yes";
})();
