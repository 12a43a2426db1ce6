// A run that goes on: its parts are replaced as they change, its logs grow.

const article = document.querySelector("article.run");
const raw = new Map(); // parts of the page as the server sent them last
const keyOf = (part) => part.getAttribute("aria-labelledby") || part.querySelector("h2")?.textContent || part.className;
const namesOf = (root) => [...root.querySelectorAll(".log .name")].map((e) => e.textContent);

const refreshLogs = (old, fresh) => {
  for (const log of [...fresh.querySelectorAll("details.log")]) {
    const there = document.getElementById(log.id);
    if (there) {
      there.querySelector(".dot").className = log.querySelector(".dot").className;
      for (const name of [".words", ".count"]) there.querySelector(name).textContent = log.querySelector(name).textContent;
      continue;
    }
    old.append(document.adoptNode(log));
    watchLog(log);
  }
};
const refresh = refresher(async () => {
  const page = await freshPage();
  const fresh = page && page.querySelector("article.run");
  if (!fresh) return;
  const names = namesOf(fresh);
  if (namesOf(article).some((name, i) => name !== names[i])) { location.reload(); return; } // steps have other numbers
  const text = page.getElementById("data").textContent;
  data = JSON.parse(text);
  document.title = page.title;
  const there = new Map([...article.children].map((e) => [keyOf(e), e]));
  let last = null;
  for (const part of [...fresh.children]) {
    const key = keyOf(part);
    const old = there.get(key);
    const html = part.outerHTML + (part.matches(".scripted") ? text : "");
    there.delete(key);
    if (part.matches(".logs")) {
      refreshLogs(old, part);
      last = old;
    } else if (old && raw.get(key) === html) {
      last = old;
    } else {
      document.adoptNode(part);
      if (old) swap(old, part);
      else {
        if (last) last.after(part);
        else article.prepend(part);
        begin(part);
      }
      last = part;
    }
    raw.set(key, html);
  }
  for (const gone of there.values()) gone.remove();
  if (!page.querySelector(".stop")) document.querySelector(".stop")?.remove();
});

const growLog = (index, [same, ...more]) => {
  const before = counts[index] || [];
  counts[index] = [...before.slice(0, same), ...more];
  if (before.length === counts[index].length && before.every((n, i) => n === counts[index][i])) return;
  const lines = counts[index].reduce((all, n) => all + Math.abs(n), 0);
  const count = document.querySelector(`#log-${index} > summary .count`);
  if (count) count.textContent = lines + (lines === 1 ? " line" : " lines");
  const log = logs.get(index);
  if (log) log.pieces = piecesOf(index);
  const viewer = viewers.get(index);
  if (!viewer) return;
  if (same >= before.length - 1) viewer.grow();
  else viewer.restart();
};

if (document.body.dataset.events) {
  let version = JSON.parse(document.getElementById("version").textContent);
  const again = setInterval(() => { if (!document.hidden) refresh(); }, 5000); // bars of what runs grow
  const disconnect = connect(document.body.dataset.events, (state) => {
    for (const [index, pieces] of Object.entries(state.logs || {})) growLog(Number(index), pieces);
    if (version !== state.version) refresh();
    version = state.version;
    if (!state.over) return;
    clearInterval(again);
    disconnect();
  });
}
