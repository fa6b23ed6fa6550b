// The slider of a job's slices. Without this script the links beside it turn the pages.
document.addEventListener("input", (event) => {
  const figure = event.target.closest("figure.slices");
  if (!figure || event.target.name !== "slice") return;
  const picture = figure.querySelector("img");
  const number = Number(event.target.value);
  picture.src = `/jobs/${figure.dataset.job}/slices/${number}.png`;
  picture.alt = `Slice ${number + 1} of ${Number(event.target.max) + 1} with the outline of the prior`;
});
