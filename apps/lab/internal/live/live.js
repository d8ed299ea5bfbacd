const connection = document.getElementById("connection");
const source = new EventSource("events");
source.onopen = () => { connection.textContent = "connected"; };
source.onerror = () => {
  connection.textContent = source.readyState === EventSource.CLOSED ? "The lab has ended, or another one runs now." : "The connection is lost. The page tries again.";
};
source.addEventListener("draw", (event) => {
  const { id, html } = JSON.parse(event.data);
  const element = document.getElementById(id);
  const before = element.querySelector(".wide");
  const [left, focused] = [before?.scrollLeft, before === document.activeElement];
  const pressed = [...element.querySelectorAll("button")].indexOf(document.activeElement);
  element.innerHTML = html;
  const after = element.querySelector(".wide");
  if (after && before) after.scrollLeft = left;
  if (after && focused) after.focus({ preventScroll: true });
  if (pressed >= 0) element.querySelectorAll("button")[pressed]?.focus({ preventScroll: true });
});
source.addEventListener("end", () => { source.close(); connection.textContent = "The lab has ended, and removes what it made."; });
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  if (button.ariaBusy) return; // a button that is disabled would lose the focus
  button.ariaBusy = "true";
  try {
    const answer = await fetch(event.target.action, { method: "POST" });
    const text = answer.ok ? "done: " + button.textContent : await answer.text();
    if (source.readyState !== EventSource.CLOSED) connection.textContent = text;
  } catch {
    connection.textContent = "The lab does not answer.";
  }
  button.ariaBusy = null;
});
