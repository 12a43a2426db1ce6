// Lines of logs: their colours, and nothing else that only a terminal would obey.

// What a line is made of: stream and time in front, then the text.
const splitLine = (line) => {
  const space = line.indexOf(" ");
  const letter = line[0];
  return { error: letter === "e" || letter === "E", ms: Number(line.slice(1, space)), text: line.slice(space + 1) };
};
const escapes = /\x1b(?:\[([0-?]*)[ -/]*([@-~])?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g;
const unseen = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
// What makes the text around it read like another one is written out, as \u202e.
const misleading = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const seen = (text) => text.replace(unseen, "").replace(misleading, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const overwritten = (text) => {
  text = text.replace(/\r+$/, "");
  return text.slice(text.lastIndexOf("\r") + 1);
};
const plain = (text) => seen(overwritten(text).replace(escapes, ""));
// sectionMark tells whether a line begins or ends a section, as GitHub's runner and GitLab's mark them.
const sectionMark = (text) => {
  if (!text.startsWith("::") && !text.includes("section_")) return {};
  text = text.replace(/^\x1b\[0K/, "");
  if (text.startsWith("::group::")) return { begins: true, title: plain(text.slice(9)).trim() };
  if (text.startsWith("::endgroup::") || text.startsWith("section_end:")) return { ends: true };
  const start = /^section_start:\d*:([^\[\r]*)/.exec(text);
  if (!start) return {};
  const at = text.indexOf("\r");
  return { begins: true, title: (at < 0 ? "" : plain(text.slice(at + 1)).trim()) || start[1] };
};
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
    appendText(line, seen(text), query);
    return line;
  }
  const put = (part) => {
    part = seen(part);
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
