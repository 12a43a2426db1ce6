// Last, when everything above is there.

const begin = (root) => {
  for (const box of root.querySelectorAll(".timeline")) drawTimeline(box, data[box.dataset.run]);
  for (const box of root.querySelectorAll(".usage")) drawUsage(box, data[box.dataset.run]);
  for (const t of root.querySelectorAll("time")) t.textContent = localTime(t.dateTime);
  for (const tail of root.querySelectorAll(".tail[aria-label^=Last]")) tail.scrollTop = tail.scrollHeight; // the reason is at the end
  for (const details of root.querySelectorAll("details.log")) watchLog(details);
  for (const link of root.querySelectorAll('a[href^="#log-"]')) {
    link.addEventListener("click", () => { if (link.hash === location.hash) fromHash(); }); // again, without a new address
  }
};
const fromHash = () => {
  const match = /^#log-(\d+)$/.exec(location.hash);
  if (match && document.getElementById("log-" + match[1])) openLog(Number(match[1]));
};
begin(document);
// The log of what failed is open; the page stays at its top, where the last lines are.
for (const details of document.querySelectorAll("details.log[data-open]")) details.open = true;
addEventListener("hashchange", fromHash);
fromHash();
document.documentElement.dataset.ready = "yes";
