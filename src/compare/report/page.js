for (const data of document.querySelectorAll("script[data-file]")) {
  const link = document.createElement("a");
  const bytes = JSON.parse(data.textContent);
  link.href = URL.createObjectURL(new Blob([bytes], { type: data.dataset.type }));
  link.download = link.textContent = data.dataset.file;
  document.querySelector("#files").append(" ", link);
}
