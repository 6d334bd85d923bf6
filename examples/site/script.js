// Posts the name to the handler, and shows the answer.
const form = document.querySelector("form");
const greeting = document.querySelector("#greeting");

async function greet() {
  const answer = await fetch("/api", { method: "POST", body: form.elements.name.value });
  greeting.textContent = await answer.text();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  greet();
});
greet();
