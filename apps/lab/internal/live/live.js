const connection = document.getElementById("connection");
const source = new EventSource("events");
source.onopen = () => { connection.textContent = "connected"; };
source.onerror = () => { connection.textContent = "The connection is lost. The page tries again."; };
source.addEventListener("draw", (event) => {
  const { id, html } = JSON.parse(event.data);
  document.getElementById(id).innerHTML = html;
});
source.addEventListener("end", () => { source.close(); connection.textContent = "The lab has ended."; });
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(event.target.action, { method: "POST" });
    const text = answer.ok ? "done: " + button.textContent : await answer.text();
    if (source.readyState !== EventSource.CLOSED) connection.textContent = text;
  } catch {
    connection.textContent = "The lab does not answer.";
  }
  button.disabled = false;
});
