// The search through all logs.

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
