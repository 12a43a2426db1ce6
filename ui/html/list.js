// Pages of lists.

const begin = (root) => {
  for (const t of root.querySelectorAll("time")) t.textContent = localTime(t.dateTime);
  tick();
};
const parts = ["live", "ended", "cards"];
const raw = new Map(); // parts as the server sent them
for (const id of parts) raw.set(id, document.getElementById(id)?.outerHTML);
begin(document);
setInterval(tick, 1000);
const refresh = refresher(async () => {
  const page = await freshPage();
  for (const id of page ? parts : []) {
    const fresh = page.getElementById(id);
    if (!fresh || raw.get(id) === fresh.outerHTML) continue;
    raw.set(id, fresh.outerHTML);
    swap(document.getElementById(id), document.adoptNode(fresh));
  }
});
if (document.body.dataset.events) {
  let version = null; // of what is shown; null: not known
  connect(document.body.dataset.events, (state) => {
    if (version !== state.version) refresh();
    version = state.version;
  });
}
document.addEventListener("keydown", (event) => {
  const field = document.getElementById("q");
  if (!field || event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  event.preventDefault();
  field.focus();
  field.select();
});
document.documentElement.dataset.ready = "yes";
