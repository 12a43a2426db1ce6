// Last, when everything above is there.

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
