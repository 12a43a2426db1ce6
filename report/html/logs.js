// Logs, each in its <details>.

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
    const open = details.querySelector(".dot.bad, .dot.late"); // an error is not folded away
    let into = element;
    const drawn = [];
    for (const [i, text] of lines.entries()) {
      const line = splitLine(text);
      const mark = sectionMark(line.text);
      const e = drawLine(line.text, search.query, style);
      e.dataset.n = piece.first + i;
      e.dataset.t = "+" + (line.ms / 1000).toFixed(2) + " s";
      if (line.error) e.classList.add("e");
      if (search.query && e.textContent.toLowerCase().includes(search.query)) e.classList.add("hit");
      if (mark.begins) {
        into = make("details", "section");
        into.open = open || search.query;
        into.append(make("summary", "", mark.title || "section"));
        drawn.push(into);
      }
      if (mark.begins || mark.ends) e.hidden = true;
      if (into === element) drawn.push(e);
      else into.append(e);
      if (mark.ends) into = element;
    }
    if (into !== element) into.open = true; // it goes on in the next piece
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
    const line = element.querySelector(`[data-n="${n}"]`);
    const section = line && line.closest(".section");
    if (section) section.open = true;
    return line;
  };
  const redraw = () => {
    for (const element of elements()) {
      if (!element.filled) continue;
      element.filled = null;
      if (element.near) fill(element);
      else element.replaceChildren();
    }
  };
  const failed = details.querySelector(".dot.bad, .dot.late"); // why is at the end
  layOut(failed ? log.pieces.length - atOnce : 0);
  if (failed) box.scrollTop = box.scrollHeight;
  const viewer = { box, lineAt, redraw };
  viewers.set(index, viewer);
  return viewer;
};
const openLog = (index) => {
  const details = document.getElementById("log-" + index);
  details.open = true;
  return ready.then(() => {
    const viewer = viewerOf(index);
    details.scrollIntoView({ block: "start" });
    return viewer;
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
