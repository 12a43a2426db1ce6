// Logs, each in its <details>.

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
      if (entry.isIntersecting) {
        entry.target.kept = false;
        fill(entry.target);
      } else empty(entry.target);
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
  const later = (to) => {
    const b = part("Later lines", to);
    b.classList.add("later");
    return b;
  };
  const add = (i) => {
    const element = make("div", "piece");
    element.index = i;
    element.style.height = Math.max(1, log.pieces[i].lines) * lineHeight + "px";
    box.append(element);
    observer.observe(element);
  };
  const layOut = (start) => {
    from = Math.max(0, start);
    observer.disconnect();
    const to = Math.min(log.pieces.length, from + atOnce);
    box.replaceChildren();
    if (log.pieces.length === 0) box.append(make("p", "note", "It printed nothing, or nothing that was kept."));
    if (from > 0) box.append(part("Earlier lines", from - atOnce));
    for (let i = from; i < to; i++) add(i);
    if (to < log.pieces.length) box.append(later(to));
  };
  const lineAt = async (n) => {
    const i = log.pieces.findIndex((p) => n >= p.first && n < p.first + p.lines);
    if (i < 0) return null;
    if (i < from || i >= from + atOnce) layOut(Math.floor(i / atOnce) * atOnce);
    const element = elements()[i - from];
    element.kept = true; // until it has come into view
    await fill(element);
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
  const last = details.querySelector(".dot.bad, .dot.late, .dot.busy"); // why it failed, or what it does now, is at the end
  layOut(last ? log.pieces.length - atOnce : 0);
  if (last) box.scrollTop = box.scrollHeight;
  // grow shows what the log has more: its last piece has grown, or pieces have come after it.
  const grow = () => {
    const there = elements();
    if (there.length === 0) { layOut(from); return; }
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 2 * lineHeight;
    const last = there[there.length - 1];
    if (last.filled) { last.filled = null; fill(last); }
    const to = Math.min(log.pieces.length, from + atOnce);
    for (let i = from + there.length; i < to; i++) add(i);
    if (to < log.pieces.length && !box.querySelector(".later")) box.append(later(to));
    if (atEnd) Promise.all(elements().slice(-2).map((e) => e.filled)).then(() => { box.scrollTop = box.scrollHeight; });
  };
  const viewer = { box, lineAt, redraw, grow, restart: () => layOut(from) };
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
const watchLog = (details) => {
  details.addEventListener("toggle", () => { if (details.open) ready.then(() => viewerOf(Number(details.dataset.log))); });
};
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
