// What changes while a page is open.

const connection = document.getElementById("connection");
// connect follows a stream of changes while the page is seen. Browsers have few connections to a server, and
// pages that nobody sees must not use them up.
const connect = (path, each) => {
  let source = null;
  let again = 0;
  const open = () => {
    source = new EventSource(path);
    source.onmessage = (event) => {
      connection.textContent = "";
      each(JSON.parse(event.data));
    };
    source.onerror = () => {
      connection.textContent = "Not connected; trying again…";
      if (source && source.readyState === EventSource.CLOSED) { close(); again = setTimeout(look, 5000); }
    };
  };
  const close = () => {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };
  const look = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
  };
};

// freshPage is this page as the server has it now; null: it has none.
const freshPage = async () => {
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (response.ok) return new DOMParser().parseFromString(await response.text(), "text/html");
    connection.textContent = response.status === 404 ? "This run was removed" : "Not connected; reload the page";
  } catch { /* the stream says that the server has gone */ }
  return null;
};

// refresher calls refresh, but never twice at once or twice in a second.
const refresher = (refresh) => {
  let wanted = false;
  let busy = false;
  const go = async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      await refresh();
      await new Promise((done) => setTimeout(done, 1000));
    }
    busy = false;
  };
  return go;
};

const usable = "a[href], button, summary, input, select, [tabindex]";
const scrolled = ".scroll, .timeline, .tail";
// swap puts a newer part of the page in place of one, with what the reader has done to that: what has the
// focus, is unfolded or scrolled.
const swap = (old, fresh) => {
  const focus = [...old.querySelectorAll(usable)].indexOf(document.activeElement);
  const places = [...old.querySelectorAll(scrolled)].map((e) => [e.scrollLeft, e.scrollTop]);
  if (old.matches("details")) fresh.open = old.open;
  old.replaceWith(fresh);
  begin(fresh);
  [...fresh.querySelectorAll(scrolled)].forEach((e, i) => { if (places[i]) [e.scrollLeft, e.scrollTop] = places[i]; });
  const next = focus < 0 ? undefined : [...fresh.querySelectorAll(usable)][focus];
  if (next) next.focus({ preventScroll: true });
};

const tick = () => {
  for (const e of document.querySelectorAll("[data-since]")) e.textContent = "for " + time(Math.max(0, Math.round((Date.now() - Number(e.dataset.since)) / 1000) * 1000));
};

// The bars of a chart lead to their runs. One of them is in the order of focus; arrow keys lead to the others.
document.addEventListener("keydown", (event) => {
  const bar = event.target.closest("svg a");
  if (!bar) return;
  const bars = [...bar.closest("svg").querySelectorAll("a")];
  const now = bars.indexOf(bar);
  const to = bars[{ ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: bars.length - 1 }[event.key]];
  if (!to) return;
  event.preventDefault();
  bar.setAttribute("tabindex", "-1");
  to.setAttribute("tabindex", "0");
  to.focus();
});
