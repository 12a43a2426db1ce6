// The logs as the server has them: it is asked for the pieces that come into view.

const counts = JSON.parse(document.getElementById("pieces").textContent) || []; // by step: the lines of each piece
const logs = new Map();
const piecesOf = (index) => {
  let first = 1;
  return (counts[index] || []).map((n) => {
    const piece = { lines: Math.max(n, 0), missing: Math.max(-n, 0), first };
    first += Math.abs(n);
    return piece;
  });
};
// logOf is a log: the sizes of its pieces, and the function that reads one.
const logOf = (index) => {
  if (logs.has(index)) return logs.get(index);
  const log = { pieces: piecesOf(index) };
  log.read = async (i) => {
    const piece = log.pieces[i];
    if (piece.missing) return "";
    const response = await fetch(`${location.pathname}/log?step=${index}&line=${piece.first}`);
    return response.ok ? response.text() : "e0 These lines cannot be read any more: reload the page.\n";
  };
  logs.set(index, log);
  return log;
};
