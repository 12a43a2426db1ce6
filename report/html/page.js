"use strict";
// What every page needs. All that comes from steps is put into a page as text, never as markup.
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

const time = (ms) => {
  if (ms < 1000) return ms + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(1) + " s";
  const s = Math.round(ms / 1000);
  if (s < 3600) return Math.floor(s / 60) + " m " + (s % 60) + " s";
  return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " m";
};
const localTime = (text) => new Date(text.replace(" ", "T")).toLocaleString();
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 ? n : n.toFixed(1)) + " " + units[i];
};
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
