// Last, when everything above is there.

for (const box of document.querySelectorAll(".timeline")) drawTimeline(box, data[box.dataset.run]);
for (const box of document.querySelectorAll(".usage")) drawUsage(box, data[box.dataset.run]);
for (const t of document.querySelectorAll("time")) t.textContent = new Date(t.dateTime.replace(" ", "T")).toLocaleString();
const fromHash = () => {
  const match = /^#log-(\d+)$/.exec(location.hash);
  if (match && document.getElementById("log-" + match[1])) openLog(Number(match[1]));
};
// The log of what failed is open; the page stays at its top, where the last lines are.
for (const details of document.querySelectorAll("details.log[data-open]")) details.open = true;
for (const link of document.querySelectorAll('a[href^="#log-"]')) {
  link.addEventListener("click", () => { if (link.hash === location.hash) fromHash(); }); // again, without a new address
}
addEventListener("hashchange", fromHash);
fromHash();
document.documentElement.dataset.ready = "yes";
